import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { backoffMs } from "./backoff.ts";
import { readRetryAfter } from "./control-plane.ts";
import { lifeTransitions, nextTry, RETRY_AFTER_MS_MAX } from "./life.ts";

const backoff = { baseMs: 500, capMs: 30_000, random: () => 0.5 };

describe("the wait before the next try", () => {
  it("is uniform below a bound that doubles up to the cap, for any number of failures", () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, roll) => {
        const ms = backoffMs(attempt, { ...backoff, random: () => roll });
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(Math.min(30_000, 500 * 2 ** attempt));
      }),
    );
    expect([0, 1, 2, 10].map((attempt) => backoffMs(attempt, backoff))).toEqual([250, 500, 1000, 15_000]);
  });

  it("never ends for a network that is away", () => {
    expect(nextTry({ kind: "lost" }, { attempt: 1_000_000, everReady: false }, backoff)).toBe(15_000);
  });

  it("is at most twice as long as the agent has been away, but may always be the first one's", () => {
    const wait = (awayMs: number | undefined) =>
      nextTry(
        { kind: "lost" },
        { attempt: 9, everReady: true, awayMs },
        { ...backoff, random: () => 0.999_999 },
      );
    expect([0, 249, 3000, 14_000, 15_000, 600_000, undefined].map(wait)).toEqual([
      499, 499, 5999, 27_999, 29_999, 29_999, 29_999,
    ]);
    // It has come when it was told to: the server knows better how long that has to be.
    const told = { attempt: 9, everReady: true, awayMs: 10 };
    expect(nextTry({ kind: "lost", retryAfterMs: 7000 }, told, backoff)).toBe(7250);
  });

  it("follows the server's wish, with some jitter", () => {
    expect(nextTry({ kind: "lost", retryAfterMs: 7000 }, { attempt: 9, everReady: true }, backoff)).toBe(
      7250,
    );
  });

  it("follows no wish that is none or a mistake", () => {
    const wish = (retryAfterMs: number) =>
      nextTry({ kind: "lost", retryAfterMs }, { attempt: 9, everReady: true }, backoff);
    expect(wish(0)).toBe(15_000);
    expect(wish(RETRY_AFTER_MS_MAX)).toBe(RETRY_AFTER_MS_MAX + 250);
    // A timer this long would fire at once.
    expect(wish(2 ** 32 - 1)).toBe(RETRY_AFTER_MS_MAX + 250);
  });

  it.each([
    ["7", undefined, 7000],
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:27 GMT", 10_000],
    ["Sun, 06 Nov 1994 08:49:37 GMT", undefined, undefined],
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT", undefined],
    ["-1", undefined, undefined],
    ["1e3", undefined, undefined],
    ["soon", undefined, undefined],
    ["", undefined, undefined],
  ])("reads Retry-After %j beside Date %j as %p ms", (value, date, ms) => {
    expect(readRetryAfter(new Headers({ "retry-after": value, ...(date ? { date } : {}) }))).toBe(ms);
  });

  it.each(["credential", "session"] as const)(
    "is none for a %s that never worked, and long for one that did",
    (kind) => {
      expect(nextTry({ kind }, { attempt: 0, everReady: false }, backoff)).toBe("give-up");
      expect(nextTry({ kind }, { attempt: 0, everReady: true }, backoff)).toBeGreaterThanOrEqual(60_000);
    },
  );

  it("is long after another agent of the same wolf took over, so that two do not fight", () => {
    expect(nextTry({ kind: "replaced" }, { attempt: 0, everReady: true }, backoff)).toBeGreaterThanOrEqual(
      15_000,
    );
  });
});

describe("the agent's life", () => {
  it("can be stopped in every state, and ends there", () => {
    for (const [state, events] of Object.entries(lifeTransitions)) {
      if (state !== "stopped") expect(["stopped", "draining"]).toContain(events.stop);
    }
    expect(lifeTransitions.stopped).toEqual({});
  });

  it("takes a second tunnel for a move, not for a loss", () => {
    expect(lifeTransitions.ready.tunnelUp).toBe("ready");
  });

  it("drains only when a tunnel is up", () => {
    const drains = Object.entries(lifeTransitions).filter(
      ([state, events]) => state !== "draining" && events.stop === "draining",
    );
    expect(drains.map(([state]) => state)).toEqual(["ready"]);
  });
});
