import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";

describe("what properties are tried with", () => {
  it("is the same in every run, unless PROPERTY_SEED asks for others", () => {
    const { seed } = fc.readConfigureGlobal();
    expect(seed).toBe(Number(process.env.PROPERTY_SEED ?? 1));
    const tried: number[][] = [[], []];
    for (const values of tried)
      fc.assert(
        fc.property(fc.integer(), (value) => {
          values.push(value);
        }),
        { numRuns: 20 },
      );
    expect(tried[0]).toEqual(tried[1]);
    expect(new Set(tried[0]).size).toBeGreaterThan(5);
  });
});
