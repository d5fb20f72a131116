import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { createHealthMonitor, type HealthMonitor, type HealthMonitorOptions } from "./health-monitor.ts";
import type { TunnelKey } from "./wolf-store.ts";

const LOST_AFTER_MS = 20_000;
const STALE_AFTER_MS = 120_000;
const INTERVAL_MS = 60_000;

let clock: ManualClock;
let monitor: HealthMonitor;
let lines: string[];
/** Statements so far, and those of them that are to fail, by name and how often. */
let calls: unknown[][];
let failures: Map<string, number>;
let orphans: TunnelKey[];
let live: TunnelKey[];

function statement<Result>(name: string, result: () => Result) {
  return async (...args: unknown[]): Promise<Result> => {
    calls.push([name, ...args]);
    const left = failures.get(name) ?? 0;
    if (left > 0) {
      failures.set(name, left - 1);
      throw new Error(`${name} failed`);
    }
    return result();
  };
}

beforeEach(() => {
  clock = manualClock();
  lines = [];
  calls = [];
  failures = new Map();
  orphans = [];
  live = [];
  const store: HealthMonitorOptions["store"] = {
    heartbeats: statement("heartbeats", () => live.length),
    loseTunnel: statement("loseTunnel", () => true),
    markLost: statement("markLost", () => true),
    markStale: statement("markStale", () => ["wolf-7"]),
    orphanTunnels: statement("orphanTunnels", () => orphans),
  };
  monitor = createHealthMonitor({
    store,
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    liveTunnels: () => live,
    tunnelLostAfterMs: LOST_AFTER_MS,
    wolfStaleAfterMs: STALE_AFTER_MS,
    intervalMs: INTERVAL_MS,
  });
});
afterEach(() => {
  monitor.stop();
  expect(clock.pending).toBe(0);
});

/** Lets promises that are already settled run on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 30; i += 1) await Promise.resolve();
}
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}
const named = (name: string) => calls.filter(([called]) => called === name);
const ago = (ms: number) => new Date(clock.now().getTime() - ms);

describe("at its start the health monitor", () => {
  it("looks for stale wolves at once, after the tunnels of an earlier process have their grace", async () => {
    await monitor.start();
    expect(calls).toEqual([
      ["orphanTunnels", clock.now()],
      ["markStale", ago(STALE_AFTER_MS), [], clock.now()],
    ]);
    expect(lines.join("")).toContain("wolf-7");
  });

  it("marks an orphaned wolf lost when the grace is over, with the epoch it had", async () => {
    orphans = [{ id: "a", epoch: 7 }];
    await monitor.start();
    await pass(LOST_AFTER_MS - 1);
    expect(named("markLost")).toEqual([]);
    await pass(1);
    expect(named("markLost")).toEqual([["markLost", "a", 7, clock.now()]]);
  });

  it("lets nobody in before orphans are written, and tries every second", async () => {
    failures.set("orphanTunnels", 3);
    let started = false;
    const start = monitor.start().then(() => {
      started = true;
    });
    await settle();
    for (let i = 0; i < 3; i += 1) {
      expect([started, named("markStale")]).toEqual([false, []]);
      await pass(1000);
    }
    await start;
    expect(named("orphanTunnels")).toHaveLength(4);
    expect(lines.filter((line) => line.includes("orphanTunnels failed"))).toHaveLength(3);
  });

  it("can be stopped while the database is away", async () => {
    failures.set("orphanTunnels", Number.POSITIVE_INFINITY);
    const start = monitor.start();
    await settle();
    monitor.stop();
    await start;
    await pass(10 * INTERVAL_MS);
    expect(named("orphanTunnels")).toHaveLength(1);
  });
});

describe("the health monitor", () => {
  it("looks for stale wolves every interval and tells which tunnels are alive", async () => {
    await monitor.start();
    live = [{ id: "a", epoch: 2 }];
    await pass(INTERVAL_MS - 1);
    expect(named("markStale")).toHaveLength(1);
    await pass(1);
    expect(named("markStale").at(-1)).toEqual([
      "markStale",
      ago(STALE_AFTER_MS),
      [{ id: "a", epoch: 2 }],
      clock.now(),
    ]);
    await pass(INTERVAL_MS);
    expect(named("markStale")).toHaveLength(3);
  });

  it("writes the heartbeats of all live tunnels in one statement every ten seconds", async () => {
    await monitor.start();
    live = [
      { id: "a", epoch: 2 },
      { id: "b", epoch: 5 },
    ];
    await pass(9999);
    expect(named("heartbeats")).toEqual([]);
    await pass(1);
    expect(named("heartbeats")).toEqual([["heartbeats", live, clock.now()]]);
    await pass(10_000);
    expect(named("heartbeats")).toHaveLength(2);
  });

  it("goes on at the next tick when the database failed in one", async () => {
    await monitor.start();
    failures.set("markStale", 1).set("heartbeats", 1);
    await pass(10_000);
    await pass(10_000);
    expect(named("heartbeats")).toHaveLength(2);
    await pass(40_000);
    await pass(INTERVAL_MS);
    expect(named("markStale")).toHaveLength(3);
    expect(lines.filter((line) => line.includes("tick failed"))).toHaveLength(2);
  });

  it("never runs a tick beside itself, however long the database takes", async () => {
    await monitor.start();
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = createHealthMonitor({
      store: {
        heartbeats: () => promise.then(() => 0),
        loseTunnel: async () => true,
        markLost: async () => true,
        markStale: statement("slow markStale", () => []),
        orphanTunnels: async () => [],
      },
      clock,
      log: createLogger("silent"),
      liveTunnels: () => {
        calls.push(["flush"]);
        return [];
      },
      tunnelLostAfterMs: LOST_AFTER_MS,
      wolfStaleAfterMs: STALE_AFTER_MS,
      intervalMs: 10 * INTERVAL_MS,
    });
    await slow.start();
    const before = named("flush").length;
    for (let i = 0; i < 5; i += 1) await pass(10_000);
    expect(named("flush")).toHaveLength(before + 1);
    resolve();
    await settle();
    await pass(10_000);
    expect(named("flush")).toHaveLength(before + 2);
    slow.stop();
  });

  it("does nothing after it was stopped", async () => {
    await monitor.start();
    await monitor.tunnelLost("a", 1);
    monitor.stop();
    const before = calls.length;
    await pass(10 * INTERVAL_MS);
    expect(calls).toHaveLength(before);
    await monitor.tunnelLost("b", 1);
    expect(clock.pending).toBe(0);
  });
});

describe("a lost tunnel", () => {
  it("makes its wolf suspect at once, and lost after the grace", async () => {
    await monitor.tunnelLost("a", 3);
    expect(calls).toEqual([["loseTunnel", "a", 3, clock.now()]]);
    await pass(LOST_AFTER_MS - 1);
    expect(calls).toHaveLength(1);
    await pass(1);
    expect(calls.at(-1)).toEqual(["markLost", "a", 3, clock.now()]);
    await pass(10 * LOST_AFTER_MS);
    expect(calls).toHaveLength(2);
  });

  it("is written when the database is back, and the grace begins then", async () => {
    failures.set("loseTunnel", 2);
    await monitor.tunnelLost("a", 3);
    await pass(1000);
    await pass(1000);
    expect(named("loseTunnel")).toHaveLength(3);
    await pass(LOST_AFTER_MS - 1);
    expect(named("markLost")).toEqual([]);
    await pass(1);
    expect(named("markLost")).toHaveLength(1);
  });

  it("is marked lost as soon as the database takes it", async () => {
    failures.set("markLost", 2);
    await monitor.tunnelLost("a", 3);
    await pass(LOST_AFTER_MS);
    await pass(1000);
    await pass(1000);
    await pass(LOST_AFTER_MS);
    expect(named("markLost")).toHaveLength(3);
  });
});
