import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../test/manual-clock.ts";
import { repeat } from "./clock.ts";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("repeat", () => {
  it("runs again only after the last run has ended", async () => {
    const clock = manualClock();
    let runs = 0;
    let finish: () => void = () => undefined;
    repeat(clock, 100, () => {
      runs += 1;
      return new Promise((resolve) => {
        finish = resolve;
      });
    });
    clock.advance(99);
    expect(runs).toBe(0);
    clock.advance(1000);
    expect(runs).toBe(1);
    finish();
    await settled();
    clock.advance(100);
    expect(runs).toBe(2);
  });

  it("never runs after it was cancelled, not even when a run was under way", async () => {
    const clock = manualClock();
    let runs = 0;
    const timer = repeat(clock, 100, async () => {
      runs += 1;
    });
    clock.advance(100);
    timer.cancel();
    await settled();
    clock.advance(1000);
    expect(runs).toBe(1);
    expect(clock.pending).toBe(0);
  });
});
