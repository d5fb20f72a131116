/** What a command has to say, in the form that was asked for: a table for people, JSON or YAML as the API has it, or names alone. */
import type { Edges } from "../edges.ts";
import { printable, printableJson, wrapped } from "./printable.ts";
import { type Paint, paintFor } from "./style.ts";
import { type Column, tableText } from "./table.ts";
import { yamlDocument } from "./yaml.ts";

export const formats = ["table", "json", "yaml", "name"] as const;
export type Format = (typeof formats)[number];

const COLUMNS_DEFAULT = 80;
const COLUMNS_MIN = 40;
const COLUMNS_MAX = 500;

export interface ListView<Item> {
  columns: readonly Column<Item>[];
  /** What other commands take for it. */
  name: (item: Item) => string;
  /** Said to people where there is none. */
  none: string;
}

export interface OneView<Item> {
  text: (item: Item, options: { width: number | undefined; paint: Paint }) => string;
  name: (item: Item) => string;
}

export interface Output {
  readonly format: Format;
  readonly paint: Paint;
  /** Undefined: nothing is cut. */
  readonly width: number | undefined;
  /** In the form that was asked for, as text. */
  listText<Item>(items: readonly Item[], view: ListView<Item>): string;
  oneText<Item>(item: Item, view: OneView<Item>): string;
  list<Item>(items: readonly Item[], view: ListView<Item>): Promise<void>;
  one<Item>(item: Item, view: OneView<Item>): Promise<void>;
  /** What was done: to people only. Programs have the exit code. */
  done(sentence: string): Promise<void>;
  /** The same of an object of which the API says nothing any more: programs get a document all the same, or its id. */
  doneTo(object: { id: string; [field: string]: unknown }, sentence: string): Promise<void>;
  /** On stderr, whatever the form. */
  note(sentence: string): Promise<void>;
  write(data: string | Uint8Array): Promise<void>;
}

export function createOutput(
  edges: Pick<Edges, "env" | "stdout" | "stderr">,
  { format, wide }: { format: Format; wide: boolean },
): Output {
  const { env, stdout, stderr } = edges;
  const paint = paintFor(stdout.isTTY, env);
  const width = wide ? undefined : widthOf(stdout.columns, env.COLUMNS);
  const data = (value: unknown) =>
    format === "yaml" ? yamlDocument(value) : `${printableJson(JSON.stringify(value, null, 2))}\n`;
  const output: Output = {
    format,
    paint,
    width,
    listText(items, { columns, name }) {
      if (format === "name") return items.map((item) => `${printable(name(item))}\n`).join("");
      return format === "table" ? tableText(columns, items, { width, paint }) : data(items);
    },
    oneText(item, { text, name }) {
      if (format === "name") return `${printable(name(item))}\n`;
      return format === "table" ? text(item, { width, paint }) : data(item);
    },
    async list(items, view) {
      await stdout.write(output.listText(items, view));
      if (items.length === 0 && format === "table") await output.note(view.none);
    },
    one: (item, view) => stdout.write(output.oneText(item, view)),
    async done(sentence) {
      if (format === "table") await stdout.write(`${printable(sentence)}\n`);
    },
    doneTo: (object, sentence) =>
      format === "table"
        ? output.done(sentence)
        : output.one(object, { name: ({ id }) => id, text: () => "" }),
    note: (sentence) =>
      stderr.write(
        sentenceLines([sentence], stderr, env)
          .map((line) => `${paintFor(stderr.isTTY, env)("faint", line)}\n`)
          .join(""),
      ),
    write: (bytes) => stdout.write(bytes),
  };
  return output;
}

export function widthOf(columns: number | undefined, variable: string | undefined): number {
  const told = variable !== undefined && /^[0-9]{1,4}$/.test(variable) ? Number(variable) : undefined;
  return Math.min(COLUMNS_MAX, Math.max(COLUMNS_MIN, columns || told || COLUMNS_DEFAULT));
}

/** On a terminal in lines that fit it; in a log each stays one line. Continued lines are indented by two more. */
export function sentenceLines(
  sentences: readonly string[],
  { isTTY, columns }: Pick<Edges["stderr"], "isTTY" | "columns">,
  env: Edges["env"],
): string[] {
  const safe = sentences.map(printable);
  if (!isTTY) return safe;
  const width = widthOf(columns, env.COLUMNS);
  return safe.flatMap((sentence) => {
    const [indent = ""] = /^ */.exec(sentence) ?? [];
    const lines = wrapped(sentence.trim(), width - indent.length - 2);
    return lines.map((line, index) => `${indent}${index === 0 ? "" : "  "}${line}`);
  });
}
