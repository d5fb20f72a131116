/** Dead peers, round trips and timers, with time moved by hand. */
import { describe, expect, it } from "@jest/globals";
import { Liveness } from "../src/liveness.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { failure, get, signal, untilAborted } from "./support.ts";

async function clockedPair() {
  const clock = new ManualClock();
  const pair = tunnelPair({ both: { clock } });
  await pair.ready;
  return { clock, ...pair };
}

describe("liveness", () => {
  it("notices a peer that fell silent 14.5 s after its last sign of life, and settles what waited for it", async () => {
    const { clock, left, right, link } = await clockedPair();
    left.serve((request) => untilAborted(request.signal));
    await clock.advance(5100);
    const inFlight = failure(right.request(get("/")));
    await clock.advance(0);
    link.drop();
    // The answer to its second ping came 100 ms before.
    await clock.advance(14_399);
    expect(right.draining).toBe(false);
    await clock.advance(1);
    expect(await right.closed).toMatchObject({ code: "DEAD_PEER" });
    await clock.advance(100);
    expect(await inFlight).toMatchObject({ code: "DEAD_PEER", sent: "may-have-run" });
    expect(await left.closed).toMatchObject({ code: "DEAD_PEER" });
    expect(clock.pending).toBe(0);
  });

  it("has reached its peer when a ping was answered, and not before", async () => {
    const { clock, left, right, link } = await clockedPair();
    let reached = false;
    void right.reached.then(() => {
      reached = true;
    });
    link.hold("left", true);
    await clock.advance(0);
    expect(reached).toBe(false);
    link.hold("left", false);
    await right.reached;
    left.destroy();
    await right.closed;
  });

  it("never reached a peer that was lost before it answered", async () => {
    const { clock, right, link } = await clockedPair();
    link.drop();
    await clock.advance(60_000);
    expect((await failure(right.reached)).code).toBe("DEAD_PEER");
  });

  it("does not take a peer for dead that stalls for 10 s", async () => {
    const { clock, left, right, link } = await clockedPair();
    await clock.advance(7000);
    link.hold("left", true);
    await clock.advance(10_000);
    link.hold("left", false);
    await clock.advance(0);
    await clock.advance(60_000);
    left.serve(() => ({ status: 200 }));
    expect((await right.request(get("/"))).status).toBe(200);
    left.destroy();
    await Promise.all([left.closed, right.closed]);
  });

  it("does not take its own stall for the peer's death", () => {
    const liveness = new Liveness(5000, 15_000, 0);
    expect(liveness.tick(0)).toEqual({ ping: 1n });
    expect(liveness.answered(1n, 3)).toBe(3);
    liveness.heard(3);
    // This process was stopped for a minute: nobody listened, so nothing was heard.
    expect(liveness.tick(60_000)).toEqual({ ping: 2n });
  });

  it("asks a third time while there is time for an answer, also when it is late itself", () => {
    const liveness = new Liveness(5000, 14_500, 0);
    liveness.tick(0);
    liveness.answered(1n, 20);
    liveness.heard(20);
    expect(liveness.tick(5080).ping).toBe(2n);
    expect(liveness.tick(10_160).ping).toBe(3n);
    expect(liveness.wakeAt).toBe(12_520);
    expect(liveness.tick(12_519)).toEqual({});
    expect(liveness.tick(12_600)).toEqual({ ping: 4n });
    expect(liveness.wakeAt).toBe(14_520);
    expect(liveness.tick(14_519)).toEqual({});
    expect(liveness.tick(14_600)).toEqual({ deadForMs: 14_580 });
  });

  it("keeps its pace when the third is answered", () => {
    const liveness = new Liveness(5000, 14_500, 0);
    for (const now of [0, 5000, 12_500]) expect(liveness.tick(now).ping).toBeDefined();
    liveness.answered(3n, 12_520);
    liveness.heard(12_520);
    expect(liveness.wakeAt).toBe(17_500);
  });

  it("leaves a peer the time to answer after a stall of its own", () => {
    const liveness = new Liveness(5000, 14_500, 0);
    liveness.tick(0);
    liveness.tick(60_000);
    expect(liveness.tick(60_001)).toEqual({});
    expect(liveness.wakeAt).toBe(62_000);
  });

  it("does not take a peer for dead that sends and never answers a ping", () => {
    const liveness = new Liveness(5000, 15_000, 0);
    for (let now = 0; now <= 1_000_000; now += 5000) {
      expect(liveness.tick(now).deadForMs).toBeUndefined();
      liveness.heard(now + 1);
    }
  });

  it("takes one answer for those before it, and not for those after", () => {
    const liveness = new Liveness(5000, 14_500, 0);
    for (const now of [0, 5000, 10_000]) liveness.tick(now);
    expect(liveness.answered(2n, 10_001)).toBe(5001);
    expect(liveness.answered(1n, 10_002)).toBeUndefined();
    expect(liveness.answered(3n, 10_003)).toBe(3);
    for (const now of [15_000, 20_000, 25_000]) liveness.tick(now);
    expect(liveness.answered(4n, 25_001)).toBe(10_001);
    // Two are still unanswered: silence alone is not enough.
    expect(liveness.tick(26_999).deadForMs).toBeUndefined();
    expect(liveness.tick(27_000).deadForMs).toBeGreaterThan(14_500);
  });

  it("ignores an answer to nothing it asked", () => {
    const liveness = new Liveness(5000, 15_000, 0);
    expect(liveness.answered(1n, 5)).toBeUndefined();
    liveness.tick(0);
    expect(liveness.answered(2n, 5)).toBeUndefined();
    expect(liveness.answered(1n, 5)).toBe(5);
    expect(liveness.answered(1n, 6)).toBeUndefined();
  });

  it("knows the round trip soon after HELLO", async () => {
    const { clock, left, right } = await clockedPair();
    expect(right.rttMs).toBeUndefined();
    await clock.advance(1);
    expect(right.rttMs).toBeDefined();
    expect(left.rttMs).toBeDefined();
    left.destroy();
    await right.closed;
  });

  it("gives up on a peer that never says HELLO", async () => {
    const clock = new ManualClock();
    const { left, right, link } = tunnelPair({ both: { clock } });
    link.drop();
    const early = failure(right.request(get("/")));
    await clock.advance(9999);
    expect(right.draining).toBe(false);
    await clock.advance(1);
    expect(await failure(right.ready)).toMatchObject({ code: "HELLO_TIMEOUT" });
    expect(await early).toMatchObject({ code: "HELLO_TIMEOUT", sent: "not-sent" });
    expect((await failure(left.ready)).code).toBe("HELLO_TIMEOUT");
    // Nobody answers the close either: after its second the link is cut.
    await clock.advance(1000);
    expect((await right.closed).code).toBe("HELLO_TIMEOUT");
    expect(clock.pending).toBe(0);
  });

  it("resets a request exactly at its deadline, and not the one beside it", async () => {
    const { clock, left, right } = await clockedPair();
    const reason = signal<unknown>();
    left.serve((request) => {
      if (request.path === "/short")
        request.signal.addEventListener("abort", () => reason.give(request.signal.reason));
      return untilAborted(request.signal);
    });
    const short = failure(right.request({ ...get("/short"), deadlineMs: 1000 }));
    const long = failure(right.request({ ...get("/long"), deadlineMs: 2000 }));
    let over: string[] = [];
    void short.then(() => over.push("short"));
    void long.then(() => over.push("long"));
    await clock.advance(999);
    expect(over).toEqual([]);
    await clock.advance(1);
    expect(over).toEqual(["short"]);
    expect(await short).toMatchObject({ code: "DEADLINE", sent: "may-have-run" });
    expect(await reason.seen).toMatchObject({ code: "DEADLINE" });
    over = [];
    await clock.advance(1000);
    expect(over).toEqual(["long"]);
    left.destroy();
    await right.closed;
  });

  it("counts the deadline while the request waits for HELLO", async () => {
    const clock = new ManualClock();
    const { right, left, link } = tunnelPair({ both: { clock } });
    link.hold("right", true);
    const late = failure(right.request({ ...get("/"), deadlineMs: 100 }));
    await clock.advance(100);
    expect(await late).toMatchObject({ code: "DEADLINE", sent: "not-sent" });
    link.hold("right", false);
    await clock.advance(0);
    left.serve(() => ({ status: 204 }));
    expect((await right.request(get("/"))).status).toBe(204);
    left.destroy();
    await right.closed;
  });

  it("tells the handler what is left of a deadline when the request leaves", async () => {
    const clock = new ManualClock();
    const { right, left, link } = tunnelPair({ both: { clock } });
    link.hold("right", true);
    left.serve(({ deadlineMs = 0 }) => ({ status: 200, headers: [["x-left", String(deadlineMs)]] }));
    const waits = right.request({ ...get("/"), deadlineMs: 1000 });
    await clock.advance(900);
    link.hold("right", false);
    await clock.advance(0);
    expect((await waits).headers).toEqual([["x-left", "100"]]);
    const atOnce = right.request({ ...get("/"), deadlineMs: 1000 });
    await clock.advance(0);
    expect((await atOnce).headers).toEqual([["x-left", "1000"]]);
    left.destroy();
    await right.closed;
  });

  it("leaves no timer behind, however it ends", async () => {
    for (const how of ["close", "destroy", "cut"] as const) {
      const { clock, left, right, link } = await clockedPair();
      left.serve(() => ({ status: 200 }));
      await right.request({ ...get("/"), deadlineMs: 1000 });
      if (how === "cut") link.cut();
      else void right[how]();
      await clock.advance(0);
      await Promise.all([left.closed, right.closed]);
      expect(clock.pending).toBe(0);
    }
  });

  it("ends a drain at its time, even when the peer is gone", async () => {
    const { clock, left, right, link } = await clockedPair();
    left.serve((request) => untilAborted(request.signal));
    const inFlight = failure(right.request(get("/")));
    await clock.advance(0);
    link.drop();
    const closing = right.close({ drainMs: 2000 });
    await clock.advance(2000);
    expect(await inFlight).toMatchObject({ code: "DRAINING" });
    await clock.advance(1000);
    expect((await closing).code).toBe("CLOSED");
    left.destroy();
    await left.closed;
    expect(clock.pending).toBe(0);
  });

  it("ends one tunnel, not the process, when the library itself is wrong", async () => {
    const errors: unknown[] = [];
    let broken = false;
    const clock = new ManualClock();
    const breaking = {
      now: () => {
        if (broken) throw new Error("no time");
        return clock.now();
      },
      setTimer: clock.setTimer.bind(clock),
    };
    const { left, right, ready } = tunnelPair({
      both: { clock },
      right: { clock: breaking, onHandlerError: (error) => errors.push(error) },
    });
    await ready;
    broken = true;
    left.notify("anything", new Uint8Array());
    expect(await right.closed).toEqual({ code: "DESTROYED", reason: "an internal error" });
    expect(errors).toMatchObject([{ message: "no time" }]);
    expect((await left.closed).code).toBe("TRANSPORT_LOST");
  });
});
