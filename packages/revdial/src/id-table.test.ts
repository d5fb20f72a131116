import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { IdTable } from "./id-table.ts";

describe("a table of channel numbers", () => {
  it("holds what a Map would hold, through any adding and deleting", () => {
    // Few distinct ids far apart and close together: many share a place.
    const id = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0xffff_fff0, max: 0xffff_ffff }));
    const step = fc.record({ id, add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new IdTable<string>();
        const model = new Map<number, string>();
        for (const [index, { id: number, add }] of steps.entries()) {
          if (add) {
            table.set(number, `${index}`);
            model.set(number, `${index}`);
          } else expect(table.delete(number)).toBe(model.delete(number));
          expect(table.size).toBe(model.size);
          expect(table.get(number)).toBe(model.get(number));
        }
        const keys = [...model.keys()].toSorted((a, b) => a - b);
        expect(table.keys()).toEqual(keys);
        expect(table.values()).toEqual(keys.map((key) => model.get(key)));
        for (const key of keys) expect(table.has(key)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  const capacityOf = (table: IdTable<number>) => (table as unknown as { ids: number[] }).ids.length;

  it("is not rebuilt by a load that swings between few and many", () => {
    const table = new IdTable<number>();
    const capacities = new Set<number>();
    for (let swing = 0, id = 1; swing < 100; swing += 1) {
      for (let count = 0; count < 64; count += 1, id += 2) table.set(id, id);
      for (let back = id - 128; back < id; back += 2) table.delete(back);
      if (swing > 0) capacities.add(capacityOf(table));
    }
    expect([...capacities]).toEqual([128]);
  });

  it("shrinks when the load stays small", () => {
    const table = new IdTable<number>();
    for (let id = 1; id < 256; id += 2) table.set(id, id);
    for (let id = 1; id < 256; id += 2) table.delete(id);
    for (let id = 257; id < 3000; id += 2) {
      table.set(id, id);
      table.delete(id);
    }
    expect(capacityOf(table)).toBe(8);
  });

  it("gives its memory back when many channels have gone", () => {
    const table = new IdTable<number>();
    for (let id = 1; id < 20_000; id += 2) table.set(id, id);
    for (let id = 1; id < 20_000; id += 2) table.delete(id);
    expect(table.size).toBe(0);
    expect(capacityOf(table)).toBe(8);
  });
});
