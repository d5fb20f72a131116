import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { Waiters } from "./waiters.ts";

describe("waiting for a session", () => {
  it("ends at once when the answer is there", async () => {
    const clock = manualClock();
    expect(await new Waiters(clock).until("a", 1000, async () => 1)).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it("ends when a change brings the answer, and leaves no timer", async () => {
    const clock = manualClock();
    const waiters = new Waiters(clock);
    let value: number | undefined;
    const waiting = waiters.until("a", 1000, async () => value);
    waiters.changed("b");
    value = 2;
    waiters.changed("a");
    expect(await waiting).toBe(2);
    expect(clock.pending).toBe(0);
  });

  it("gives up when its time is over, and when everything closes", async () => {
    const clock = manualClock();
    const waiters = new Waiters(clock);
    const slow = waiters.until("a", 1000, async () => undefined);
    clock.advance(999);
    const closed = waiters.until("a", 5000, async () => undefined);
    clock.advance(1);
    expect(await slow).toBeUndefined();
    waiters.close();
    expect(await closed).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it("passes on what the look throws", async () => {
    const waiters = new Waiters(manualClock());
    await expect(waiters.until("a", 1000, () => Promise.reject(new Error("no database")))).rejects.toThrow(
      "no database",
    );
  });
});
