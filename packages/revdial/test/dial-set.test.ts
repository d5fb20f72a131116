/** Keeping tunnels up: redialling by hand-moved time, and over real WebSockets. */
import { describe, expect, it } from "@jest/globals";
import { backoffMs } from "../src/backoff.ts";
import { type DialSetOptions, dialTunnelSet } from "../src/dial-set.ts";
import { RevdialError, type Tunnel } from "../src/index.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { gateway, stopServer } from "./gateway.ts";
import { failure, get, signal } from "./support.ts";

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
  ])("refuses %j", (options) => {
    expect(() => dialTunnelSet("ws://x", { connections: 1, ...options })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
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
