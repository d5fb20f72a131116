import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { isMassLoss, isStillLost } from "./mass-loss.ts";

const rules = { sharePercent: 50, wolvesMin: 3 };

describe("a mass loss", () => {
  it.each([
    // connected, leftSince, is one
    [0, 0, false],
    [10, 0, false],
    [0, 2, false],
    [0, 3, true],
    [2, 3, true],
    [3, 3, false],
    [4, 6, true],
    [5, 5, false],
    [49, 51, true],
    [50, 50, false],
    [9_999, 3, false],
  ])("with %i wolves there and %i that left: %s", (connected, leftSince, expected) => {
    expect(isMassLoss({ connected, leftSince }, rules)).toBe(expected);
  });

  it("of any share needs as many wolves as the rules say, and of a hundred percent there is none", () => {
    expect(isMassLoss({ connected: 100, leftSince: 2 }, { sharePercent: 0, wolvesMin: 3 })).toBe(false);
    expect(isMassLoss({ connected: 100, leftSince: 3 }, { sharePercent: 0, wolvesMin: 3 })).toBe(true);
    expect(isMassLoss({ connected: 0, leftSince: 10_000 }, { sharePercent: 100, wolvesMin: 0 })).toBe(false);
  });

  it("does not become less of one when another wolf leaves", () => {
    const count = fc.nat({ max: 20_000 });
    const anyRules = fc.record({ sharePercent: fc.nat({ max: 100 }), wolvesMin: fc.nat({ max: 10 }) });
    fc.assert(
      fc.property(count, count, anyRules, (connected, leftSince, given) => {
        fc.pre(connected > 0 && isMassLoss({ connected, leftSince }, given));
        return isMassLoss({ connected: connected - 1, leftSince: leftSince + 1 }, given);
      }),
    );
  });

  it("goes on by the share of those that are away, however long ago they left", () => {
    expect(isStillLost({ connected: 4, suspect: 6 }, rules)).toBe(true);
    expect(isStillLost({ connected: 5, suspect: 5 }, rules)).toBe(false);
    expect(isStillLost({ connected: 0, suspect: 1 }, rules)).toBe(true);
    expect(isStillLost({ connected: 0, suspect: 0 }, rules)).toBe(false);
  });
});
