import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { AgentProof, CLOCK_SKEW_MINUTES_MAX, CLOCK_WARNING_SECONDS, clockWords } from "../src/index.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

describe("how far a clock is off, in words", () => {
  it.each<[number, string]>([
    [0, "less than 1 s off"],
    [-999, "less than 1 s off"],
    [SECOND_MS, "1 s ahead"],
    [-45_900, "45 s behind"],
    [2 * MINUTE_MS, "2 min ahead"],
    [-5 * MINUTE_MS, "5 min behind"],
    [5 * MINUTE_MS + SECOND_MS, "5 min 1 s ahead"],
    [61 * MINUTE_MS + 30_000, "61 min ahead"],
    [-5 * HOUR_MS, "5 h behind"],
    [8_000_000_000_000_000, "92592592 days ahead"],
  ])("%d ms is %s", (offsetMs, words) => {
    expect(clockWords(offsetMs)).toBe(words);
  });

  it("has no fraction, and tells both ways apart, whatever the offset", () => {
    fc.assert(
      fc.property(fc.integer({ min: SECOND_MS, max: 2 ** 52 }), (offsetMs) => {
        const [ahead, behind] = [clockWords(offsetMs), clockWords(-offsetMs)];
        expect(ahead).toMatch(/^\d+ (s|min|min \d+ s|h|days) ahead$/);
        expect(behind).toBe(ahead.replace("ahead", "behind"));
      }),
    );
  });

  it("is a warning before it is a refusal", () => {
    expect(CLOCK_WARNING_SECONDS).toBeLessThan(CLOCK_SKEW_MINUTES_MAX * 60);
  });
});

describe("the time in a proof", () => {
  const proof = {
    key_id: `agk_${"0".repeat(26)}`,
    host: "wolfpack.example",
    nonce: "A".repeat(64),
    time: "2026-11-23T12:00:00.000Z",
    signature: "A".repeat(86),
  };

  it("is a moment in UTC", () => {
    expect(AgentProof.safeParse(proof).success).toBe(true);
  });

  it.each<[string, unknown]>([
    ["no number", Number.NaN],
    ["milliseconds", 1_700_000_000_000],
    ["milliseconds as text", "1700000000000"],
    ["the word NaN", "NaN"],
    ["a moment before the first year", "-000001-01-01T00:00:00.000Z"],
    ["a year of six digits", "+275760-09-13T00:00:00.001Z"],
    ["the 30th of February", "2026-02-30T00:00:00.000Z"],
    ["a time of another zone", "2026-11-23T12:00:00.000+14:00"],
    ["two lines", "2026-11-23T12:00:00.000Z\n"],
    ["nothing", undefined],
  ])("is not %s", (_what, time) => {
    expect(AgentProof.safeParse({ ...proof, time }).success).toBe(false);
  });
});
