/** JSON values as YAML 1.2, which readers of YAML 1.1 take for the same. Strings are plain only where nobody could read them as anything else. */
import { printableYaml } from "./printable.ts";

const plainWord = /^[A-Za-z_][A-Za-z0-9_./-]*$/;
/** What some version of YAML reads as no string. */
const taken = /^(true|false|yes|no|on|off|y|n|null|nan|inf)$/i;

const scalar = (value: string) =>
  plainWord.test(value) && !taken.test(value) ? value : printableYaml(JSON.stringify(value));

/** One document, which says itself where it begins: several in a row stay several. */
export function yamlDocument(value: unknown): string {
  return `---\n${node(value, 0).replace(/^\n/, "")}\n`;
}

/** Begins with a line break where it is a list or a map that is not empty. */
function node(value: unknown, depth: number): string {
  const indent = `\n${"  ".repeat(depth)}`;
  if (typeof value === "string") return scalar(value);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return value.map((item) => `${indent}- ${node(item, depth + 1).replace(/^\n\s*/, "")}`).join("");
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined);
    if (entries.length === 0) return "{}";
    return entries
      .map(([name, member]) => {
        const inner = node(member, depth + 1);
        return `${indent}${scalar(name)}:${inner.startsWith("\n") ? inner : ` ${inner}`}`;
      })
      .join("");
  }
  return JSON.stringify(value) ?? "null";
}
