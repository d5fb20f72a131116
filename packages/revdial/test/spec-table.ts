/** Tables of SPEC.md, for tests that hold the code to them. */
import { readFileSync } from "node:fs";

export const spec = readFileSync(new URL("../SPEC.md", import.meta.url), "utf8");

const cells = (line: string) =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

/** Rows of the table whose head begins with these words. */
export function table(...head: string[]): string[][] {
  const lines = spec.split("\n");
  const at = lines.findIndex((line) => cells(line).slice(0, head.length).join("|") === head.join("|"));
  if (at < 0) throw new Error(`SPEC.md has no table ${head.join(", ")}`);
  const rows: string[][] = [];
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith("|")) break;
    rows.push(cells(line));
  }
  return rows;
}

/** Cells of a table of states, by state and event; the first columns are not events. */
export function states(events: readonly string[], ...columns: string[]): Map<string, Map<string, string>> {
  const rows = table("state", ...columns, ...events);
  return new Map(
    rows.map(([state = "", ...row]) => [
      state,
      new Map(events.map((event, index) => [event, row[columns.length + index] ?? ""])),
    ]),
  );
}
