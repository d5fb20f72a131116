/** Values of any shape, as text for people. */
import { plain } from "./text.ts";

const LINES_MAX = 200;
const LINE_CHARACTERS_MAX = 500;

/** As indented JSON; long ones are cut, and say so. */
export function jsonText(value: unknown): string {
  const lines = (JSON.stringify(value, null, 2) ?? "").split("\n");
  const shown = lines.slice(0, LINES_MAX).map((line) => plain(line, LINE_CHARACTERS_MAX));
  if (lines.length > LINES_MAX) shown.push(`… ${lines.length - LINES_MAX} lines more`);
  return shown.join("\n");
}
