/** Networks that cut idle connections, fall silent one way, or cut bytes anywhere, over both transports. */
import { once } from "node:events";
import { afterEach, describe, expect, it } from "@jest/globals";
import { dialTunnel, dialTunnelSet, type Tunnel, type TunnelOptions } from "../src/index.ts";
import { type BadProxy, type BadProxyModes, badProxy, ManualClock } from "../src/testing/index.ts";
import { type Carrier, type HttpGateway, httpGateway } from "./http-gateway.ts";
import { type Direction, relay } from "./relay.ts";
import { collect, failure, get, signal, until, untilAborted } from "./support.ts";

const carriers: Carrier[] = ["websocket", "http"];
let gateway: HttpGateway;
let proxy: BadProxy | undefined;
const stops: (() => Promise<unknown>)[] = [];

async function behind(modes: BadProxyModes, options: TunnelOptions = {}): Promise<BadProxy> {
  gateway = await httpGateway(options);
  proxy = await badProxy(gateway.url, modes, options.clock);
  return proxy;
}

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  await proxy?.stop();
  await gateway.stop();
  proxy = undefined;
});

async function dial(url: string, transport: Carrier, options: TunnelOptions = {}): Promise<[Tunnel, Tunnel]> {
  const dialler = await dialTunnel(url, { transport, ...options });
  stops.push(() => {
    dialler.destroy();
    return dialler.closed;
  });
  return [dialler, gateway.tunnels.at(-1) as Tunnel];
}

/** The first pings are due at once, and have been answered when this resolves. */
async function greeted(clock: ManualClock, ...sides: Tunnel[]): Promise<void> {
  while (sides.some(({ rttMs }) => rttMs === undefined)) await clock.advance(0);
}

describe.each(carriers)("a tunnel by %s through a proxy that cuts what is idle for 30 s", (carrier) => {
  const IDLE_CUT_MS = 30_000;
  /** PING and PONG. */
  const BEAT_BYTES = 2 * 17;

  it("lives on by its pings", async () => {
    const clock = new ManualClock();
    const { url } = await behind({ idleCutMs: IDLE_CUT_MS }, { clock });
    const sides = await dial(url, carrier, { clock });
    const heard = () => sides.map(({ metrics }) => metrics.bytesReceived);
    await greeted(clock, ...sides);
    for (let ms = 0; ms < 4 * IDLE_CUT_MS; ms += 5000) {
      const before = heard();
      await clock.advance(5000);
      await until(() => heard().every((bytes, side) => bytes >= (before[side] ?? 0) + BEAT_BYTES));
    }
    const [dialler, acceptor] = sides;
    dialler.serve(() => ({ status: 204 }));
    expect((await acceptor.request(get("/"))).status).toBe(204);
    expect(gateway.tunnels).toHaveLength(1);
  });

  it("ends on both sides when its pings are slower, and its set dials again", async () => {
    const clock = new ManualClock();
    const slow = { clock, pingIntervalMs: 60_000, deadAfterMs: 240_000 };
    const { url } = await behind({ idleCutMs: IDLE_CUT_MS }, slow);
    const told: string[] = [];
    const again = signal();
    const set = dialTunnelSet(url, {
      ...slow,
      connections: 1,
      transport: carrier,
      random: () => 0,
      onMember: () => told.push("up") === 3 && again.give(),
      onDown: ({ code }) => void told.push(code),
    });
    stops.push(() => {
      set.destroy();
      return set.closed;
    });
    set.serve(() => ({ status: 204 }));
    await set.ready;
    const [dialler, acceptor] = [set.members[0] as Tunnel, gateway.tunnels[0] as Tunnel];
    await greeted(clock, dialler, acceptor);
    await clock.advance(IDLE_CUT_MS - 1);
    expect([dialler.draining, acceptor.draining]).toEqual([false, false]);
    await clock.advance(1);
    expect(await dialler.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(await acceptor.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    await until(() => told.length === 2);
    await clock.advance(500);
    await again.seen;
    expect(told).toEqual(["up", "TRANSPORT_LOST", "up"]);
    expect((await (gateway.tunnels[1] as Tunnel).request(get("/"))).status).toBe(204);
  });
});

describe.each(carriers)("a tunnel by %s over a path that is dead one way", (carrier) => {
  const STEP_MS = 500;

  it.each<[Direction, string, string]>([
    ["up", "TRANSPORT_LOST", "DEAD_PEER"],
    ["down", "DEAD_PEER", "TRANSPORT_LOST"],
  ])(
    "(%s) is given up by the side that hears nothing, and the other side learns of it",
    async (way, ...codes) => {
      const clock = new ManualClock();
      gateway = await httpGateway({ clock });
      const path = await relay(gateway.url);
      stops.push(path.stop);
      const sides = await dial(path.url, carrier, { clock });
      for (const side of sides) side.serve(({ signal: abort }) => untilAborted(abort));
      await greeted(clock, ...sides);
      const held = sides.map((side) => failure(side.request(get("/"))));
      await until(() => sides.every(({ load }) => load === 2));
      path.swallow(way);
      const ends = sides.map(() => Number.POSITIVE_INFINITY);
      for (const [index, side] of sides.entries())
        void side.closed.then(() => {
          ends[index] = clock.now();
        });
      while (ends.some((at) => at > 60_000) && clock.now() < 60_000) await clock.advance(STEP_MS);
      expect(await Promise.all(sides.map(async ({ closed }) => (await closed).code))).toEqual(codes);
      expect(Math.min(...ends)).toBeGreaterThanOrEqual(14_500);
      expect(Math.min(...ends)).toBeLessThanOrEqual(15_000);
      expect((await Promise.all(held)).map(({ code, sent }) => [code, sent])).toEqual(
        codes.map((code) => [code, "may-have-run"]),
      );
    },
  );
});

/** Every size up to 300, then larger ones. */
const SIZES = Array.from({ length: 300 }, (_, index) => index + 1);
for (let bytes = 301; bytes < 100_000; bytes = Math.ceil(bytes * 1.3)) SIZES.push(bytes);

describe.each(carriers)("a tunnel by %s whose bytes arrive in pieces", (carrier) => {
  const pattern = (bytes: number, seed: number) =>
    Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 31 + seed * 7 + (at >> 8)) & 0xff));

  async function exchange(asker: Tunnel, content: Buffer, sum: string): Promise<void> {
    const { body, headers, trailers } = await asker.request({
      ...get(`/${sum}`),
      method: "POST",
      body: (async function* () {
        for (let at = 0; at < content.length; at += 50_000) yield content.subarray(at, at + 50_000);
      })(),
      trailers: () => [["x-sum", sum]],
    });
    expect(Buffer.compare(await collect(body), content)).toBe(0);
    expect([headers, await trailers]).toEqual([[["x-path", `/${sum}`]], [["x-sum", `${sum} back`]]]);
    const socket = await asker.connect("echo");
    socket.end(content);
    expect(Buffer.compare(await collect(socket), content)).toBe(0);
  }

  it("carries bodies, trailers and byte streams intact, whatever the size of the pieces", async () => {
    const { url, modes } = await behind({});
    const sides = await dial(url, carrier);
    for (const side of sides) {
      side.serve(async (request, reply) => {
        if (request.upgrade !== undefined) {
          const socket = reply.accept();
          socket.pipe(socket);
          return void (await once(socket, "close"));
        }
        reply.head(200, [["x-path", request.path]]);
        for await (const chunk of request.body) reply.write(chunk);
        const [[, sum] = []] = await request.trailers;
        reply.end(undefined, [["x-sum", `${sum} back`]]);
      });
    }
    for (const [index, pieceBytes] of SIZES.entries()) {
      modes.pieceBytes = pieceBytes;
      const content = pattern(pieceBytes <= 300 ? 400 : 3 * pieceBytes, pieceBytes);
      await exchange(sides[index % 2] as Tunnel, content, `${pieceBytes}`);
    }
    expect(sides.map(({ draining }) => draining)).toEqual([false, false]);
  });
});
