import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { createTurns } from "./turns.ts";

describe("turns of agents that connect", () => {
  it("are given to so many at once, and to the next when one ends", () => {
    const turns = createTurns({ clock: manualClock(), max: 2 });
    expect([turns.begin(), turns.begin()]).toEqual([undefined, undefined]);
    expect(turns.begin()).toBe(1);
    turns.end();
    expect(turns.begin()).toBeUndefined();
    expect(turns.begin()).toBe(1);
  });

  it("count what is under way besides", () => {
    let others = 2;
    const turns = createTurns({ clock: manualClock(), max: 2, others: () => others });
    expect(turns.begin()).toBe(1);
    others = 1;
    expect(turns.begin()).toBeUndefined();
  });

  it("are given to two at a time while the process is late", () => {
    let late = true;
    const turns = createTurns({ clock: manualClock(), max: 3, isLate: () => late });
    for (let at = 0; at < 2; at += 1) expect(turns.begin()).toBeUndefined();
    expect(turns.begin()).toBe(1);
    late = false;
    expect(turns.begin()).toBeUndefined();
  });

  it("are no more than ever while the process is late", () => {
    const turns = createTurns({ clock: manualClock(), max: 1, isLate: () => true });
    expect([turns.begin(), turns.begin()]).toEqual([undefined, 1]);
  });

  it("tell a thousand who are refused at once to come back one after the other, no more in a second than are taken in", () => {
    const turns = createTurns({ clock: manualClock(), max: 0 });
    const waits = Array.from({ length: 1000 }, () => turns.begin() ?? 0);
    const perSecond = [...Map.groupBy(waits, (seconds) => seconds)].map(([seconds, some]) => [
      seconds,
      some.length,
    ]);
    expect(perSecond).toEqual([1, 2, 3, 4, 5].map((second) => [second, 200]));
  });

  it("give moments again once those that were told have passed", () => {
    const clock = manualClock();
    const turns = createTurns({ clock, max: 0 });
    for (let at = 0; at < 1000; at += 1) turns.begin();
    expect(turns.begin()).toBe(6);
    clock.advance(10_000);
    expect(turns.begin()).toBe(1);
  });

  it("learn the pace from the turns that end while there is no room", () => {
    const clock = manualClock();
    const turns = createTurns({ clock, max: 300 });
    for (let at = 0; at < 300; at += 1) turns.begin();
    turns.begin();
    clock.advance(1000);
    for (let at = 0; at < 300; at += 1) turns.end();
    for (let at = 0; at < 300; at += 1) turns.begin();
    const waits = Array.from({ length: 900 }, () => turns.begin() ?? 0);
    // Half as many again: that none of those who were told to come came too early does not say that no more could.
    expect(waits.filter((seconds) => seconds === 1)).toHaveLength(450);
    expect(Math.max(...waits)).toBe(2);
  });

  it("give moments within the time that all who are away take, also when each is refused again and again", async () => {
    const clock = manualClock();
    let away = 1000;
    const turns = createTurns({ clock, max: 0, away: async () => away });
    turns.begin();
    clock.advance(1000);
    turns.begin();
    await Promise.resolve();
    // 100 a second, since nobody was taken in.
    const waits = Array.from({ length: 5000 }, () => turns.begin() ?? 0);
    expect(Math.max(...waits)).toBe(10);
    expect(waits.filter((seconds) => seconds === 10).length).toBeGreaterThan(400);
    away = 5;
    clock.advance(1000);
    turns.begin();
    await Promise.resolve();
    expect(Array.from({ length: 1000 }, () => turns.begin())).toEqual(Array(1000).fill(1));
  });

  it("give moments as ever where it cannot be found out how many are away", async () => {
    const clock = manualClock();
    const turns = createTurns({ clock, max: 0, away: () => Promise.reject(new Error("no database")) });
    turns.begin();
    clock.advance(1000);
    turns.begin();
    await Promise.resolve();
    expect(Math.max(...Array.from({ length: 5000 }, () => turns.begin() ?? 0))).toBe(51);
  });

  it("send nobody away for more than a minute, however many there are and wherever the clock is set", () => {
    const clock = manualClock();
    let backMs = 0;
    const turns = createTurns({
      clock: { ...clock, now: () => new Date(clock.now().getTime() - backMs) },
      max: 0,
    });
    const waits = Array.from({ length: 50_000 }, () => turns.begin() ?? 0);
    expect(Math.max(...waits)).toBe(60);
    backMs = 3_600_000;
    expect(turns.begin()).toBeLessThanOrEqual(60);
  });

  it("are only asked about by who is about to need one", () => {
    const turns = createTurns({ clock: manualClock(), max: 1 });
    expect([turns.waitSeconds(), turns.waitSeconds()]).toEqual([undefined, undefined]);
    expect(turns.begin()).toBeUndefined();
    expect(turns.waitSeconds()).toBe(1);
    turns.end();
    expect(turns.waitSeconds()).toBeUndefined();
  });
});
