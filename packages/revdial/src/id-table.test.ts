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

  it("gives its memory back when many channels have gone", () => {
    const table = new IdTable<number>();
    for (let id = 1; id < 20_000; id += 2) table.set(id, id);
    for (let id = 1; id < 20_000; id += 2) table.delete(id);
    expect(table.size).toBe(0);
    expect((table as unknown as { ids: number[] }).ids.length).toBe(8);
  });
});
