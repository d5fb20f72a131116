/** Tables that fit the width they are given: columns that can shrink do, then those that can be done without go. Every cell is made printable here. */
import { columnsOf, printable, shortened } from "./printable.ts";
import type { Paint, Tone } from "./style.ts";

export type Cell = string | { text: string; tone: Tone };

export interface Column<Item> {
  title: string;
  of: (item: Item) => Cell;
  align?: "right";
  /** Down to so many columns of the terminal; absent: never cut. */
  shrinkTo?: number;
  /** Left out where the width does not suffice: the highest number first. */
  spare?: number;
}

export interface TableOptions {
  /** Undefined: as wide as it gets. */
  width: number | undefined;
  paint: Paint;
}

const GAP = 2;
const partsOf = (cell: Cell) =>
  typeof cell === "string"
    ? { text: printable(cell), tone: "none" as const }
    : { ...cell, text: printable(cell.text) };

/** Lines, each with its line break; none for no items. */
export function tableText<Item>(
  columns: readonly Column<Item>[],
  items: readonly Item[],
  { width, paint }: TableOptions,
): string {
  if (items.length === 0) return "";
  const all = columns.map((column) => {
    const cells = items.map((item) => partsOf(column.of(item)));
    const natural = Math.max(column.title.length, ...chunked(cells.map(({ text }) => columnsOf(text))));
    return { column, cells, width: natural };
  });
  const shown = width === undefined ? all : fitted(all, width);
  const line = (parts: readonly string[]) => `${parts.join(" ".repeat(GAP)).trimEnd()}\n`;
  const head = line(
    shown.map(({ column, width: w }) => paint("faint", padded(column.title, w, column.align))),
  );
  const rows = items.map((_item, row) =>
    line(
      shown.map(({ column, cells, width: w }, index) => {
        const { text, tone } = cells[row] ?? { text: "", tone: "none" as const };
        const cut = shortened(text, w);
        const space = " ".repeat(Math.max(0, w - columnsOf(cut)));
        if (column.align === "right") return space + paint(tone, cut);
        return paint(tone, cut) + (index === shown.length - 1 ? "" : space);
      }),
    ),
  );
  return head + rows.join("");
}

interface Measured<Item> {
  column: Column<Item>;
  cells: { text: string; tone: Tone }[];
  width: number;
}

function fitted<Item>(all: readonly Measured<Item>[], width: number): Measured<Item>[] {
  let shown = all.map((one) => ({ ...one }));
  const over = () => shown.reduce((sum, one) => sum + one.width, GAP * (shown.length - 1)) - width;
  const least = ({ column, width: natural }: Measured<Item>) =>
    column.shrinkTo === undefined
      ? natural
      : Math.min(natural, Math.max(column.shrinkTo, column.title.length));
  const leastOver = () => shown.reduce((sum, one) => sum + least(one), GAP * (shown.length - 1)) - width;
  while (leastOver() > 0) {
    const spare = shown.filter(({ column }) => column.spare !== undefined);
    if (spare.length === 0) break;
    const goes = spare.reduce((a, b) => ((b.column.spare ?? 0) >= (a.column.spare ?? 0) ? b : a));
    shown = shown.filter((one) => one !== goes);
  }
  for (let excess = over(); excess > 0; excess = over()) {
    const candidates = shown.filter((one) => one.width > least(one));
    if (candidates.length === 0) break;
    const widest = candidates.reduce((a, b) => (b.width > a.width ? b : a));
    widest.width -= 1;
  }
  return shown;
}

function padded(title: string, width: number, align: "right" | undefined): string {
  return align === "right" ? title.padStart(width) : title.padEnd(width);
}

/** The largest of each thousand: a call takes only so many arguments. */
function chunked(numbers: readonly number[]): number[] {
  const largest: number[] = [0];
  for (let from = 0; from < numbers.length; from += 1000)
    largest.push(Math.max(...numbers.slice(from, from + 1000)));
  return largest;
}
