/** Keeping tunnels up: redialling by hand-moved time, and over real WebSockets. */
import { describe, expect, it } from "@jest/globals";
import { backoffMs } from "../src/backoff.ts";
import { type DialSetOptions, dialTunnelSet } from "../src/dial-set.ts";
import { RevdialError, type Tunnel } from "../src/index.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { gateway, stopServer } from "./gateway.ts";
import { failure, get, signal, until, untilAborted } from "./support.ts";

const limits = { backoffMinMs: 250, backoffMaxMs: 30_000 };
const refused = (status: number, retryAfterMs = 0) =>
  new RevdialError("DIAL_REFUSED", "no", { status, retryAfterMs });

describe("backoffMs", () => {
  it("grows to the longest delay and keeps within its range", () => {
    expect(backoffMs(1, 0, limits)).toBe(250);
    expect(backoffMs(1, 1, limits)).toBe(500);
    expect(backoffMs(2000, 1, limits)).toBe(30_000);
  });

  it("goes to the slow end for a wrong credential, and obeys the peer's wish", () => {
    expect(backoffMs(1, 0, limits, refused(401))).toBe(30_000);
    expect(backoffMs(1, 0, limits, refused(403))).toBe(30_000);
    expect(backoffMs(1, 0, limits, refused(503, 60_000))).toBe(60_000);
  });
});

describe("dialTunnelSet", () => {
  it.each<Partial<DialSetOptions>>([
    { connections: 0 },
    { connections: 17 },
    { connections: 1.5 },
    { connections: Number.NaN },
    { backoffMinMs: -1 },
    { backoffMaxMs: -1 },
    { attemptsMax: 0 },
    { waitersMax: -1 },
    { moveBackEveryMs: -1 },
  ])("refuses %j", (options) => {
    expect(() => dialTunnelSet("ws://x", { connections: 1, ...options })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });

  it.each<[string, string, object]>([
    ["a URL that is none", "nonsense", {}],
    ["a URL of another kind", "http://127.0.0.1/", {}],
    ["a URL with a fragment", "ws://127.0.0.1:9/#a", {}],
    ["a transport that does not exist", "ws://127.0.0.1:9/", { transport: "tcp" }],
    ["a header that cannot be sent", "ws://127.0.0.1:9/", { headers: { authorization: "a\r\nx: y" } }],
    ["a header whose name is none", "ws://127.0.0.1:9/", { headers: { "a b": "c" } }],
    ["headers that are a list", "ws://127.0.0.1:9/", { headers: [["a", "b"]] }],
    ["Headers, which would not be sent", "ws://127.0.0.1:9/", { headers: new Headers({ a: "b" }) }],
  ])("refuses %s at once, instead of dialling for ever", (_what, url, options) => {
    expect(() => dialTunnelSet(url, { connections: 1, ...options })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });

  it.each([undefined, null, 3])("refuses to work without options (%s)", (options) => {
    expect(() => dialTunnelSet("ws://127.0.0.1:9/", options as never)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });

  it.each(["websocket", "http"] as const)(
    "dials no more over %s, and says so once, when its options have become impossible",
    async (transport) => {
      const clock = new ManualClock();
      const headers: Record<string, string> = {};
      const told: string[] = [];
      const set = dialTunnelSet("ws://127.0.0.1:9/", {
        connections: 1,
        clock,
        transport,
        headers,
        onDown: ({ code }) => {
          told.push(code);
          headers.authorization = "a\r\nx: y";
        },
      });
      await until(() => told.length === 1);
      await clock.advance(3_600_000);
      expect({ told, pending: clock.pending }).toEqual({ told: ["DIAL_FAILED", "ARGUMENT"], pending: 0 });
      set.destroy();
      await set.closed;
    },
  );

  it("dials again after an ARGUMENT of a dial of the caller's own: what that means is its business", async () => {
    const clock = new ManualClock();
    const told: string[] = [];
    const set = dialTunnelSet("x", {
      connections: 1,
      clock,
      dial: () => Promise.reject(new RevdialError("ARGUMENT", "not yet")),
      random: () => 0,
      onDown: ({ code }) => void told.push(code),
    });
    await clock.advance(0);
    await clock.advance(250);
    expect(told).toEqual(["ARGUMENT", "ARGUMENT"]);
    set.destroy();
    await set.closed;
  });

  it("dials a server that accepts and drops a bounded number of times, and stops when closed", async () => {
    const clock = new ManualClock();
    let dials = 0;
    const dial = async () => {
      dials += 1;
      const { right, link, ready } = tunnelPair({ both: { clock } });
      await ready;
      setImmediate(() => link.cut());
      return right;
    };
    const set = dialTunnelSet("ws://x", { connections: 2, clock, dial, random: () => 0.999 });
    await clock.advance(600_000);
    expect(dials).toBeGreaterThan(20);
    expect(dials).toBeLessThan(60);
    await set.close();
    await clock.advance(60_000);
    const before = dials;
    await clock.advance(600_000);
    expect({ dials, pending: clock.pending }).toEqual({ dials: before, pending: 0 });
  });

  it("tells of a refused credential and asks again only after 30 s", async () => {
    const clock = new ManualClock();
    const told: (number | undefined)[] = [];
    const set = dialTunnelSet("ws://x", {
      connections: 1,
      clock,
      dial: () => Promise.reject(refused(401)),
      random: () => 0,
      onDown: ({ status }) => told.push(status),
    });
    await clock.advance(0); // The first dial settles before time moves.
    await clock.advance(29_999);
    expect(told).toEqual([401]);
    await clock.advance(1);
    expect(told).toEqual([401, 401]);
    set.destroy();
    await set.closed;
    expect(clock.pending).toBe(0);
  });

  it("serves and asks over real WebSockets, and dials again when one is cut", async () => {
    const accepted: Tunnel[] = [];
    const { url, server } = await gateway((tunnel) => {
      tunnel.serve(() => ({ status: 204 }));
      accepted.push(tunnel);
    });
    const again = signal();
    let ups = 0;
    const set = dialTunnelSet(url, {
      connections: 2,
      backoffMinMs: 1,
      backoffMaxMs: 2,
      onMember: () => {
        ups += 1;
        if (ups === 2) accepted[0]?.destroy();
        if (ups === 3) again.give();
      },
    });
    set.serve(() => ({ status: 200 }));
    await again.seen;
    expect((await set.request(get("/"))).status).toBe(204);
    expect((await (accepted[2] as Tunnel).request(get("/"))).status).toBe(200);
    await set.close();
    await stopServer(server);
    expect(await failure(set.request(get("/")))).toMatchObject({ code: "CLOSED" });
  });
});

/** A set over memory with the servers' sides of its tunnels, in the order in which they were dialled. */
async function keptUp(options: Partial<DialSetOptions> = {}) {
  const clock = new ManualClock();
  const servers: Tunnel[] = [];
  const told: string[] = [];
  const set = dialTunnelSet("ws://x", {
    connections: 1,
    clock,
    random: () => 0,
    dial: async (_url, { handler }) => {
      const { left, right, ready } = tunnelPair({ both: { clock, onHandlerError: () => undefined } });
      if (handler) left.serve(handler);
      right.serve(({ path, signal: abort }) => (path === "/hold" ? untilAborted(abort) : { status: 204 }));
      servers.push(right);
      await ready;
      return left;
    },
    onMember: (_tunnel, slot) => void told.push(`up ${slot}`),
    onDown: ({ code }, slot) => void told.push(`${code} ${slot}`),
    ...options,
  });
  // HELLOs are exchanged before time moves.
  await clock.advance(0);
  const stop = async () => {
    set.destroy();
    await set.closed;
    await clock.advance(2000);
    expect(clock.pending).toBe(0);
  };
  return { clock, servers, set, told, stop };
}

describe("a member that drains", () => {
  it("is replaced while what is in flight on it goes on", async () => {
    const { clock, servers, set, told, stop } = await keptUp();
    await clock.advance(10_000);
    const inFlight = failure(set.request(get("/hold")));
    await clock.advance(0);
    void servers[0]?.close({ drainMs: 60_000 });
    await clock.advance(0);
    await clock.advance(250);
    expect(servers).toHaveLength(2);
    expect(set.members.map(({ draining }) => draining)).toEqual([true, false]);
    expect((await set.request(get("/"))).status).toBe(204);
    expect(told).toEqual(["up 0", "DRAINING 0", "up 0"]);
    await clock.advance(60_000);
    // Its end is no news: one replacement is enough.
    expect(await inFlight).toMatchObject({ code: "DRAINING", sent: "may-have-run" });
    expect(servers).toHaveLength(2);
    expect(set.members).toHaveLength(1);
    await stop();
  });

  it("is replaced when the time its peer asked for has passed, not before", async () => {
    const { clock, servers, set, stop } = await keptUp();
    await clock.advance(10_000);
    const inFlight = failure(set.request(get("/hold")));
    await clock.advance(0);
    void servers[0]?.close({ retryAfterMs: 7000, drainMs: 60_000 });
    await clock.advance(0);
    await clock.advance(6999);
    expect(servers).toHaveLength(1);
    await clock.advance(1);
    expect(servers).toHaveLength(2);
    await stop();
    await inFlight;
  });

  it("is replaced as well when its own side closes it", async () => {
    const { clock, servers, set, stop } = await keptUp();
    await clock.advance(10_000);
    const inFlight = failure(set.request(get("/hold")));
    await clock.advance(0);
    void set.members[0]?.close();
    await clock.advance(0);
    await clock.advance(250);
    expect(servers).toHaveLength(2);
    await stop();
    await inFlight;
  });

  it("does not keep its slot from dialling when its replacement is lost", async () => {
    const { clock, servers, set, told, stop } = await keptUp();
    await clock.advance(10_000);
    const inFlight = failure(set.request(get("/hold")));
    await clock.advance(0);
    void servers[0]?.close({ drainMs: 3_600_000 });
    await clock.advance(0);
    await clock.advance(250);
    for (let round = 2; round < 5; round += 1) {
      expect(servers).toHaveLength(round);
      servers[round - 1]?.destroy();
      await clock.advance(30_000);
      expect((await set.request(get("/"))).status).toBe(204);
      expect(set.members.map(({ draining }) => draining)).toEqual([true, false]);
    }
    expect(told.filter((what) => what === "up 0")).toHaveLength(5);
    await stop();
    await inFlight;
  });

  it("does not leave its slot without a tunnel where the one in its place drains as well", async () => {
    const { clock, servers, set, stop } = await keptUp();
    await clock.advance(10_000);
    const held: Promise<unknown>[] = [];
    for (const server of [0, 1]) {
      held.push(failure(set.request(get("/hold"))));
      await clock.advance(0);
      void servers[server]?.close({ drainMs: 3_600_000 });
      await clock.advance(30_000);
    }
    expect(servers).toHaveLength(3);
    expect(set.members.map(({ draining }) => draining)).toEqual([true, true, false]);
    expect((await set.request(get("/"))).status).toBe(204);
    // The newer of the two ends first: nothing is missing.
    servers[1]?.destroy();
    await clock.advance(30_000);
    expect(servers).toHaveLength(3);
    expect(set.members.map(({ draining }) => draining)).toEqual([true, false]);
    await stop();
    await Promise.all(held);
  });

  it("is one of eight that its slot holds beside the newest, however often the server drains", async () => {
    const { clock, servers, set, stop } = await keptUp({ connections: 2 });
    await clock.advance(10_000);
    const held: Promise<unknown>[] = [];
    for (let round = 0; round < 12; round += 1) {
      for (const member of set.members) {
        if (!member.draining) held.push(failure(member.request(get("/hold"))));
      }
      await clock.advance(0);
      for (const server of servers) if (!server.draining) void server.close({ drainMs: 3_600_000 });
      await clock.advance(60_000);
      expect(set.members.length).toBeLessThanOrEqual(2 * 9);
    }
    expect(servers).toHaveLength(2 * 9);
    // The oldest of a slot ends: there is room for one more.
    servers[0]?.destroy();
    await clock.advance(60_000);
    expect(servers).toHaveLength(2 * 9 + 1);
    await stop();
    await Promise.all(held);
  });
});

describe("the pauses between dials", () => {
  const pausesOf = async (livesMs: number[]) => {
    const { clock, servers, stop } = await keptUp({ random: () => 0.999_999 });
    const pauses: number[] = [];
    for (const livesMsOfOne of livesMs) {
      await clock.advance(livesMsOfOne);
      const before = servers.length;
      servers.at(-1)?.destroy();
      await clock.advance(0);
      const lostAt = clock.now();
      while (servers.length === before) await clock.advance(1);
      pauses.push(clock.now() - lostAt);
    }
    await stop();
    return pauses;
  };

  it("grow while tunnels are lost soon, and begin anew after one that was up for 10 s", async () => {
    expect(await pausesOf([0, 0, 0, 9999, 10_000, 0])).toEqual([500, 1000, 2000, 4000, 500, 1000]);
  });

  it("grow too when a server drains every tunnel at once", async () => {
    const { clock, servers, stop } = await keptUp({ random: () => 0.999_999 });
    let seen = 0;
    for (let ms = 0; ms < 120_000; ms += 100) {
      await clock.advance(100);
      if (servers.length === seen) continue;
      seen = servers.length;
      void servers.at(-1)?.close();
    }
    expect(seen).toBeGreaterThan(5);
    expect(seen).toBeLessThan(12);
    await stop();
  });
});
