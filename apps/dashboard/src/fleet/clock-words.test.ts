import { describe, expect, it } from "@jest/globals";
import { CLOCK_WARNING_SECONDS } from "@wolfpack/api-contract";
import { aWolf } from "../../test/a-wolf.ts";
import { CLOCK_WARNING_MS, clockOf } from "./clock-words.ts";

const tunnel = { epoch: 1, since: "2026-11-26T11:00:00.000Z", rtt_ms: 3.2 };
const off = (clock_offset_ms: number | null | undefined) =>
  clockOf(aWolf({ tunnel: { ...tunnel, clock_offset_ms } }));

describe("the clock of a host", () => {
  it.each<[number, string, boolean]>([
    [120_000, "2 min ahead", true],
    [-299_000, "4 min behind", true],
    [30_000, "30 s ahead", true],
    [-29_999, "29 s behind", false],
    [1000, "1 s ahead", false],
    [-999, "less than 1 s off", false],
    [0, "less than 1 s off", false],
  ])("%d ms from the server's is %s", (ms, words, isOff) => {
    expect(off(ms)).toEqual({ words, isOff });
  });

  it("is a warning from where the control plane's own check says so", () => {
    expect(CLOCK_WARNING_MS).toBe(CLOCK_WARNING_SECONDS * 1000);
  });

  it("is not known without a tunnel, or where nobody has signed a time", () => {
    expect(clockOf(aWolf({ tunnel: null }))).toBeUndefined();
    expect([off(null), off(undefined), off(Number.NaN), off(Number.POSITIVE_INFINITY)]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
