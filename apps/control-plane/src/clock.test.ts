import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { manualClock } from "../test/manual-clock.ts";
import { repeat, systemClock } from "./clock.ts";

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

describe("what is repeated", () => {
  it("is idle before its first run, and again when a run that was under way has ended, cancelled or not", async () => {
    const clock = manualClock();
    const { promise, resolve: finish } = Promise.withResolvers<void>();
    const work = repeat(clock, 100, () => promise);
    await work.idle;
    clock.advance(100);
    let isIdle = false;
    work.cancel();
    void work.idle.then(() => {
      isIdle = true;
    });
    await settled();
    expect(isIdle).toBe(false);
    finish();
    await settled();
    expect(isIdle).toBe(true);
  });
});

describe("a timer of the system's clock", () => {
  /** Of Node's timers; a key of a year lives longer. */
  const LONGEST_MS = 0x7fff_ffff;
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it("runs when it is due and not before, also after more days than Node can count", () => {
    const run = jest.fn();
    systemClock.setTimer(3 * LONGEST_MS + 5, run);
    jest.advanceTimersByTime(3 * LONGEST_MS + 4);
    expect(run).not.toHaveBeenCalled();
    jest.advanceTimersByTime(1);
    expect(run).toHaveBeenCalledTimes(1);
  });

  it("never runs after it was cancelled, however many days it has waited", () => {
    const run = jest.fn();
    const timer = systemClock.setTimer(2 * LONGEST_MS, run);
    jest.advanceTimersByTime(LONGEST_MS + 1);
    timer.cancel();
    expect(jest.getTimerCount()).toBe(0);
    jest.advanceTimersByTime(LONGEST_MS);
    expect(run).not.toHaveBeenCalled();
  });
});

describe("how much time has passed", () => {
  it("is told in whole milliseconds, as deadlines are sent", () => {
    const times = Array.from({ length: 100 }, () => systemClock.elapsedMs());
    expect(times.filter((ms) => !Number.isInteger(ms))).toEqual([]);
  });
});
