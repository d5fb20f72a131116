import { describe, expect, it } from "@jest/globals";
import { BAND_ROWS_MAX, bandsOf } from "./bands.ts";

const wolves = (number: number) => Array.from({ length: number }, (_unused, at) => at);

describe("wolves that are painted", () => {
  it.each([
    [10_000, 24],
    [50_000, 24],
    [601, 1],
    [2400, 24],
    [2401, 24],
    [1, 80],
  ])("are all there, each once and in order: %i in %i columns", (number, columns) => {
    const bands = bandsOf(wolves(number), columns);
    expect(bands.flatMap(({ items }) => items)).toEqual(wolves(number));
    for (const { from, items, rows } of bands) {
      expect(rows).toBeLessThanOrEqual(BAND_ROWS_MAX);
      expect(items.length).toBeLessThanOrEqual(rows * columns);
      expect(items[0]).toBe(from);
      // What is above the next canvas is full, or there would be a hole.
      if (from + items.length < number) expect(items).toHaveLength(BAND_ROWS_MAX * columns);
    }
  });

  it("are none where there are none, and bear a width that is not known yet", () => {
    expect(bandsOf([], 24)).toEqual([]);
    expect(bandsOf(wolves(3), 0)).toEqual([{ from: 0, items: [0, 1, 2], rows: 3 }]);
  });
});
