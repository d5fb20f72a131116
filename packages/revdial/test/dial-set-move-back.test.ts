/** A set whose members had to fall back to HTTP: they go on over WebSockets as soon as those get through. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { type DialSetOptions, dialTunnel, dialTunnelSet, type Tunnel, type TunnelSet } from "../src/index.ts";
import { type BadProxy, badProxy, ManualClock } from "../src/testing/index.ts";
import { type HttpGateway, httpGateway } from "./http-gateway.ts";
import { failure, get, signal, until, untilAborted } from "./support.ts";

let server: HttpGateway;
let proxy: BadProxy;
let set: TunnelSet;
let ups: { transport: string; slot: number }[];
let downs: string[];

/** Its members are up, over HTTP. */
async function fallenBack(options: Partial<DialSetOptions> = {}): Promise<void> {
  server = await httpGateway({}, {}, (tunnel) =>
    tunnel.serve(({ path, signal: abort }) => (path === "/hold" ? untilAborted(abort) : { status: 204 })),
  );
  proxy = await badProxy(server.url, { upgrade: { status: 502 } });
  ups = [];
  downs = [];
  set = dialTunnelSet(proxy.url, {
    connections: 2,
    transport: "auto",
    moveBackEveryMs: 1,
    backoffMinMs: 1,
    backoffMaxMs: 2,
    onMember: ({ transport }, slot) => void ups.push({ transport, slot }),
    onDown: ({ code }, slot) => void downs.push(`${code} ${slot}`),
    ...options,
  });
  await until(() => ups.length === set.members.length && ups.length === (options.connections ?? 2));
}

const transports = () => set.members.map(({ transport }) => transport).toSorted();

afterEach(async () => {
  set.destroy();
  await set.closed;
  await proxy.stop();
  await server.stop();
});

describe("a set over HTTP", () => {
  it("moves every member to a WebSocket once those get through, and no request fails", async () => {
    await fallenBack();
    expect(transports()).toEqual(["http", "http"]);
    const old = [...server.tunnels];
    proxy.modes.upgrade = "pass";
    while (ups.length < 4) expect((await set.request(get("/"))).status).toBe(204);
    // As an acceptor does that has taken the new ones over.
    for (const tunnel of old) void tunnel.close({ code: "REPLACED" });
    await until(() => set.members.length === 2);
    expect(transports()).toEqual(["websocket", "websocket"]);
    expect(
      ups
        .slice(2)
        .map(({ slot }) => slot)
        .toSorted(),
    ).toEqual([0, 1]);
    expect(downs).toEqual([]);
    expect((await set.request(get("/"))).status).toBe(204);
  });

  it("finishes what is in flight over HTTP", async () => {
    await fallenBack({ connections: 1 });
    const [old] = server.tunnels as [Tunnel];
    const inFlight = failure(set.request(get("/hold")));
    proxy.modes.upgrade = "pass";
    await until(() => ups.length === 2);
    const closed = old.close({ code: "REPLACED", drainMs: 60_000 });
    await until(() => set.members.some(({ draining }) => draining));
    expect((await set.request(get("/"))).status).toBe(204);
    expect(transports()).toEqual(["http", "websocket"]);
    old.destroy();
    await closed;
    expect(await inFlight).toMatchObject({ sent: "may-have-run" });
    expect(downs).toEqual([]);
  });

  it("stays there with the transport http, and tries no upgrade", async () => {
    await fallenBack({ transport: "http" });
    proxy.modes.upgrade = "pass";
    for (let n = 0; n < 20; n += 1) expect((await set.request(get("/"))).status).toBe(204);
    expect({ upgrades: proxy.upgrades, transports: transports() }).toEqual({
      upgrades: 0,
      transports: ["http", "http"],
    });
  });

  it("goes on over HTTP where the server ends the WebSocket instead of taking it over, and tries again", async () => {
    await fallenBack({ connections: 1 });
    proxy.modes.upgrade = "pass";
    await until(() => ups.length === 2);
    proxy.modes.upgrade = { status: 502 };
    server.tunnels.at(-1)?.destroy();
    await until(() => downs.length === 1);
    expect(transports()).toEqual(["http"]);
    expect((await set.request(get("/"))).status).toBe(204);
    proxy.modes.upgrade = "pass";
    await until(() => ups.length === 3);
    expect(ups.at(-1)).toEqual({ transport: "websocket", slot: 0 });
  });

  it("stays on HTTP where the server ends the WebSocket with a stream in flight, and holds no third tunnel", async () => {
    const clock = new ManualClock();
    await fallenBack({
      connections: 1,
      clock,
      // The tunnels live by real time.
      dial: (url, { clock: _clock, ...options }) => dialTunnel(url, options),
    });
    proxy.modes.upgrade = "pass";
    await clock.advance(1);
    await until(() => ups.length === 2);
    const [old, young] = set.members as [Tunnel, Tunnel];
    const inFlight = failure(young.request(get("/hold")));
    await until(() => server.tunnels[1]?.load === 1);
    void server.tunnels[1]?.close({ drainMs: 60_000 });
    await until(() => downs.length === 1);
    await clock.advance(600_000);
    expect([old.draining, young.draining]).toEqual([false, true]);
    expect((await set.request(get("/"))).status).toBe(204);
    expect({ downs, upgrades: proxy.upgrades }).toEqual({ downs: ["DRAINING 0"], upgrades: 2 });
    server.tunnels[1]?.destroy();
    await inFlight;
    await until(() => clock.pending === 1);
    await clock.advance(1);
    await until(() => ups.length === 3);
    expect(ups.at(-1)).toEqual({ transport: "websocket", slot: 0 });
    await until(() => clock.pending === 1);
    await clock.advance(10_000);
    expect(old.draining).toBe(true);
  });

  it("dials anew when the WebSocket is lost while the tunnel over HTTP still drains", async () => {
    await fallenBack({ connections: 1 });
    const [old] = server.tunnels as [Tunnel];
    const inFlight = failure(set.request(get("/hold")));
    proxy.modes.upgrade = "pass";
    await until(() => ups.length === 2);
    void old.close({ code: "REPLACED", drainMs: 60_000 });
    await until(() => set.members.some(({ draining }) => draining));
    server.tunnels[1]?.destroy();
    await until(() => ups.length === 3);
    expect(transports()).toEqual(["http", "websocket"]);
    expect((await set.request(get("/"))).status).toBe(204);
    old.destroy();
    await inFlight;
  });

  it("dials anew at once when its server drains, however long the next try of a WebSocket is away", async () => {
    await fallenBack({ connections: 1, moveBackEveryMs: 2_147_483_647 });
    const [old] = server.tunnels as [Tunnel];
    const inFlight = failure(set.request(get("/hold")));
    await until(() => old.load > 0);
    void old.close({ drainMs: 60_000 });
    await until(() => ups.length === 2);
    expect(downs).toEqual(["DRAINING 0"]);
    set.destroy();
    await inFlight;
  });

  it("tries no more when it is closed", async () => {
    await fallenBack();
    const ended = signal();
    void set.closed.then(() => ended.give());
    await set.close();
    await ended.seen;
    const { upgrades } = proxy;
    proxy.modes.upgrade = "pass";
    expect(await failure(set.request(get("/")))).toMatchObject({ code: "CLOSED" });
    expect({ upgrades: proxy.upgrades, ups: ups.length }).toEqual({ upgrades, ups: 2 });
  });
});
