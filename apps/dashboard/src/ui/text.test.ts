import { describe, expect, it } from "@jest/globals";
import { clockTime, limitOf, millis, moment } from "./text.ts";

describe("limits of time", () => {
  it("are said in the largest unit that rounds nothing away", () => {
    const seconds = [30, 90, 600, 7200, 86_400, 90_000];
    expect(seconds.map((each) => limitOf(each * 1000))).toEqual([
      "30 s",
      "90 s",
      "10 min",
      "2 h",
      "1 d",
      "25 h",
    ]);
    expect([limitOf(1500), limitOf(250)]).toEqual(["1.5 s", "250 ms"]);
  });

  it("are no moment at all, or unknown, where that is what was said", () => {
    expect([limitOf(0), millis(0)]).toEqual(["0 ms", "0 ms"]);
    expect([limitOf(null), limitOf(undefined), limitOf(Number.NaN)]).toEqual(["–", "–", "–"]);
  });
});

describe("a moment within a sentence", () => {
  const [summer, winter] = ["2026-07-01T12:00:00.000Z", "2026-12-01T12:00:00.000Z"];

  it("has no year where that goes without saying, and the rest of it all the same", () => {
    expect(moment(winter)).toContain("2026");
    expect(moment(winter, summer)).not.toContain("2026");
    expect(moment(winter, summer)).not.toBe(moment(summer, summer));
  });

  it("has its year where what the sentence is about is of another one, or of none that is known", () => {
    for (const about of ["2025-07-01T12:00:00.000Z", "yesterday", ""])
      expect(moment(winter, about)).toContain("2026");
    expect(moment("soon", summer)).toBe("an unknown time");
  });
});

describe("a moment on this clock", () => {
  it("is a date and an hour of equal length, whatever they are", () => {
    const at = new Date(2026, 0, 2, 3, 4, 5).getTime();
    expect(clockTime(at)).toBe("2026-01-02 03:04:05");
  });

  it("is nothing where it is none", () => {
    expect(clockTime(Number.NaN)).toBe("");
  });
});
