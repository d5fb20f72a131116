import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, it } from "@jest/globals";
import {
  type ChannelDiagnostic,
  createTunnelSet,
  RevdialError,
  type TunnelDiagnostic,
} from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { collect, endless, signal, text, until, untilAborted } from "./support.ts";

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

function heard<Told>(name: string): Told[] {
  const told: Told[] = [];
  const listener = (message: unknown) => void told.push(message as Told);
  subscribe(name, listener);
  stops.push(() => void unsubscribe(name, listener));
  return told;
}

describe("the numbers of a tunnel", () => {
  it("count what was opened on both sides, bytes both ways, and resets by code", async () => {
    const { left: dialler, right: acceptor } = tunnelPair();
    acceptor.serve(({ path }) => {
      if (path === "/broken") throw new Error("broken");
      return { status: 200, body: new Uint8Array(1000) };
    });
    await collect((await dialler.request({ service: "a", method: "GET", path: "/" })).body);
    await expect(dialler.request({ service: "a", method: "GET", path: "/broken" })).rejects.toThrow(
      "HANDLER_FAILED",
    );
    expect(dialler.metrics).toMatchObject({ openedOutbound: 2, openedInbound: 0, active: 0, queuedBytes: 0 });
    expect(acceptor.metrics).toMatchObject({ openedOutbound: 0, openedInbound: 2, active: 0 });
    expect(dialler.metrics.resets).toEqual({ HANDLER_FAILED: 1 });
    expect(acceptor.metrics.resets).toEqual({ HANDLER_FAILED: 1 });
    expect(dialler.metrics.bytesReceived).toBeGreaterThan(1000);
    expect(dialler.metrics.bytesReceived).toBe(acceptor.metrics.bytesSent);
    expect(dialler.metrics.bytesSent).toBe(acceptor.metrics.bytesReceived);
    await dialler.reached;
    expect(dialler.metrics.pingsAnswered).toBe(1);
    dialler.destroy();
    await acceptor.closed;
  });

  it("count the times a channel had more to send than was granted", async () => {
    const { left: dialler, right: acceptor } = tunnelPair();
    acceptor.serve(() => ({ status: 200, body: new Uint8Array(1_000_000) }));
    const { body } = await dialler.request({ service: "a", method: "GET", path: "/" });
    expect(acceptor.metrics.active).toBe(1);
    expect(acceptor.metrics.creditStalls).toBeGreaterThan(0);
    expect((await collect(body)).byteLength).toBe(1_000_000);
    expect(dialler.metrics.creditStalls).toBe(0);
    dialler.destroy();
    await acceptor.closed;
  });

  it("say how many bytes of bodies wait for their readers, which the transport has not got", async () => {
    const { left: dialler, right: acceptor } = tunnelPair();
    acceptor.serve(() => ({ status: 200, body: new Uint8Array(1_000_000) }));
    const bodies: AsyncIterable<Uint8Array>[] = [];
    for (let i = 0; i < 3; i += 1)
      bodies.push((await dialler.request({ service: "a", method: "GET", path: "/" })).body);
    await until(() => acceptor.metrics.queuedBytes === 0);
    const { waitingBytes, bytesSent } = acceptor.metrics;
    expect(waitingBytes).toBeGreaterThan(1_000_000);
    expect(waitingBytes + bytesSent).toBeGreaterThanOrEqual(3_000_000);
    expect(dialler.metrics.waitingBytes).toBe(0);
    for (const body of bodies) expect((await collect(body)).byteLength).toBe(1_000_000);
    expect(acceptor.metrics.waitingBytes).toBe(0);
    dialler.destroy();
    await acceptor.closed;
  });

  it("count what was refused before it was a channel, for want of memory", async () => {
    const limits = { windowInitialBytes: 65_536, receiveBudgetBytes: 65_536 };
    const { left: dialler, right: acceptor, ready } = tunnelPair({ right: { limits } });
    await ready;
    const over = signal();
    acceptor.serve(async () => {
      await over.seen;
      return { status: 204 };
    });
    const upload = () =>
      dialler
        .request({ service: "a", method: "POST", path: "/", body: endless("x") })
        .catch(({ code }) => code);
    const first = upload();
    await until(() => acceptor.metrics.openedInbound === 1);
    expect([await upload(), await upload()]).toEqual(["REFUSED", "REFUSED"]);
    expect(acceptor.metrics).toMatchObject({ openedInbound: 1, refusedInbound: 2, resets: {} });
    expect(dialler.metrics).toMatchObject({ openedOutbound: 3, refusedInbound: 0, resets: { REFUSED: 2 } });
    over.give();
    expect((await first).status).toBe(204);
    dialler.destroy();
    await acceptor.closed;
  });

  it("are a copy: nobody can write into the tunnel's", () => {
    const { left: dialler } = tunnelPair();
    (dialler.metrics.resets as Record<string, number>).CANCELLED = 7;
    expect(dialler.metrics.resets).toEqual({});
    dialler.destroy();
  });
});

describe("the numbers of a set", () => {
  const ask = { service: "a", method: "GET", path: "/" };

  it("are those of its members together, and its counters do not fall when one leaves", async () => {
    const set = createTunnelSet();
    expect(set.metrics).toEqual({
      ...{ openedOutbound: 0, openedInbound: 0, refusedInbound: 0, active: 0, resets: {}, bytesSent: 0 },
      ...{ bytesReceived: 0, waitingBytes: 0, queuedBytes: 0, creditStalls: 0, pingsAnswered: 0 },
      rttMs: undefined,
    });
    const waiting = signal();
    const pairs = [0, 1].map(() => {
      const pair = tunnelPair();
      pair.right.serve(async ({ path, signal: abort }) => {
        if (path === "/broken") throw new RevdialError("REFUSED", "broken");
        if (path === "/wait") {
          waiting.give();
          await untilAborted(abort);
        }
        return { status: 200, body: new Uint8Array(100_000) };
      });
      set.add(pair.left);
      return pair;
    });
    await Promise.all(pairs.map(({ left }) => left.reached));
    for (let n = 0; n < 4; n += 1) await collect((await set.request(ask)).body);
    await expect(set.request({ ...ask, path: "/broken" })).rejects.toThrow("REFUSED");
    const [first, second] = pairs.map(({ left }) => left.metrics);
    if (first === undefined || second === undefined) throw new Error("no members");
    expect([first.openedOutbound, second.openedOutbound]).toEqual([3, 3]); // Both were asked for what is broken.
    const { bytesReceived, bytesSent, creditStalls, ...numbers } = set.metrics;
    expect(numbers).toMatchObject({ openedOutbound: 6, active: 0, resets: { REFUSED: 2 }, pingsAnswered: 2 });
    expect(bytesReceived).toBe(first.bytesReceived + second.bytesReceived);
    expect(numbers.rttMs).toBe(Math.min(first.rttMs as number, second.rttMs as number));

    const cut = pairs.find(({ left }) => left === set.members[0]) as (typeof pairs)[0];
    const lost = Promise.all(
      [1, 2].map(() => set.request({ ...ask, path: "/wait" }).catch(({ code }) => code)),
    );
    await waiting.seen;
    expect(set.metrics.active).toBe(2);
    cut.left.destroy();
    await cut.left.closed;
    await until(() => set.members.length === 1);
    const left = set.metrics;
    expect(left).toMatchObject({ openedOutbound: 8, active: 1, resets: { REFUSED: 2, DESTROYED: 1 } });
    expect(left.bytesReceived).toBeGreaterThanOrEqual(bytesReceived);
    expect(left.bytesSent).toBeGreaterThan(bytesSent);
    expect(left.creditStalls).toBeGreaterThanOrEqual(creditStalls);
    set.destroy();
    await set.closed;
    expect(await lost).toEqual(["DESTROYED", "DESTROYED"]);
    expect(set.metrics).toMatchObject({ openedOutbound: 8, active: 0, resets: { REFUSED: 2, DESTROYED: 2 } });
    expect(set.metrics.rttMs).toBeUndefined();
  });
});

describe("the diagnostics channels", () => {
  it("tell the accepting side of what the peer has opened, and how each ended there", async () => {
    const tunnels = heard<TunnelDiagnostic>("revdial:tunnel");
    const channels = heard<ChannelDiagnostic>("revdial:channel");
    const { left: dialler, right: acceptor } = tunnelPair({ both: { onHandlerError: () => undefined } });
    const arrived = signal();
    acceptor.serve(async ({ path, signal: abort }) => {
      if (path === "/broken") throw new Error("broken");
      if (path === "/wait") {
        arrived.give();
        await untilAborted(abort);
      }
      return { status: 204 };
    });
    const ask = { service: "a", method: "GET", path: "/", traceparent: trace };
    await collect((await dialler.request(ask)).body);
    await expect(dialler.request({ ...ask, path: "/broken" })).rejects.toThrow("HANDLER_FAILED");
    const abort = new AbortController();
    const cut = dialler.request({ ...ask, path: "/wait", signal: abort.signal }).catch(({ code }) => code);
    await arrived.seen;
    abort.abort();
    expect(await cut).toBe("CANCELLED");
    await until(() => acceptor.load === 0);
    dialler.destroy();
    await acceptor.closed;
    const told = channels.filter(({ tunnel }) => tunnel === acceptor).map(({ tunnel: _, ...rest }) => rest);
    const opened = { event: "opened", inbound: true, service: "a", traceparent: trace };
    expect(told).toEqual([
      { ...opened, channel: 1 },
      { event: "finished", channel: 1 },
      { ...opened, channel: 3 },
      { event: "reset", channel: 3, code: "HANDLER_FAILED" },
      { ...opened, channel: 5 },
      { event: "reset", channel: 5, code: "CANCELLED" },
    ]);
    expect(tunnels.filter(({ tunnel }) => tunnel === acceptor)).toEqual([
      { event: "ready", tunnel: acceptor },
      { event: "closed", tunnel: acceptor, end: expect.objectContaining({ code: "TRANSPORT_LOST" }) },
    ]);
  });

  it("tell of tunnels and channels, with service, trace and code", async () => {
    const tunnels = heard<TunnelDiagnostic>("revdial:tunnel");
    const channels = heard<ChannelDiagnostic>("revdial:channel");
    const { left: dialler, right: acceptor } = tunnelPair();
    acceptor.serve(({ body }) => ({ status: 200, body }));
    const request = { service: "a", method: "POST", path: "/", body: text.encode("hi"), traceparent: trace };
    await collect((await dialler.request(request)).body);
    const abort = new AbortController();
    const cut = dialler.request({ ...request, body: undefined, signal: abort.signal });
    abort.abort();
    await cut.catch(() => undefined);
    dialler.destroy();
    await acceptor.closed;
    const own = channels.filter(({ tunnel }) => tunnel === dialler).map(({ tunnel: _, ...told }) => told);
    expect(own.slice(0, 2)).toEqual([
      { event: "opened", channel: 1, inbound: false, service: "a", traceparent: trace },
      { event: "finished", channel: 1 },
    ]);
    expect(own.at(-1)).toEqual({ event: "reset", channel: 3, code: "CANCELLED" });
    expect(tunnels.filter(({ tunnel }) => tunnel === acceptor).map(({ event }) => event)).toEqual([
      "ready",
      "closed",
    ]);
    expect(tunnels.find(({ tunnel, event }) => tunnel === dialler && event === "closed")?.end?.code).toBe(
      "DESTROYED",
    );
  });
});
