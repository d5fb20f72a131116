import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLoopDelay, type LoopDelay } from "./loop-delay.ts";

let clock: ManualClock;
let delay: LoopDelay;
beforeEach(() => {
  clock = manualClock();
  delay = createLoopDelay(clock);
});
afterEach(() => delay.stop());

const windowPasses = async () => {
  clock.advance(60_000);
  await new Promise((resolve) => setImmediate(resolve));
};

/** Nothing else runs for 150 ms, again until the histogram has seen it: it counts from its first turn on. */
async function stall(): Promise<void> {
  for (let tries = 0; tries < 20 && delay.read().maxMs < 100; tries += 1) {
    const until = performance.now() + 150;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("the delay of the event loop", () => {
  it("is none before anything was measured, and has its worst for one to two minutes", async () => {
    expect(delay.read()).toEqual({ p99Ms: 0, maxMs: 0 });
    delay.start();
    await stall();
    const worst = delay.read().maxMs;
    expect(worst).toBeGreaterThan(100);
    await windowPasses();
    expect(delay.read().maxMs).toBeGreaterThanOrEqual(worst);
    await windowPasses();
    expect(delay.read().maxMs).toBeLessThan(worst);
  });

  it("leaves no timer behind, started twice or never", () => {
    delay.start();
    delay.start();
    delay.stop();
    delay.stop();
    createLoopDelay(clock).stop();
    expect(clock.pending).toBe(0);
  });
});
