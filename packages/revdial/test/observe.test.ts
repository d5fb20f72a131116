import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { ChannelDiagnostic, TunnelDiagnostic } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { collect, endless, signal, text, until } from "./support.ts";

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

describe("the diagnostics channels", () => {
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
