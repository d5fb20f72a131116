/** Thousands of painted wolves in canvases that no browser refuses, as a function of values. */

/** Rows of tiles of one canvas: 1,200 px high. Browsers paint nothing beyond some 16 megapixels, and a phone has nine for each px. */
export const BAND_ROWS_MAX = 100;

export interface Band<Item> {
  /** Of the first item among all. */
  from: number;
  items: readonly Item[];
  rows: number;
}

/** All items, in rows of so many columns. */
export function bandsOf<Item>(items: readonly Item[], columns: number): Band<Item>[] {
  const size = Math.max(1, columns) * BAND_ROWS_MAX;
  return Array.from({ length: Math.ceil(items.length / size) }, (_unused, band) => {
    const from = band * size;
    const some = items.slice(from, from + size);
    return { from, items: some, rows: Math.ceil(some.length / Math.max(1, columns)) };
  });
}
