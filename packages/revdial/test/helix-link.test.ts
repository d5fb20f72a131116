/** Two tunnels in one process over a link, which is to be no different from a wire but for how it ends. */
import { describe, expect, it } from "@jest/globals";
import { createTunnel } from "../src/core-tunnel.ts";
import { Link, type LinkOwner } from "../src/helix/link.ts";
import type { Tunnel, TunnelOptions } from "../src/index.ts";
import { ManualClock, type TunnelPairOptions } from "../src/testing/index.ts";
import { behavesLikeATunnel } from "./behaviour.ts";
import { collect, failure, get, signal, text, until } from "./support.ts";

interface Linked {
  link: Link;
  near: Tunnel;
  far: Tunnel;
  /** What the owner was asked. */
  told: string[];
}

/** An owner whose connection ends as soon as it is told to. */
function linked({ both, left, right }: TunnelPairOptions = {}, owner: Partial<LinkOwner> = {}): Linked {
  const told: string[] = [];
  const link: Link = new Link({
    transport: "helix",
    rttMs: 42,
    close() {
      told.push("close");
      setImmediate(() => link.cut("the connection was closed"));
    },
    terminate() {
      told.push("terminate");
      setImmediate(() => link.cut("the connection was cut"));
    },
    ...owner,
  });
  const near = createTunnel(link.near, false, { ...both, ...right });
  const far = createTunnel(link.far, true, { ...both, ...left });
  return { link, near, far, told };
}

behavesLikeATunnel("a link", async (options = {}) => {
  const handlerErrors: unknown[] = [];
  const report: TunnelOptions = { onHandlerError: (error) => void handlerErrors.push(error) };
  const { link, near, far } = linked({ ...options, both: { ...report, ...options.both } });
  link.open();
  await Promise.all([near.ready, far.ready]);
  return {
    left: far,
    right: near,
    handlerErrors,
    async stop() {
      near.destroy();
      far.destroy();
      await Promise.all([near.closed, far.closed]);
    },
  };
});

describe("a link", () => {
  it("carries nothing before it is open, and everything from then on, in order", async () => {
    const clock = new ManualClock();
    const { link, near, far } = linked({ both: { clock } });
    const heard: string[] = [];
    far.serve((request) => {
      heard.push(request.path);
      return { status: 204 };
    });
    const asked = [near.request(get("/1")), near.request(get("/2"))];
    await clock.advance(1000);
    expect(near.peer).toBeUndefined();
    link.open();
    await Promise.all(asked);
    expect(heard).toEqual(["/1", "/2"]);
    near.destroy();
    await Promise.all([near.closed, far.closed]);
    expect(clock.pending).toBe(0);
  });

  it("says what the owner says carries it, and how long its way is", async () => {
    const { link, near, far } = linked();
    link.open();
    await near.reached;
    expect(near).toMatchObject({ transport: "helix", rttMs: 42 });
    expect(near.metrics.rttMs).toBe(42);
    expect(far.transport).toBe("memory");
    near.destroy();
    await far.closed;
  });

  it("tells its owner of the end once, after the far end has heard all, and is over when the owner says so", async () => {
    const { link, near, far, told } = linked();
    link.open();
    await near.reached;
    const closed = near.close({ code: "REPLACED" });
    expect(await far.goingAway).toMatchObject({ code: "REPLACED" });
    expect(await closed).toMatchObject({ code: "CLOSED" });
    await far.closed;
    expect(told).toEqual(["close"]);
  });

  it("opens for a goodbye", async () => {
    const { near, far, told } = linked();
    const closed = near.close({ code: "REVOKED", drainMs: 0 });
    expect(await far.goingAway).toMatchObject({ code: "REVOKED" });
    await closed;
    expect(told[0]).toBe("close");
  });

  it("asks its owner to cut when a close takes too long, and does not believe it before", async () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    const slow = { close: () => void asked.push("close"), terminate: () => void asked.push("terminate") };
    const { link, near } = linked({ both: { clock } }, slow);
    link.open();
    await near.ready;
    let over = false;
    void near.close().then(() => {
      over = true;
    });
    await clock.advance(1000);
    expect(asked).toEqual(["close", "terminate"]);
    expect(over).toBe(false);
    link.cut("at last");
    await near.closed;
  });

  it.each(["near", "far"] as const)(
    "that is cut ends both ends with TRANSPORT_LOST, the %s one too",
    async (end) => {
      const made = linked();
      made.link.open();
      await made.near.ready;
      const asked = failure(made[end].request(get("/")));
      made.link.cut("cut here");
      made.link.cut("cut again");
      expect(await made.near.closed).toEqual({ code: "TRANSPORT_LOST", reason: "cut here" });
      expect(await made.far.closed).toEqual({ code: "TRANSPORT_LOST", reason: "cut here" });
      expect(await asked).toMatchObject({ code: "TRANSPORT_LOST" });
      expect(made.told).toEqual([]);
    },
  );

  it("that is cut before it was open ends both", async () => {
    const { link, near, far } = linked();
    link.cut("nobody came");
    expect(await near.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(await far.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    link.open();
  });

  it("that is deaf takes no more requests, and still brings answers", async () => {
    const { link, near, far } = linked();
    link.open();
    const go = signal();
    far.serve(async () => {
      await go.seen;
      return { status: 200, body: text.encode("late") };
    });
    const answer = near.request(get("/"));
    await until(() => far.load === 1);
    link.deafen("the connection is gone");
    expect(await near.goingAway).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(await failure(near.request(get("/")))).toMatchObject({ code: "DRAINING", sent: "not-sent" });
    go.give();
    expect((await collect((await answer).body)).toString()).toBe("late");
    link.cut("over");
    expect(await near.closed).toMatchObject({ code: "TRANSPORT_LOST" });
  });

  it("holds as much as a socket: what is sent and not yet delivered is queued", async () => {
    const { link } = linked();
    const { near } = link;
    near.send([new Uint8Array(100), new Uint8Array(20_000)]);
    expect(near.queuedBytes).toBeGreaterThanOrEqual(20_100);
    link.open();
    await until(() => near.queuedBytes === 0);
    link.cut("over");
  });
});
