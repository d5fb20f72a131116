/** One object as rows of a name and its value, in sections, at most as wide as it is told. */
import { columnsOf, printable, shortened, wrapped } from "./printable.ts";
import type { Paint, Tone } from "./style.ts";

export interface Fact {
  name: string;
  value: string;
  tone?: Tone;
}
export interface Section {
  title?: string;
  /** Absent ones are left out. */
  facts?: readonly (Fact | undefined)[];
  /** Lines that are printable already, such as those of a table. */
  text?: string;
}

export const fact = (name: string, value: string | null | undefined, tone?: Tone): Fact | undefined =>
  value === null || value === undefined || value === "" ? undefined : { name, value, ...(tone && { tone }) };

const INDENT = 2;

export function factsText(
  sections: readonly Section[],
  { width, paint }: { width: number | undefined; paint: Paint },
) {
  const names = sections.flatMap(({ facts = [] }) => facts.map((one) => one?.name.length ?? 0));
  const nameWidth = Math.max(0, ...names);
  const parts = sections.map(({ title, facts = [], text = "" }) => {
    const indent = title === undefined ? 0 : INDENT;
    const rows = facts
      .filter((one) => one !== undefined)
      .map((one) => row(one, indent, nameWidth, width, paint));
    const indented = text
      .split("\n")
      .map((line) => (line === "" ? "" : " ".repeat(indent) + line))
      .join("\n");
    if (rows.length === 0 && text === "") return "";
    const head = title === undefined ? "" : `${paint("strong", shortened(printable(title), width ?? 200))}\n`;
    return head + indented + rows.join("");
  });
  return parts.filter((part) => part !== "").join("\n");
}

function row(
  { name, value, tone = "none" }: Fact,
  indent: number,
  nameWidth: number,
  width: number | undefined,
  paint: Paint,
): string {
  const start = indent + nameWidth + 2;
  const safe = printable(value);
  const room = width === undefined ? columnsOf(safe) : Math.max(20, width - start);
  const [first = "", ...others] = columnsOf(safe) <= room ? [safe] : wrapped(safe, room);
  const head = " ".repeat(indent) + paint("faint", name) + " ".repeat(start - indent - name.length);
  return `${[head + paint(tone, first), ...others.map((line) => " ".repeat(start) + paint(tone, line))].join("\n")}\n`;
}
