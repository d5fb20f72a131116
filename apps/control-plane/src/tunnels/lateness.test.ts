import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { isLate, watchLateness } from "./lateness.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("lateness", () => {
  function watched() {
    const clock = manualClock();
    let stalledMs = 0;
    const started = clock.now().getTime();
    const nowMs = () => clock.now().getTime() - started + stalledMs;
    const lateness = watchLateness(clock, nowMs);
    return {
      lateness,
      clock,
      stall: (ms: number) => {
        stalledMs += ms;
      },
      look: async () => {
        clock.advance(50);
        await turn();
      },
    };
  }

  it("is none while timers fire when they are due", async () => {
    const { lateness, look } = watched();
    for (let at = 0; at < 5; at += 1) await look();
    expect(lateness.ms()).toBe(0);
  });

  it("counts from 41 ms on", () => {
    expect([0, 40, 41, 5000].map((ms) => isLate({ ms: () => ms }))).toEqual([false, false, true, true]);
  });

  it("shows while the look is overdue, and after it until looks are in time again", async () => {
    const { lateness, stall, look } = watched();
    await look();
    stall(450);
    expect(lateness.ms()).toBe(400);
    await look();
    expect(lateness.ms()).toBe(450);
    await look();
    expect(lateness.ms()).toBe(225);
    for (let at = 0; at < 12; at += 1) await look();
    expect(lateness.ms()).toBeLessThan(1);
  });

  it("leaves no timer when it is stopped", async () => {
    const { lateness, clock, look } = watched();
    await look();
    lateness.stop();
    expect(clock.pending).toBe(0);
  });
});
