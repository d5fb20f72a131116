import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { memoryFleet } from "../database/memory-fleet.ts";
import { createLogger } from "../logger.ts";
import { createHealthMonitor, type HealthMonitor } from "./health-monitor.ts";
import { memoryWolfStore } from "./wolf-store.memory.ts";
import type { TunnelKey, Wolf, WolfStore } from "./wolf-store.ts";

const LOST_AFTER_MS = 20_000;
const RESTART_GRACE_MS = 120_000;
const STALE_AFTER_MS = 120_000;
const INTERVAL_MS = 60_000;
const MINUTE_MS = 60_000;
const OVERRIDE_MS = 10 * MINUTE_MS;
const report = {
  gpuType: "nvidia",
  maxSandboxes: 12,
  labels: {},
  region: null,
  costPerHour: null,
  agentVersion: null,
  encoderSessionsMax: null,
} as const;

let clock: ManualClock;
let store: WolfStore;
let monitor: HealthMonitor;
/** The tunnels of this process. */
let live: Map<string, TunnelKey>;
let told: string[];
let lines: { level: number; msg: string }[];

beforeEach(() => {
  clock = manualClock();
  store = memoryWolfStore(memoryFleet());
  live = new Map();
  told = [];
  lines = [];
  monitor = aMonitor();
});
afterEach(() => {
  monitor.stop();
  expect(clock.pending).toBe(0);
});

function aMonitor(over: Partial<WolfStore> = {}): HealthMonitor {
  const made = createHealthMonitor({
    store: { ...store, ...over },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(JSON.parse(line)) }),
    liveTunnels: () => [...live.values()],
    tunnelLostAfterMs: LOST_AFTER_MS,
    restartGraceMs: RESTART_GRACE_MS,
    wolfStaleAfterMs: STALE_AFTER_MS,
    intervalMs: INTERVAL_MS,
    massLoss: { sharePercent: 50, wolvesMin: 3, windowMs: MINUTE_MS },
    overrideMs: OVERRIDE_MS,
    quarantine: {
      flapsMax: 3,
      flapWindowMs: 10 * MINUTE_MS,
      createFailuresMax: 3,
      firstMs: MINUTE_MS,
      maxMs: 60 * MINUTE_MS,
    },
  });
  made.onWolvesLost((ids) => void told.push(...ids));
  return made;
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `w${String(i).padStart(4, "0")}`);
const register = (name: string, address = "") =>
  store.register({ id: `wlf_${name}`, name, address, ...report }, clock.now());
async function connect(id: string): Promise<void> {
  const opened = await store.openTunnel(id, clock.now());
  if (opened === undefined) throw new Error(`${id} is unknown`);
  live.set(id, { id, epoch: opened.epoch });
}
/** So many wolves with a tunnel each, to a process that has just started. */
async function aFleet(count: number): Promise<string[]> {
  await monitor.start();
  const ids: string[] = [];
  for (const name of names(count)) ids.push((await register(name)).id);
  for (const id of ids) await connect(id);
  return ids;
}
async function disconnect(...ids: string[]): Promise<void> {
  for (const id of ids) {
    const key = live.get(id);
    live.delete(id);
    if (key !== undefined) await monitor.tunnelLost(id, key.epoch);
  }
}
/** The process ends without a word; the next one has no tunnels yet. */
async function restart(awayMs = 0): Promise<void> {
  monitor.stop();
  live.clear();
  clock.advance(awayMs);
  monitor = aMonitor();
  await monitor.start();
}
async function pass(ms: number, stepMs = 5000): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(stepMs, left));
    // Every promise that is already settled runs on before this does.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
async function get(id: string): Promise<Wolf> {
  const wolf = await store.get(id);
  if (wolf === undefined) throw new Error(`${id} is unknown`);
  return wolf;
}
const connectivityOf = async (id: string) => (await get(id)).connectivity;
const counts = async () => (await monitor.state()).wolves;
const errors = () => lines.filter(({ level }) => level >= 50).map(({ msg }) => msg);

describe("a wolf whose tunnel breaks", () => {
  it("is suspect at once and lost after its grace, and whoever listens hears of it", async () => {
    const [a = "", b = ""] = await aFleet(10);
    await disconnect(a);
    expect(await connectivityOf(a)).toBe("suspect");
    await pass(LOST_AFTER_MS - 1);
    expect([await connectivityOf(a), told]).toEqual(["suspect", []]);
    await pass(1);
    expect([await connectivityOf(a), told]).toEqual(["lost", [a]]);
    expect(await connectivityOf(b)).toBe("connected");
  });

  it("is not lost when it comes back within its grace, nor by the grace of an earlier tunnel", async () => {
    const [a = ""] = await aFleet(10);
    await disconnect(a);
    await pass(15_000);
    await connect(a);
    await disconnect(a);
    await pass(10_000);
    expect(await connectivityOf(a)).toBe("suspect");
    await connect(a);
    await pass(10 * MINUTE_MS);
    expect([await connectivityOf(a), told]).toEqual(["connected", []]);
  });

  it("is not lost when its tunnel comes between the look and the mark", async () => {
    monitor = aMonitor({
      async listSuspect(cutoff) {
        const suspects = await store.listSuspect(cutoff);
        if (suspects.length > 0) await connect(a);
        return suspects;
      },
    });
    const [a = ""] = await aFleet(10);
    await disconnect(a);
    await pass(LOST_AFTER_MS);
    expect([await connectivityOf(a), told]).toEqual(["connected", []]);
  });

  it("too often is quarantined, by the rules that the monitor was given", async () => {
    const [a = ""] = await aFleet(10);
    for (let flaps = 1; flaps <= 3; flaps += 1) {
      expect((await get(a)).quarantine).toBeNull();
      await disconnect(a);
      await connect(a);
      await pass(5000);
    }
    expect((await get(a)).quarantine).toMatchObject({ reason: "tunnel-flaps", times: 1 });
    expect(await connectivityOf(a)).toBe("connected");
  });

  it("by whom it was seen is not there any more is found by the next look", async () => {
    const [a = ""] = await aFleet(10);
    // Another process wrote this and ended.
    await store.loseTunnel(a, 1, QUARANTINE_NEVER, clock.now());
    live.delete(a);
    await pass(INTERVAL_MS + RESTART_GRACE_MS - 5000);
    expect(await connectivityOf(a)).toBe("suspect");
    await pass(INTERVAL_MS);
    expect([await connectivityOf(a), told]).toEqual(["lost", [a]]);
  });

  it("and that is dead stays dead when another host comes with its address", async () => {
    const [a = ""] = await aFleet(10);
    await disconnect(a);
    await pass(LOST_AFTER_MS);
    const other = await register("another", (await get(a)).address);
    await connect(other.id);
    await pass(10 * MINUTE_MS);
    expect(await connectivityOf(a)).toBe("lost");
    expect(await get(other.id)).toMatchObject({ connectivity: "connected", epoch: 1 });
    expect(other.id).not.toBe(a);
  });
});

const QUARANTINE_NEVER = { flapsMax: 100, flapWindowMs: 1, createFailuresMax: 100, firstMs: 1, maxMs: 1 };

describe("a wolf that is known by heartbeats only", () => {
  it("is lost when it is silent for too long, and whoever listens hears of it", async () => {
    await aFleet(10);
    const { id } = await register("silent");
    await pass(STALE_AFTER_MS);
    expect(await connectivityOf(id)).toBe("connected");
    await pass(INTERVAL_MS);
    expect([await connectivityOf(id), told]).toEqual(["lost", [id]]);
  });

  it("is not lost by a heartbeat that lands between the look and the mark", async () => {
    let found = 0;
    monitor = aMonitor({
      async findStale(cutoff, tunnels) {
        const stale = await store.findStale(cutoff, tunnels);
        found += stale.length;
        if (stale.length > 0) await store.heartbeat("wlf_slow", {}, clock.now());
        return stale;
      },
    });
    await aFleet(10);
    const { id } = await register("slow");
    await pass(STALE_AFTER_MS + INTERVAL_MS);
    expect(found).toBe(1);
    expect([await connectivityOf(id), told]).toEqual(["connected", []]);
  });

  it("is a mass loss too when most fall silent at once: it may be we who do not hear", async () => {
    await aFleet(3);
    const silent = await Promise.all(["s1", "s2", "s3", "s4"].map((name) => register(name)));
    await pass(10 * MINUTE_MS);
    for (const { id } of silent) expect(await connectivityOf(id)).toBe("connected");
    expect((await monitor.state()).frozenSince).not.toBeNull();
    for (const { id } of silent.slice(0, 2)) await store.heartbeat(id, {}, clock.now());
    await pass(5000);
    expect((await monitor.state()).frozenSince).toBeNull();
    expect(told.toSorted()).toEqual(silent.slice(2).map(({ id }) => id));
  });
});

describe("an idle fleet", () => {
  it("of two thousand wolves changes nothing in an hour but their heartbeats", async () => {
    const writes = new Map<string, number>();
    const counted = <Name extends keyof WolfStore>(name: Name) => ({
      [name]: (...args: unknown[]) => {
        writes.set(name, (writes.get(name) ?? 0) + 1);
        return (store[name] as (...given: unknown[]) => unknown)(...args);
      },
    });
    monitor = aMonitor({
      ...counted("heartbeats"),
      ...counted("loseTunnel"),
      ...counted("markLost"),
      ...counted("markStale"),
      ...counted("setFleet"),
    });
    await aFleet(2000);
    const still = async () =>
      (await store.list({ limit: 5000, after: undefined })).map(
        ({ lastHeartbeat, updatedAt, ...wolf }) => wolf,
      );
    const before = await still();
    await pass(60 * MINUTE_MS, 10_000);
    expect([...writes.keys()]).toEqual(["heartbeats"]);
    expect(await still()).toEqual(before);
    expect([told, errors()]).toEqual([[], []]);
  });

  it("is written the time of the control plane's clock, whatever its hosts think it is", async () => {
    const [a = ""] = await aFleet(3);
    await pass(10_000);
    expect((await get(a)).lastHeartbeat).toEqual(clock.now());
  });
});

describe("when every replica was away for three minutes", () => {
  it("no wolf is lost that is back within the grace", async () => {
    const ids = await aFleet(50);
    const { id: byHttp } = await register("by-http");
    await restart(3 * MINUTE_MS);
    await pass(10_000);
    for (const [i, id] of ids.entries()) {
      await connect(id);
      if (i % 5 === 0) await pass(10_000);
    }
    await store.heartbeat(byHttp, {}, clock.now());
    await pass(10 * MINUTE_MS);
    for (const id of ids) expect(await connectivityOf(id)).toBe("connected");
    expect((await monitor.state()).frozenSince).toBeNull();
    // Only this one was silent after that, for its own two minutes.
    expect(told).toEqual([byHttp]);
  });

  it("and a few do not come back, those are lost, when the grace of all is over", async () => {
    const ids = await aFleet(10);
    const gone = ids.slice(0, 4);
    await restart(3 * MINUTE_MS);
    for (const id of ids.slice(4)) await connect(id);
    await pass(RESTART_GRACE_MS - 1);
    expect(told).toEqual([]);
    await pass(1);
    expect(told.toSorted()).toEqual(gone);
  });

  it("and most do not come back, none is lost: they may all be well without us", async () => {
    const ids = await aFleet(10);
    await restart(3 * MINUTE_MS);
    for (const id of ids.slice(6)) await connect(id);
    await pass(RESTART_GRACE_MS + 10 * MINUTE_MS);
    expect([await counts(), told]).toEqual([{ connected: 4, suspect: 6, lost: 0 }, []]);
    expect(errors()).toHaveLength(1);
  });
});

describe("a mass loss", () => {
  it("freezes evictions with one alarm, ends when enough are back, and then only those still gone are lost", async () => {
    const ids = await aFleet(10);
    const left = ids.slice(0, 6);
    await disconnect(...left);
    await pass(5 * MINUTE_MS);
    expect([await counts(), told]).toEqual([{ connected: 4, suspect: 6, lost: 0 }, []]);
    expect((await monitor.state()).frozenSince).not.toBeNull();
    expect(errors()).toHaveLength(1);

    await connect(left[0] ?? "");
    await pass(5000);
    expect((await monitor.state()).frozenSince).toBeNull();
    expect(told.toSorted()).toEqual(left.slice(1));
    expect(await counts()).toEqual({ connected: 5, suspect: 0, lost: 5 });
  });

  it("does not end by time: what left an hour ago is still away", async () => {
    const ids = await aFleet(5);
    await disconnect(...ids);
    await pass(60 * MINUTE_MS, 30_000);
    expect([await counts(), told]).toEqual([{ connected: 0, suspect: 5, lost: 0 }, []]);
    expect(errors()).toHaveLength(1);
  });

  it("that is over loses nobody whose grace is not", async () => {
    const ids = await aFleet(10);
    await disconnect(...ids.slice(0, 6));
    await pass(MINUTE_MS);
    await disconnect(ids[6] ?? "");
    for (const id of ids.slice(0, 6)) await connect(id);
    await pass(LOST_AFTER_MS - 5000);
    expect([(await monitor.state()).frozenSince, told]).toEqual([null, []]);
    await pass(5000);
    expect(told).toEqual([ids[6]]);
  });

  it("is none when half of them leave, and none when two of two do", async () => {
    const ids = await aFleet(10);
    await disconnect(...ids.slice(0, 5));
    await pass(LOST_AFTER_MS);
    expect(told.toSorted()).toEqual(ids.slice(0, 5));
    expect(errors()).toEqual([]);
    store = memoryWolfStore(memoryFleet());
    [live, told] = [new Map(), []];
    monitor.stop();
    const pair = await aFleet(2);
    await restart();
    for (const id of pair) await connect(id);
    await disconnect(...pair);
    await pass(LOST_AFTER_MS);
    expect(told.toSorted()).toEqual(pair);
    expect((await monitor.state()).frozenSince).toBeNull();
  });

  it("is none when wolves leave one after the other over many minutes", async () => {
    const ids = await aFleet(10);
    for (const id of ids) {
      await disconnect(id);
      await pass(2 * MINUTE_MS);
    }
    expect(told).toEqual(ids);
    expect(errors()).toEqual([]);
  });

  it("that an operator calls real is one for ten minutes no more", async () => {
    const ids = await aFleet(10);
    await disconnect(...ids.slice(0, 6));
    await pass(MINUTE_MS);
    const state = await monitor.unfreeze();
    expect(state).toMatchObject({
      frozenSince: null,
      overrideUntil: new Date(clock.now().getTime() + OVERRIDE_MS),
      wolves: { connected: 4 },
    });
    await pass(1);
    expect(told.toSorted()).toEqual(ids.slice(0, 6));
    // The rest may go as well, until then.
    await disconnect(...ids.slice(6, 8));
    await pass(LOST_AFTER_MS);
    expect(told).toHaveLength(8);
    expect(errors()).toHaveLength(1);

    await pass(OVERRIDE_MS);
    for (const id of ids) await connect(id);
    await disconnect(...ids.slice(0, 6));
    await pass(MINUTE_MS);
    expect(told).toHaveLength(8);
    expect(errors()).toHaveLength(2);
  });

  it("outlasts the process that saw it", async () => {
    const ids = await aFleet(10);
    await disconnect(...ids.slice(0, 6));
    await pass(MINUTE_MS);
    const { frozenSince } = await monitor.state();
    expect(frozenSince).not.toBeNull();
    await restart(MINUTE_MS);
    expect((await monitor.state()).frozenSince).toEqual(frozenSince);
    await pass(10 * MINUTE_MS);
    expect([await counts(), told]).toEqual([{ connected: 0, suspect: 10, lost: 0 }, []]);
    for (const id of ids.slice(0, 8)) await connect(id);
    await pass(5000);
    expect((await monitor.state()).frozenSince).toBeNull();
    expect(told.toSorted()).toEqual(ids.slice(8));
  });

  it("is looked for again when the fleet's row could not be read", async () => {
    let down = true;
    monitor = aMonitor({
      async fleet() {
        if (down) throw new Error("the database is away");
        return store.fleet();
      },
    });
    const ids = await aFleet(10);
    await disconnect(...ids.slice(0, 2));
    await pass(10 * MINUTE_MS);
    expect([await counts().catch(() => "unknown"), told]).toEqual(["unknown", []]);
    down = false;
    await pass(1000);
    expect(told.toSorted()).toEqual(ids.slice(0, 2));
  });
});
