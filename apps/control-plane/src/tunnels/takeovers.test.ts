import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import type { Tunnel } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { aWolf } from "../../test/a-wolf.ts";
import { anOpener } from "../../test/an-opener.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { AuditEntry } from "../identity/audit.ts";
import { createLogger } from "../logger.ts";
import { takeoverLimit } from "./takeovers.ts";
import { createTunnelGateway, type TunnelGateway } from "./tunnel-gateway.ts";

const wolf = aWolf({ id: "wlf_a", name: "a" });

let clock: ManualClock;
let gateway: TunnelGateway;
let epoch: number;
let events: AuditEntry[];
let lines: string[];
let pairs: TunnelPair[];
/** What each tunnel's agent answers with. */
let names: Map<Tunnel, string>;

function open(takeoversMax?: number): void {
  gateway = createTunnelGateway({
    store: {
      openTunnel: async () => {
        epoch += 1;
        return { ...wolf, epoch };
      },
      changeUsage: async () => true,
      changeHealth: async () => true,
      changeCapabilities: async () => true,
      changeImages: async () => true,
      changeReport: async () => true,
    },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    random: () => 0.5,
    tunnelLost: async () => undefined,
    audit: { record: async (entry) => void events.push(entry) },
    revocations: { revokedSince: () => false },
    control: { serve: () => undefined },
    ...(takeoversMax === undefined ? {} : { takeoversMax }),
  });
}

beforeEach(() => {
  clock = manualClock();
  epoch = 0;
  events = [];
  lines = [];
  pairs = [];
  names = new Map();
});
afterEach(async () => {
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
  }
  await gateway.drain();
});

async function dial(name: string, incarnation = 0): Promise<{ agent: Tunnel; accepted: Tunnel }> {
  const made = tunnelPair({ left: { incarnation } });
  pairs.push(made);
  const { left: agent, right: accepted } = made;
  agent.serve(() => ({ status: 200, body: Buffer.from(name) }));
  names.set(accepted, name);
  await gateway.acceptWolf(wolf, accepted, anOpener());
  return { agent, accepted };
}

/** Both connect again and again, while somebody asks whoever is the owner; returns answers of another than was asked. */
async function storm(dials: number): Promise<string[]> {
  const wrong: string[] = [];
  let over = false;
  const ask = async () => {
    while (!over) {
      const owner = gateway.wolf("wlf_a");
      if (owner !== undefined) {
        const { body } = await owner.request({ service: "wolf", method: "GET", path: "/" });
        for await (const bytes of body) {
          if (Buffer.from(bytes).toString() !== names.get(owner)) wrong.push(String(bytes));
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const agentOf = async (name: string) => {
    for (let i = 0; i < dials / 2; i += 1) {
      await dial(`${name}-${i}`);
      // Whatever was accepted: one of all tunnels takes requests.
      const takers = [...names.keys()].filter(
        (tunnel) => !tunnel.draining && tunnel === gateway.wolf("wlf_a"),
      );
      if (takers.length !== 1) wrong.push(`${takers.length} owners`);
    }
  };
  const asking = ask();
  await Promise.all([agentOf("one"), agentOf("other")]);
  over = true;
  await asking;
  return wrong;
}

const takeovers = () => events.filter(({ result }) => result === "allowed");
const alarms = () => events.filter(({ result }) => result === "denied");

describe("two agents with one identity that connect again and again", () => {
  it("take over from each other without end where nothing limits them", async () => {
    open(Number.POSITIVE_INFINITY);
    expect(await storm(60)).toEqual([]);
    expect(epoch).toBe(60);
    expect(takeovers()).toHaveLength(59);
    expect(alarms()).toEqual([]);
  });

  it("take over ten times within a minute; then the owner stays, and there is one alarm", async () => {
    open();
    expect(await storm(60)).toEqual([]);
    expect(epoch).toBe(11);
    expect(takeovers()).toHaveLength(10);
    expect(alarms()).toEqual([
      expect.objectContaining({
        principal: "system",
        action: "agent.takeover",
        object: "wlf_a",
        code: "rate-limited",
      }),
    ]);
    const owner = gateway.wolf("wlf_a");
    const { agent, accepted } = await dial("late");
    expect(await agent.closed).toMatchObject({ code: "DRAINING", retryAfterMs: 60_000 });
    await accepted.closed;
    expect(gateway.wolf("wlf_a")).toBe(owner);
    expect(gateway.takeoverWaitMs("wlf_a")).toBe(60_000);
    expect(gateway.takeoverWaitMs("wlf_b")).toBeUndefined();
  });

  it("may go on a minute later, with another alarm only after a minute without refusals", async () => {
    open(2);
    await storm(8);
    expect([takeovers().length, alarms().length]).toEqual([2, 1]);
    clock.advance(59_000);
    await dial("early");
    expect([takeovers().length, alarms().length]).toEqual([2, 1]);
    clock.advance(1000);
    await storm(8);
    expect([takeovers().length, alarms().length]).toEqual([4, 1]);
    clock.advance(60_000);
    await storm(8);
    expect([takeovers().length, alarms().length]).toEqual([6, 2]);
  });
});

describe("a takeover", () => {
  it("is an event that says who, of which tunnel, and whether it is the same process", async () => {
    open();
    await dial("first");
    expect(events).toEqual([]);
    await dial("second", 7);
    await dial("third", 7);
    expect(events.pop()?.detail).toEqual({ epoch: 3, replaced: 2, same_process: true });
    expect(events).toEqual([
      {
        principal: { kind: "runner" },
        action: "agent.takeover",
        object: "wlf_a",
        result: "allowed",
        requestId: "request-1",
        address: undefined,
        detail: { epoch: 2, replaced: 1, same_process: false },
      },
    ]);
  });

  it("is none where the tunnel of before was leaving or has ended", async () => {
    open();
    const { agent } = await dial("first");
    const busy = gateway.wolf("wlf_a")?.request({ service: "wolf", method: "GET", path: "/" });
    busy?.catch(() => undefined);
    const { promise, resolve } = Promise.withResolvers<void>();
    void agent.goingAway.then(() => resolve());
    void agent.close();
    await promise;
    for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
    await dial("second");
    expect(events).toEqual([]);
  });

  it("is made though its event cannot be written", async () => {
    open();
    await dial("first");
    events = Object.freeze([]) as unknown as AuditEntry[];
    await dial("second");
    expect(names.get(gateway.wolf("wlf_a") as Tunnel)).toBe("second");
    for (let turn = 0; turn < 5; turn += 1) await new Promise((done) => setImmediate(done));
    expect(lines.join("")).toContain("event not written");
  });
});

describe("the limit of takeovers", () => {
  it("counts each wolf by itself, and forgets it after a minute", () => {
    const storms: string[] = [];
    const limit = takeoverLimit({ clock, takeoversMax: 1, onStorm: (wolfId) => storms.push(wolfId) });
    expect([limit.take("a"), limit.take("b")]).toEqual([undefined, undefined]);
    clock.advance(20_000);
    expect([limit.take("a"), limit.waitMs("b"), limit.waitMs("c")]).toEqual([40_000, 40_000, undefined]);
    expect(storms).toEqual(["a", "b"]);
    clock.advance(40_000);
    expect(limit.take("a")).toBeUndefined();
  });

  it("blocks nobody when the clock steps back", () => {
    const limit = takeoverLimit({ clock, takeoversMax: 1, onStorm: () => undefined });
    limit.take("a");
    const { now } = clock;
    clock.now = () => new Date(now().getTime() - 3_600_000);
    expect(limit.take("a")).toBeUndefined();
  });
});

describe("a fleet that reconnects", () => {
  it("costs each of its wolves the same, however many came in the last minute", () => {
    const limit = takeoverLimit({ clock, onStorm: () => undefined });
    for (let wolves = 0; wolves < 5000; wolves += 1) limit.take(`wlf_${wolves}`);
    clock.advance(1000);
    const filtered = jest.spyOn(Array.prototype, "filter");
    limit.waitMs("wlf_7");
    limit.take("wlf_7");
    const looks = filtered.mock.calls.length;
    filtered.mockRestore();
    expect(looks).toBeLessThanOrEqual(4);
  });

  it("is forgotten after its minute, also where the clock was set back meanwhile", () => {
    let aheadMs = 3_600_000;
    const stepping = { ...clock, now: () => new Date(clock.now().getTime() + aheadMs) };
    const limit = takeoverLimit({ clock: stepping, takeoversMax: 2, onStorm: () => undefined });
    for (const _ of [1, 2]) limit.take("wlf_a");
    expect(limit.take("wlf_a")).toBeGreaterThan(0);
    aheadMs = 0;
    expect([1, 2].map(() => limit.take("wlf_a"))).toEqual([undefined, undefined]);
    expect(limit.take("wlf_a")).toBe(60_000);
    clock.advance(60_000);
    expect(limit.take("wlf_a")).toBeUndefined();
  });
});
