import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { ChannelDiagnostic, TunnelDiagnostic } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { collect, text } from "./support.ts";

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
