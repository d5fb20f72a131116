/** Channels are granted: what a peer may open, how fast it comes back, and what our side does while it has none left. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { Grants } from "../src/grants.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { failure, get, signal, untilAborted } from "./support.ts";

/** Slots of so many channels, and a peer that knows what it may open. */
function granting(
  channelsMax: number,
  paces: { opensPerSecondMax?: number; resetsPerWindowMax?: number } = {},
) {
  const grants = new Grants({ channelsMax, opensPerSecondMax: 1e9, resetsPerWindowMax: 1e9, ...paces });
  const exchange = (times: number, cancelled = false) => {
    for (let n = 0; n < times; n += 1) {
      grants.opened();
      if (cancelled) grants.peerCancelled();
      grants.slotFree();
    }
  };
  return { grants, exchange };
}

describe("the slots of one side", () => {
  it("are granted again one by one where there are few", () => {
    const { grants, exchange } = granting(3);
    exchange(1);
    expect(grants.due(0)).toBe(1);
    expect(grants.due(0)).toBe(0);
  });

  it("are collected where there are many, and sent at once when the peer has few left", () => {
    const { grants, exchange } = granting(1024);
    exchange(63);
    expect(grants.due(0)).toBe(0);
    exchange(1);
    expect(grants.due(0)).toBe(64);
    for (let n = 0; n < 1014; n += 1) grants.opened();
    exchange(4); // Six are left.
    expect(grants.due(0)).toBe(0);
    exchange(1);
    expect(grants.due(0)).toBe(5);
  });

  it("cannot be used twice", () => {
    const { grants } = granting(2);
    grants.opened();
    grants.opened();
    expect(() => grants.opened()).toThrow("OPEN_FLOOD");
    grants.slotFree();
    expect(() => grants.opened()).toThrow("OPEN_FLOOD"); // It has not been told.
    expect(grants.due(0)).toBe(1);
    grants.opened();
  });

  it("come back at their pace, and say when", () => {
    const { grants, exchange } = granting(10, { opensPerSecondMax: 4 });
    exchange(10);
    expect([grants.due(500), grants.wakeAt]).toEqual([4, 1500]);
    expect([grants.due(1499), grants.wakeAt]).toEqual([0, 1500]);
    expect([grants.due(1500), grants.wakeAt]).toEqual([4, 2500]);
    expect([grants.due(2500), grants.wakeAt]).toEqual([2, Number.POSITIVE_INFINITY]);
  });

  it("come back slower when the peer has cancelled, and hold up no others", () => {
    const { grants, exchange } = granting(10, { resetsPerWindowMax: 2 });
    exchange(5, true);
    exchange(5);
    expect([grants.due(0), grants.wakeAt]).toEqual([7, 10_000]);
    expect([grants.due(10_000), grants.wakeAt]).toEqual([2, 20_000]);
    expect([grants.due(20_000), grants.wakeAt]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  it("are neither lost nor invented, whatever happens, and never come faster than allowed", () => {
    const act = fc.constantFrom("open", "free", "cancel", "due", "second");
    const numbers = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 9 }));
    fc.assert(
      fc.property(fc.array(act, { maxLength: 300 }), numbers, (acts, [channelsMax, perSecond]) => {
        const { grants } = granting(channelsMax, { opensPerSecondMax: perSecond, resetsPerWindowMax: 3 });
        let [left, used, waiting, now] = [channelsMax, 0, 0, 0];
        let [inSecond, secondEndsAt] = [0, 0];
        for (const one of acts) {
          if (one === "open" && left > 0) {
            grants.opened();
            left -= 1;
            used += 1;
          } else if (one === "open") expect(() => grants.opened()).toThrow("OPEN_FLOOD");
          if ((one === "free" || one === "cancel") && used > 0) {
            if (one === "cancel") grants.peerCancelled();
            grants.slotFree();
            used -= 1;
            waiting += 1;
          }
          if (one === "second") now += 1000;
          if (one !== "due") continue;
          const count = grants.due(now);
          if (now >= secondEndsAt) [inSecond, secondEndsAt] = [0, now + 1000];
          inSecond += count;
          expect(inSecond).toBeLessThanOrEqual(perSecond);
          waiting -= count;
          left += count;
          expect(left + used + waiting).toBe(channelsMax);
          expect(waiting).toBeGreaterThanOrEqual(0);
          expect(grants.wakeAt).toBeGreaterThan(now);
        }
        // In the end everything that waits is granted, or is not worth a frame yet.
        for (let round = 0; round < 2000 && grants.wakeAt < Number.POSITIVE_INFINITY; round += 1) {
          now = Math.max(now, grants.wakeAt);
          const count = grants.due(now);
          waiting -= count;
          left += count;
        }
        grants.due(now + 20_000);
        expect(grants.wakeAt === Number.POSITIVE_INFINITY || waiting > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

/** Two tunnels with time by hand; the handlers of `left` do not stop before they are told. */
async function stubborn() {
  const clock = new ManualClock();
  const pair = tunnelPair({ both: { clock }, left: { limits: { channelsMax: 1 } } });
  await pair.ready;
  const release = signal();
  pair.left.serve(async ({ path }) => {
    if (path === "/stubborn") await release.seen;
    return { status: 200 };
  });
  /** Takes the only slot, and is gone. */
  const cancel = new AbortController();
  const cancelled = failure(pair.right.request({ ...get("/stubborn"), signal: cancel.signal }));
  await clock.advance(0);
  cancel.abort();
  expect((await cancelled).code).toBe("CANCELLED");
  const leave = async () => {
    pair.left.destroy();
    await pair.right.closed;
    expect(clock.pending).toBe(0);
  };
  return { ...pair, clock, release, leave };
}

describe("a request without a channel", () => {
  it("waits for one, and is answered when a handler has stopped", async () => {
    const { right, clock, release, leave } = await stubborn();
    const waits = right.request(get("/"));
    await clock.advance(1000);
    release.give();
    await clock.advance(0);
    expect((await waits).status).toBe(200);
    await leave();
  });

  it("fails after its time, and was not sent", async () => {
    const { right, clock, leave } = await stubborn();
    const waits = failure(right.request(get("/")));
    await clock.advance(2000);
    expect(await waits).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(right.load).toBe(0);
    await leave();
  });

  it("keeps to its deadline", async () => {
    const { right, left, clock, release, leave } = await stubborn();
    const late = failure(right.request({ ...get("/"), deadlineMs: 500 }));
    await clock.advance(500);
    expect(await late).toMatchObject({ code: "DEADLINE", sent: "not-sent" });
    release.give();
    await clock.advance(0);
    expect((await right.request(get("/"))).status).toBe(200);
    expect(left.metrics.openedInbound).toBe(2);
    await leave();
  });

  it("can be given up, also with thousands after it, and nobody hears of them", async () => {
    const { left, right, clock, release, leave } = await stubborn();
    for (let n = 0; n < 3000; n += 1) {
      const cancel = new AbortController();
      const waits = failure(right.request({ ...get("/"), signal: cancel.signal }));
      cancel.abort();
      expect(await waits).toMatchObject({ code: "CANCELLED", sent: "not-sent" });
    }
    release.give();
    await clock.advance(0);
    expect((await right.request(get("/"))).status).toBe(200);
    expect(left.metrics.openedInbound).toBe(2);
    await leave();
  });

  it("fails when either side goes away", async () => {
    for (const side of ["left", "right"] as const) {
      const pair = await stubborn();
      const waits = failure(pair.right.request(get("/")));
      void pair[side].close();
      await pair.clock.advance(0);
      expect(await waits).toMatchObject({ code: "DRAINING", sent: "not-sent" });
      pair.release.give();
      await pair.clock.advance(0);
      await pair.leave();
    }
  });

  it("sends its body when it goes, and in order", async () => {
    const { left, right, clock, release, leave } = await stubborn();
    const body = new Uint8Array(Buffer.from("after all"));
    const waits = right.request({ ...get("/"), method: "POST", body });
    release.give();
    await clock.advance(0);
    expect((await waits).status).toBe(200);
    expect(left.metrics.openedInbound).toBe(2);
    await leave();
  });
});

describe("a program that cancels as fast as it can", () => {
  it("ends nothing for others on the same tunnel, with the limits that everybody has", async () => {
    const { left, right, ready } = tunnelPair();
    await ready;
    left.serve((request) => (request.path === "/by" ? { status: 200 } : untilAborted(request.signal)));
    for (let round = 0; round < 100; round += 1) {
      const cancel = new AbortController();
      const given = Array.from({ length: 300 }, () =>
        failure(right.request({ ...get("/"), signal: cancel.signal })),
      );
      await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
      cancel.abort();
      for (const error of await Promise.all(given)) expect(error.code).toBe("CANCELLED");
      expect((await right.request(get("/by"))).status).toBe(200);
    }
    expect(right.draining).toBe(false);
    left.destroy();
    await right.closed;
  });

  it.each([
    ["slots come back once a second", { channelsMax: 4, opensPerSecondMax: 1 }],
    ["cancelled slots come back slowly", { channelsMax: 4, resetsPerWindowMax: 1 }],
  ])("waits where %s, and breaks no rule", async (_name, limits) => {
    const clock = new ManualClock();
    const patient = { limits: { grantTimeoutMs: 600_000 } };
    const { left, right, ready } = tunnelPair({ both: { clock }, left: { limits }, right: patient });
    await ready;
    left.serve((request) => (request.path === "/by" ? { status: 200 } : untilAborted(request.signal)));
    for (let round = 0; round < 10; round += 1) {
      const cancel = new AbortController();
      const given = failure(right.request({ ...get("/"), signal: cancel.signal }));
      await clock.advance(0);
      cancel.abort();
      expect((await given).code).toBe("CANCELLED");
    }
    const by = right.request(get("/by"));
    await clock.advance(20_000);
    expect((await by).status).toBe(200);
    expect(right.draining).toBe(false);
    left.destroy();
    await right.closed;
    expect(clock.pending).toBe(0);
  });
});
