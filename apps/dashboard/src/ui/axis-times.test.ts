import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { axisTimes } from "./axis-times.ts";

const from = Date.parse("2026-11-26T23:51:00Z") / 1000;
const each = (step: number, times: number) =>
  Array.from({ length: times }, (_unused, at) => from + at * step);

describe("the times below a chart", () => {
  it("have seconds where they are less than a minute apart", () => {
    expect(axisTimes(each(30, 3), "UTC")).toEqual(["23:51:00", "23:51:30", "23:52:00"]);
  });

  it("are hours and minutes, or days, or both where hours of several days stand beside each other", () => {
    expect(axisTimes(each(60, 2), "UTC")).toEqual(["23:51", "23:52"]);
    expect(axisTimes(each(86_400, 2), "UTC")).toEqual(["Nov 26", "Nov 27"]);
    expect(axisTimes(each(43_200, 4), "UTC")[1]).toMatch(/^Nov 27, 11:51$/);
  });

  it("never say the same twice, and bear none or one", () => {
    const steps = fc.constantFrom(1, 5, 10, 15, 30, 60, 300, 3600, 21_600, 43_200, 86_400, 7 * 86_400);
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 20 }), (step, times) => {
        expect(new Set(axisTimes(each(step, times), "UTC")).size).toBe(times);
      }),
    );
    expect(axisTimes([])).toEqual([]);
    expect(axisTimes([from], "UTC")).toEqual(["23:51"]);
  });
});
