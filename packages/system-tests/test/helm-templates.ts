/**
 * Renders the chart as Helm does, as far as its templates go: fields, variables of a range, pipes, if, with, range, define and the
 * functions below. Whatever else they say is an error, and so is a value that is not there: nothing is rendered by guess. YAML that
 * Helm would write in another form but with the same meaning is as good.
 */
import { createHash } from "node:crypto";
import { stringify } from "yaml";

type Node =
  | { kind: "text"; text: string }
  | { kind: "print"; words: string }
  | {
      kind: "if" | "with" | "range" | "define";
      words: string;
      body: Node[];
      otherwise: Node[];
    };
interface Scope {
  dot: unknown;
  variables: ReadonlyMap<string, unknown>;
  defined: Map<string, Node[]>;
}

export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/** Text and actions; `{{-` and `-}}` take the white space beside them away. */
function parse(template: string): Node[] {
  const root: Node[] = [];
  const open: { node: Extract<Node, { body: Node[] }>; into: Node[] }[] = [];
  let into = root;
  let at = 0;
  let trims = false;
  for (const found of template.matchAll(/\{\{(-\s)?\s*((?:"[^"]*"|[^"}])*?)\s*(\s-)?\}\}/g)) {
    const [whole, before, words = "", after] = found;
    let text = template.slice(at, found.index);
    if (trims) text = text.trimStart();
    if (before) text = text.trimEnd();
    if (text !== "") into.push({ kind: "text", text });
    at = found.index + whole.length;
    trims = after !== undefined;
    const [verb = "", rest = ""] = /^(\S+)\s*([\s\S]*)$/.exec(words)?.slice(1) ?? [];
    if (verb === "if" || verb === "with" || verb === "range" || verb === "define") {
      const node = { kind: verb, words: rest, body: [], otherwise: [] } as Extract<Node, { body: Node[] }>;
      into.push(node);
      open.push({ node, into });
      into = node.body;
    } else if (words === "else") {
      const inner = open.at(-1);
      if (inner === undefined) throw new TemplateError("else without if");
      into = inner.node.otherwise;
    } else if (words === "end") {
      const inner = open.pop();
      if (inner === undefined) throw new TemplateError("end without a beginning");
      into = inner.into;
    } else into.push({ kind: "print", words });
  }
  const rest = template.slice(at);
  if (open.length > 0) throw new TemplateError(`${open[0]?.node.kind} without end`);
  if (rest.includes("{{")) throw new TemplateError(`not understood: ${rest.slice(rest.indexOf("{{"), 60)}`);
  into.push({ kind: "text", text: trims ? rest.trimStart() : rest });
  return root;
}

/** As Go's templates take it: empty is false. */
function holds(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

function field(from: unknown, path: string): unknown {
  let value = from;
  for (const name of path.split(".").filter((part) => part !== "")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name))
      throw new TemplateError(`there is no ${path}`);
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function text(value: unknown): string {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
    return String(value);
  throw new TemplateError(`printed as it is: ${JSON.stringify(value)}`);
}

const indent = (columns: unknown, value: unknown) =>
  text(value)
    .split("\n")
    .map((line) => (line === "" ? line : " ".repeat(Number(columns)) + line))
    .join("\n");

const functions: Record<string, (...args: unknown[]) => unknown> = {
  quote: (value) => JSON.stringify(text(value)),
  toYaml: (value) => stringify(value, { lineWidth: 0 }).trimEnd(),
  nindent: (columns, value) => `\n${indent(columns, value)}`,
  default: (fallback, value) => (holds(value) ? value : fallback),
  add: (...terms) => terms.reduce<number>((sum, term) => sum + Math.trunc(Number(term)), 0),
  ceil: (value) => Math.ceil(Number(value)),
  not: (value) => !holds(value),
  sha256sum: (value) => createHash("sha256").update(text(value)).digest("hex"),
};

function operand(word: string, scope: Scope): unknown {
  if (word.startsWith('"')) return JSON.parse(word);
  if (/^\d+$/.test(word)) return Number(word);
  if (word.startsWith("$")) {
    if (!scope.variables.has(word)) throw new TemplateError(`there is no ${word}`);
    return scope.variables.get(word);
  }
  if (word.startsWith(".")) return field(scope.dot, word);
  throw new TemplateError(`not understood: ${word}`);
}

/** A pipe: each stage gets the value of the one before as its last argument. */
function evaluate(pipe: string, scope: Scope): unknown {
  let value: unknown;
  const stages = pipe.match(/(?:"[^"]*"|[^"|])+/g) ?? [];
  stages.forEach((stage, index) => {
    const [first = "", ...words] = stage.trim().match(/"[^"]*"|\S+/g) ?? [];
    const piped = index === 0 ? [] : [value];
    if (/^[a-z]\w*$/i.test(first)) {
      const args = [...words.map((word) => operand(word, scope)), ...piped];
      if (first === "include") value = include(args, scope);
      else if (Object.hasOwn(functions, first)) value = functions[first]?.(...args);
      else throw new TemplateError(`no function here: ${first}`);
    } else if (words.length > 0 || index > 0) throw new TemplateError(`not understood: ${pipe}`);
    else value = operand(first, scope);
  });
  return value;
}

function include([name, dot]: unknown[], scope: Scope): string {
  const body = scope.defined.get(String(name));
  if (body === undefined) throw new TemplateError(`nothing is defined as ${name}`);
  return write(body, { ...scope, dot, variables: new Map() });
}

function write(nodes: readonly Node[], scope: Scope): string {
  return nodes
    .map((node) => {
      if (node.kind === "text") return node.text;
      if (node.kind === "print") return text(evaluate(node.words, scope));
      if (node.kind === "define") {
        scope.defined.set(String(JSON.parse(node.words)), node.body);
        return "";
      }
      if (node.kind === "range") return writeRange(node, scope);
      const value = evaluate(node.words, scope);
      if (!holds(value)) return write(node.otherwise, scope);
      return write(node.body, node.kind === "with" ? { ...scope, dot: value } : scope);
    })
    .join("");
}

function writeRange(node: Extract<Node, { body: Node[] }>, scope: Scope): string {
  const [, key, one, pipe = ""] = /^(?:(\$\w+), (\$\w+) := )?(.*)$/.exec(node.words) ?? [];
  const over = evaluate(pipe, scope);
  if (typeof over !== "object" || over === null) throw new TemplateError(`no list: ${pipe}`);
  if (!holds(over)) return write(node.otherwise, scope);
  // Go goes through a map in the order of its keys.
  const pairs = Array.isArray(over)
    ? over.map((value, index) => [index, value])
    : Object.entries(over).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs
    .map(([name, value]) => {
      const variables = new Map(scope.variables);
      if (key !== undefined) variables.set(key, name);
      if (one !== undefined) variables.set(one, value);
      return write(node.body, { ...scope, dot: value, variables });
    })
    .join("");
}

/** What Helm gives every template. */
export interface ChartInput {
  Values: unknown;
  Chart: { Name: string; Version: string; AppVersion: string };
  Release: { Name: string; Namespace: string; Service: string };
}

/** Each template as text, by its name; those whose name begins with `_` only define. */
export function renderChart(
  templates: ReadonlyMap<string, string>,
  input: ChartInput,
): ReadonlyMap<string, string> {
  const scope: Scope = { dot: input, variables: new Map(), defined: new Map() };
  const ordered = [...templates].sort(([a], [b]) => Number(b.startsWith("_")) - Number(a.startsWith("_")));
  const rendered = ordered.map(([name, template]) => {
    try {
      return [name, write(parse(template), scope)] as const;
    } catch (cause) {
      throw new TemplateError(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause,
      });
    }
  });
  return new Map(rendered.filter(([name]) => !name.startsWith("_")));
}
