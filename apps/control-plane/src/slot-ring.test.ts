import { describe, expect, it } from "@jest/globals";
import { SlotRing } from "./slot-ring.ts";

const rowsOf = (ring: SlotRing, from = Number.NEGATIVE_INFINITY) =>
  Array.from(ring.rows(from), ({ slot, figures }) => [slot, ...figures]);

function filled(width: number, capacity: number, ...rows: number[][]): SlotRing {
  const ring = new SlotRing(width, capacity);
  for (const [slot = 0, ...figures] of rows) ring.put(slot, figures);
  return ring;
}

describe("a ring of slots", () => {
  it("gives the rows back in order, without those of a slot that nobody filled", () => {
    const ring = filled(2, 5, [100, 1, 2], [101, 3, Number.NaN], [104, 5, 6]);
    expect(rowsOf(ring)).toEqual([
      [100, 1, 2],
      [101, 3, Number.NaN],
      [104, 5, 6],
    ]);
    expect(rowsOf(ring, 102)).toEqual([[104, 5, 6]]);
    expect(rowsOf(new SlotRing(1, 3))).toEqual([]);
  });

  it("writes over the oldest, whatever was skipped in between", () => {
    const ring = filled(1, 3, [1, 1], [2, 2], [3, 3], [4, 4]);
    expect(rowsOf(ring).map(([slot]) => slot)).toEqual([2, 3, 4]);
    ring.put(6, [6]);
    expect(rowsOf(ring).map(([slot]) => slot)).toEqual([4, 6]);
    ring.put(1_000_000, [7]);
    expect(rowsOf(ring)).toEqual([[1_000_000, 7]]);
  });

  it("keeps the last row of a slot, and takes figures that are left out for unknown", () => {
    expect(rowsOf(filled(2, 3, [1, 1, 1], [1, 2]))).toEqual([[1, 2, Number.NaN]]);
  });

  it("ignores a row that comes a little late, and begins anew when the clock was set back", () => {
    const ring = filled(1, 4, [10, 1], [11, 2]);
    ring.put(10, [9]);
    expect(rowsOf(ring)).toEqual([
      [10, 1],
      [11, 2],
    ]);
    ring.put(9, [3]);
    expect(rowsOf(ring)).toEqual([[9, 3]]);
    ring.put(-7, [4]);
    ring.put(-6, [5]);
    expect(rowsOf(ring)).toEqual([
      [-7, 4],
      [-6, 5],
    ]);
  });

  it("takes what fits of the newest rows into a ring of another size", () => {
    const ring = filled(1, 4, [1, 1], [2, 2], [3, 3]);
    expect(rowsOf(ring.resized(2, 2))).toEqual([
      [2, 2, Number.NaN],
      [3, 3, Number.NaN],
    ]);
    expect(ring.resized(1, 8).bytes).toBe(32);
  });

  it("says how many rows it takes to lose none, within a bound", () => {
    const ring = filled(1, 4, [1, 1], [2, 2]);
    const rows = (slot: number, rowsMax = 20) => ring.capacityAt(slot, rowsMax);
    expect([rows(4), rows(5), rows(8), rows(9), rows(1_000_000)]).toEqual([4, 8, 8, 16, 20]);
    expect([rows(9, 4), rows(-9)]).toEqual([4, 4]);
    expect(new SlotRing(1, 4).capacityAt(99, 20)).toBe(4);
  });
});
