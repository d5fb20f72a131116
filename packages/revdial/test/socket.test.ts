/** Byte streams whose peer, or whose own listener, does what it should not. */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { wireCodes } from "../src/errors.ts";
import { createTunnelSet, type Tunnel, type TunnelSet } from "../src/index.ts";
import { ManualClock, type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { write } from "./cores.ts";
import { failure, get, signal, text, until, untilAborted } from "./support.ts";

/** A peer's answer to the first request of the dialling side: 101 and the end of it, in one message. */
const acceptedAndReset = write(
  { type: "head", channel: 1, end: false, status: 101, headers: [] },
  { type: "reset", channel: 1, code: wireCodes.CANCELLED, reason: "bye" },
);

describe("a socket that is accepted and reset in one message", () => {
  async function asked<T>(ask: (tunnel: Tunnel & TunnelSet) => Promise<T>, overSet = false): Promise<T> {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    const set = createTunnelSet();
    set.add(left);
    await left.ready;
    const outcome = ask((overSet ? set : left) as Tunnel & TunnelSet);
    await Promise.resolve();
    link.inject("left", acceptedAndReset);
    return await outcome.finally(async () => {
      set.destroy();
      await right.closed;
    });
  }

  it.each([
    ["a tunnel", false],
    ["a set", true],
  ])("rejects connect of %s, though the head said 101", async (_of, overSet) => {
    const error = await failure(asked((tunnel) => tunnel.connect("screen"), overSet));
    expect(error).toMatchObject({ code: "CANCELLED", sent: "may-have-run", message: "CANCELLED: bye" });
  });

  it("is given to whoever asked for an upgrade, with its error, and costs nobody anything", async () => {
    const { socket } = await asked((tunnel) => tunnel.request({ ...get("/"), upgrade: "websocket" }));
    expect((socket as Duplex).errored).toMatchObject({ code: "CANCELLED" });
    expect((socket as Duplex).destroyed).toBe(true);
  });
});

describe("a socket whose error nobody listens to", () => {
  it.each(["left", "right"] as const)("costs the %s side nothing when its tunnel ends", async (side) => {
    const pair = tunnelPair();
    const accepted = new Promise<Duplex>((resolve) => {
      pair.right.serve(async (_request, reply) => {
        const socket = reply.accept();
        resolve(socket);
        await once(socket, "close");
      });
    });
    const sockets = { left: await pair.left.connect("screen"), right: await accepted };
    const closed = new Promise((resolve) => sockets[side].once("close", resolve));
    pair[side].destroy();
    await closed;
    expect(sockets[side].errored).toMatchObject({ code: "DESTROYED" });
    await Promise.all([pair.left.closed, pair.right.closed]);
  });
});

describe("connect that is answered with an ordinary response which does not end", () => {
  it.each([
    ["a tunnel", ({ right }: TunnelPair) => right],
    [
      "a set",
      ({ right }: TunnelPair, clock: ManualClock) => {
        const set = createTunnelSet({ clock });
        set.add(right);
        return set;
      },
    ],
  ])("waits a second for the rest, tells status and detail, and cancels it (%s)", async (_name, of) => {
    const clock = new ManualClock();
    const pair = tunnelPair({ both: { clock } });
    const cancelled = signal<unknown>();
    pair.left.serve((request) => {
      async function* body(): AsyncIterable<Uint8Array> {
        yield text.encode("no");
        await untilAborted(request.signal).catch(cancelled.give);
      }
      return { status: 403, body: body() };
    });
    await pair.ready;
    const caller = of(pair, clock);
    await clock.advance(0);
    const timers = clock.pending;
    let settled = false;
    const refused = failure(caller.connect("shell")).finally(() => {
      settled = true;
    });
    await until(() => clock.pending > timers);
    await clock.advance(999);
    expect(settled).toBe(false);
    await clock.advance(1);
    expect(await refused).toMatchObject({
      code: "SOCKET_REFUSED",
      status: 403,
      detail: "no",
      sent: "may-have-run",
    });
    expect(await cancelled.seen).toMatchObject({ code: "CANCELLED" });
    expect(clock.pending).toBe(timers);
    pair.left.destroy();
    await pair.right.closed;
  });
});

describe("the signal of a byte stream", () => {
  async function opened(
    of: "tunnel" | "set",
    signal: AbortSignal,
  ): Promise<{ pair: TunnelPair; socket: Duplex }> {
    const pair = tunnelPair();
    pair.right.serve(async (_request, reply) => {
      const socket = reply.accept();
      socket.pipe(socket);
      await once(socket, "close");
    });
    const set = createTunnelSet();
    set.add(pair.left);
    await set.ready;
    return { pair, socket: await (of === "set" ? set : pair.left).connect("screen", { signal }) };
  }

  it.each(["tunnel", "set"] as const)("does not end a stream that is open: connect of a %s", async (of) => {
    const abort = new AbortController();
    const { pair, socket } = await opened(of, abort.signal);
    abort.abort(new Error("five seconds are over"));
    socket.end("still here");
    expect(Buffer.concat(await socket.toArray()).toString()).toBe("still here");
    pair.left.destroy();
    await pair.right.closed;
  });

  it("gives up a connect that nobody has answered", async () => {
    const pair = tunnelPair();
    const [asked, given] = [signal(), new AbortController()];
    pair.right.serve(async (request) => {
      asked.give();
      return await untilAborted(request.signal);
    });
    const refused = failure(pair.left.connect("screen", { signal: given.signal }));
    await asked.seen;
    given.abort(new Error("five seconds are over"));
    expect(await refused).toMatchObject({ code: "CANCELLED", sent: "may-have-run" });
    pair.left.destroy();
    await pair.right.closed;
  });
});
