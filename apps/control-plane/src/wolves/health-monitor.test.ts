import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { aWolf } from "../../test/a-wolf.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { createHealthMonitor, type HealthMonitor, type HealthMonitorOptions } from "./health-monitor.ts";
import type { FleetRow, TunnelKey, Wolf } from "./wolf-store.ts";

/** When statements are made, and what of it fails. What they amount to is in evictions.test.ts, on a whole store. */

const LOST_AFTER_MS = 20_000;
const RESTART_GRACE_MS = 120_000;
const STALE_AFTER_MS = 150_000;
const INTERVAL_MS = 60_000;
const RULES = { flapsMax: 5, flapWindowMs: 600_000, createFailuresMax: 3, firstMs: 60_000, maxMs: 3_600_000 };

let clock: ManualClock;
let monitor: HealthMonitor;
let lines: string[];
/** Statements so far, and those of them that are to fail, by name and how often. */
let calls: unknown[][];
let failures: Map<string, number>;
let orphans: TunnelKey[];
let suspects: TunnelKey[];
let stale: Wolf[];
let live: TunnelKey[];
let fleet: FleetRow;

function statement<Args extends unknown[], Result>(name: string, result: (...args: Args) => Result) {
  return async (...args: Args): Promise<Result> => {
    calls.push([name, ...args]);
    const left = failures.get(name) ?? 0;
    if (left > 0) {
      failures.set(name, left - 1);
      throw new Error(`${name} failed`);
    }
    return result(...args);
  };
}

function options(store: Partial<HealthMonitorOptions["store"]> = {}): HealthMonitorOptions {
  return {
    store: {
      heartbeats: statement("heartbeats", () => live.length),
      epochs: statement("epochs", () => new Map()),
      loseTunnel: statement("loseTunnel", (id: string, epoch: number) => suspects.push({ id, epoch }) > 0),
      markLost: statement("markLost", (id: string) => {
        suspects = suspects.filter((key) => key.id !== id);
        return true;
      }),
      findStale: statement("findStale", () => stale),
      markStale: statement("markStale", () => stale.splice(0).map(({ name }) => name)),
      orphanTunnels: statement("orphanTunnels", () => {
        suspects.push(...orphans);
        return [...suspects];
      }),
      listSuspect: statement("listSuspect", () => suspects),
      countConnectivity: statement("countConnectivity", () => ({
        connected: 100,
        suspect: suspects.length,
        lost: 0,
        leftSince: suspects.length,
      })),
      fleet: statement("fleet", () => fleet),
      setFleet: statement("setFleet", (row: FleetRow) => {
        fleet = row;
      }),
      ...store,
    },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    liveTunnels: () => live,
    tunnelLostAfterMs: LOST_AFTER_MS,
    restartGraceMs: RESTART_GRACE_MS,
    wolfStaleAfterMs: STALE_AFTER_MS,
    intervalMs: INTERVAL_MS,
    massLoss: { sharePercent: 50, wolvesMin: 3, windowMs: 60_000 },
    overrideMs: 600_000,
    quarantine: RULES,
  };
}

beforeEach(() => {
  clock = manualClock();
  lines = [];
  calls = [];
  failures = new Map();
  [orphans, suspects, stale, live] = [[], [], [], []];
  fleet = { frozenSince: null, overrideUntil: null };
  monitor = createHealthMonitor(options());
});
afterEach(() => {
  monitor.stop();
  expect(clock.pending).toBe(0);
});

/** Lets promises that are already settled run on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 100; i += 1) await Promise.resolve();
}
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}
/** In steps, as time passes for whatever waits for an answer in between. */
async function passSteadily(ms: number, stepMs = 5000): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) await pass(Math.min(stepMs, left));
}
const named = (name: string) => calls.filter(([called]) => called === name);
const ago = (ms: number) => new Date(clock.now().getTime() - ms);
const failed = () => lines.filter((line) => line.includes("tick failed"));

describe("at its start the health monitor", () => {
  it("gives the tunnels of an earlier process their grace before it looks at anything", async () => {
    orphans = [{ id: "a", epoch: 7 }];
    await monitor.start();
    expect(calls[0]).toEqual(["orphanTunnels", clock.now()]);
    expect(named("listSuspect")).toHaveLength(1);
    expect(named("markLost")).toEqual([]);
  });

  it("marks an orphaned wolf lost when that grace is over, with the epoch it had", async () => {
    orphans = [{ id: "a", epoch: 7 }];
    await monitor.start();
    await pass(RESTART_GRACE_MS - 1);
    expect(named("markLost")).toEqual([]);
    await pass(1);
    expect(named("markLost")).toEqual([["markLost", "a", 7, clock.now()]]);
  });

  it("takes no silence for absence before wolves had the time to be heard", async () => {
    stale = [aWolf({ name: "wolf-7" })];
    await monitor.start();
    await passSteadily(STALE_AFTER_MS - 1);
    expect([named("findStale"), named("markStale")]).toEqual([[], []]);
    await pass(1);
    await pass(INTERVAL_MS);
    expect(named("findStale").at(-1)).toEqual(["findStale", expect.any(Date), []]);
    expect(named("markStale")).toHaveLength(1);
    expect(lines.join("")).toContain("wolf-7");
  });

  it("lets nobody in before orphans are written, and tries every second", async () => {
    failures.set("orphanTunnels", 3);
    let started = false;
    const start = monitor.start().then(() => {
      started = true;
    });
    await settle();
    for (let i = 0; i < 3; i += 1) {
      expect([started, named("listSuspect")]).toEqual([false, []]);
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
  it("looks for silent wolves every interval, tells which tunnels are alive, and marks nobody if there are none", async () => {
    await monitor.start();
    await passSteadily(STALE_AFTER_MS);
    live = [{ id: "a", epoch: 2 }];
    const before = named("findStale").length;
    await passSteadily(INTERVAL_MS);
    expect(named("findStale")).toHaveLength(before + 1);
    await passSteadily(10 * INTERVAL_MS);
    const [, cutoff, tunnels] = named("findStale").at(-1) ?? [];
    expect(tunnels).toEqual(live);
    expect((cutoff as Date).getTime()).toBeLessThanOrEqual(ago(STALE_AFTER_MS).getTime());
    expect([named("markStale"), named("markLost"), named("setFleet")]).toEqual([[], [], []]);
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

  it("takes back what it wrote of a tunnel that ended while it was written, also when writing failed", async () => {
    for (const outcome of ["written", "failed"]) {
      calls.length = 0;
      const store = {
        async heartbeats() {
          live = [];
          if (outcome === "failed") throw new Error("database away");
          return 1;
        },
      };
      monitor = createHealthMonitor(options(store));
      await monitor.start();
      live = [{ id: "a", epoch: 3 }];
      await pass(10_000);
      expect(named("loseTunnel").map(([, id, epoch]) => [id, epoch])).toEqual([["a", 3]]);
      monitor.stop();
    }
  });

  it("tells of a live tunnel that a newer epoch has overtaken, and of no other", async () => {
    const overtaken: TunnelKey[] = [];
    const keys = ["behind", "counted", "retired", "retired, and counted", "removed"].map((id) => ({
      id,
      epoch: 3,
    }));
    const epochs = { behind: 4, counted: 3, retired: 4, "retired, and counted": 3 };
    const said: string[][] = [];
    const store = {
      heartbeats: async (beats: readonly TunnelKey[]) => {
        said.push(beats.map(({ id }) => id));
        return 2;
      },
      epochs: async () => new Map(Object.entries(epochs)),
    };
    monitor = createHealthMonitor({ ...options(store), onOvertaken: (key) => void overtaken.push(key) });
    await monitor.start();
    live = keys;
    await pass(10_000);
    expect(overtaken.map(({ id }) => id)).toEqual(["behind", "retired"]);
    // They finish what is in flight, told once, and their word counts for nothing.
    await pass(10_000);
    expect(overtaken).toHaveLength(2);
    expect(said.at(-1)).toEqual(["counted", "retired, and counted", "removed"]);
    // Whoever looks in between, as while agents move, writes nothing.
    epochs["retired, and counted"] = 9;
    const writes = said.length;
    await monitor.findOvertaken(new Set(["counted"]));
    expect(overtaken).toHaveLength(2);
    await monitor.findOvertaken();
    expect(overtaken.slice(2).map(({ id }) => id)).toEqual(["retired, and counted"]);
    expect(said).toHaveLength(writes);
  });

  it("goes on when the database failed in one tick, a look after a second", async () => {
    await monitor.start();
    failures.set("listSuspect", 1).set("heartbeats", 1);
    await pass(10_000);
    await pass(10_000);
    expect(named("heartbeats")).toHaveLength(2);
    await passSteadily(40_000);
    const looks = named("listSuspect").length;
    await pass(1000);
    expect(named("listSuspect")).toHaveLength(looks + 1);
    expect(failed()).toHaveLength(2);
  });

  it("never looks beside itself, however long the database takes, and does not look twice for two reasons", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let looks = 0;
    monitor = createHealthMonitor(
      options({
        listSuspect: async () => {
          looks += 1;
          if (looks > 1) await promise;
          return [];
        },
      }),
    );
    await monitor.start();
    expect(looks).toBe(1);
    for (let i = 0; i < 5; i += 1) await monitor.tunnelLost(`wolf-${i}`, 1);
    await passSteadily(3 * INTERVAL_MS);
    expect(looks).toBe(2);
    resolve();
    await settle();
    expect(looks).toBe(3);
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
  it("of a replica that shuts down is no flap of the wolf's, also when it is written late", async () => {
    failures.set("loseTunnel", 1);
    await monitor.tunnelLost("a", 3, { sentAway: true });
    await pass(1000);
    const rules = named("loseTunnel").map(([, , , given]) => given);
    expect(rules).toEqual([1, 2].map(() => ({ ...RULES, flapWindowMs: 0, flapsMax: 2 ** 31 - 1 })));
  });

  it("makes its wolf suspect at once, by the rules of quarantine, and lost after the grace", async () => {
    await monitor.tunnelLost("a", 3);
    expect(calls).toEqual([["loseTunnel", "a", 3, RULES, clock.now()]]);
    await pass(LOST_AFTER_MS - 1);
    expect(calls).toHaveLength(1);
    await pass(1);
    expect(calls.at(-1)).toEqual(["markLost", "a", 3, clock.now()]);
    const before = calls.length;
    await pass(10 * LOST_AFTER_MS);
    expect(calls).toHaveLength(before);
  });

  it("of a wolf that is back costs no mark", async () => {
    await monitor.tunnelLost("a", 3);
    suspects = [];
    await pass(LOST_AFTER_MS);
    expect(named("listSuspect")).toHaveLength(1);
    expect(named("markLost")).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("of two thousand wolves at once is looked at once", async () => {
    for (let i = 0; i < 2000; i += 1) await monitor.tunnelLost(`wolf-${i}`, 1);
    suspects = [];
    await pass(LOST_AFTER_MS);
    expect(named("listSuspect")).toHaveLength(1);
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

  it("is marked lost as soon as the database takes it, with what was marked before told once", async () => {
    const told: (readonly string[])[] = [];
    const { store } = options();
    failures.set("b", 2);
    const refuse = statement("b", () => {});
    monitor = createHealthMonitor(
      options({
        async markLost(id, epoch, now) {
          if (id === "b") await refuse();
          return store.markLost(id, epoch, now);
        },
      }),
    );
    monitor.onWolvesLost((ids) => void told.push(ids));
    await monitor.tunnelLost("a", 3);
    await monitor.tunnelLost("b", 4);
    await pass(LOST_AFTER_MS);
    expect(told).toEqual([["a"]]);
    await pass(1000);
    await pass(1000);
    await pass(LOST_AFTER_MS);
    expect(told).toEqual([["a"], ["b"]]);
  });

  it("is told to every listener, also when one of them fails, and only after the mark", async () => {
    const told: unknown[] = [];
    monitor.onWolvesLost(() => {
      throw new Error("not my day");
    });
    monitor.onWolvesLost((ids) => void told.push([ids, named("markLost").length]));
    await monitor.tunnelLost("a", 3);
    await pass(LOST_AFTER_MS);
    expect(told).toEqual([[["a"], 1]]);
    expect(lines.join("")).toContain("not my day");
  });
});

describe("a replica that is gone", () => {
  it("gives its wolves the grace of a lost tunnel, and takes none from those that have theirs", async () => {
    await monitor.tunnelLost("a", 3);
    await pass(LOST_AFTER_MS / 2);
    orphans = [{ id: "b", epoch: 5 }];
    await monitor.replicasGone();
    expect(calls.at(-1)).toEqual(["orphanTunnels", clock.now(), "removed"]);
    // All that are suspect are told again, as with a second replica.
    orphans = [];
    await monitor.replicasGone();
    await pass(LOST_AFTER_MS / 2);
    expect(named("markLost").map(([, id]) => id)).toEqual(["a"]);
    await pass(LOST_AFTER_MS / 2);
    expect(named("markLost").map(([, id]) => id)).toEqual(["a", "b"]);
  });

  it("is looked at again by whoever asked, when the database was away", async () => {
    failures.set("orphanTunnels", 1);
    await expect(monitor.replicasGone()).rejects.toThrow("orphanTunnels failed");
    expect(clock.pending).toBe(0);
  });
});

describe("a process that was stopped for a while", () => {
  /** Its timers all come late, as those of a suspended machine. */
  function sleepyClock(): ManualClock & { sleep(ms: number): void } {
    let sleptMs = 0;
    const inner = clock;
    return {
      ...inner,
      now: () => new Date(inner.now().getTime() + sleptMs),
      get pending() {
        return inner.pending;
      },
      sleep(ms) {
        sleptMs += ms;
      },
    };
  }

  it("gives suspects their grace again before any of them is lost", async () => {
    const sleepy = sleepyClock();
    clock = sleepy;
    monitor = createHealthMonitor(options());
    await monitor.start();
    await monitor.tunnelLost("a", 3);
    await pass(LOST_AFTER_MS - 1000);
    sleepy.sleep(3_600_000);
    await pass(1000);
    expect(named("markLost")).toEqual([]);
    await pass(LOST_AFTER_MS - 1);
    expect(named("markLost")).toEqual([]);
    await pass(1);
    expect(named("markLost")).toHaveLength(1);
  });

  it("does not take the silence of that time for absence", async () => {
    const sleepy = sleepyClock();
    clock = sleepy;
    monitor = createHealthMonitor(options());
    await monitor.start();
    await passSteadily(2 * STALE_AFTER_MS);
    sleepy.sleep(3_600_000);
    stale = [aWolf()];
    await passSteadily(STALE_AFTER_MS - 1);
    expect(named("markStale")).toEqual([]);
    await passSteadily(2 * INTERVAL_MS);
    expect(named("markStale")).toHaveLength(1);
  });

  it("does not take silence for absence after the database was away either", async () => {
    await monitor.start();
    await passSteadily(2 * STALE_AFTER_MS);
    live = [{ id: "a", epoch: 1 }];
    failures.set("heartbeats", 20);
    await passSteadily(200_000);
    stale = [aWolf()];
    await passSteadily(STALE_AFTER_MS - 10_000);
    expect(named("markStale")).toEqual([]);
    await passSteadily(2 * INTERVAL_MS);
    expect(named("markStale")).toHaveLength(1);
  });
});
