/** What is old goes, in steps and within a bound, and what stays is told; on real PostgreSQL where the rows are the matter. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { Clock } from "../clock.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { prismaRetentionStore } from "./retention.prisma.ts";
import {
  createRetention,
  type Kept,
  keptMs,
  type RetentionStore,
  STEP_PAUSE_MS,
  STEP_ROWS_MAX,
  TURN_EVERY_MS,
  TURN_MS_MAX,
} from "./retention.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
let clock: ManualClock;
let lines: Record<string, unknown>[];
beforeEach(() => {
  clock = manualClock();
  lines = [];
});

/** Pauses between steps are over at once; the rest of time moves by hand. */
const withoutPauses = (): Clock => ({
  ...clock,
  setTimer(ms, run) {
    const timer = clock.setTimer(ms, run);
    if (ms === STEP_PAUSE_MS) queueMicrotask(() => clock.advance(ms));
    return timer;
  },
});
const turn = (store: RetentionStore, { stopping = (): boolean => false, using = withoutPauses() } = {}) =>
  createRetention({
    store,
    clock: using,
    log: createLogger("trace", { write: (line) => void lines.push(JSON.parse(line)) }),
    stopping,
  }).turn();
const levels = { debug: 20, warn: 40 } as const;
const said = (level: keyof typeof levels) =>
  lines
    .filter((line) => line.level === levels[level])
    .map(({ what, left, counted, removed, msg }) => ({ what, left, counted, removed, msg }));

/** Tables that have nothing but numbers of old rows. */
function numbers(old: Partial<Record<Kept, number>>, onStep: (what: Kept) => void = () => undefined) {
  const left = { ...old };
  const steps: Kept[] = [];
  const store: RetentionStore = {
    async remove(what, _before, max) {
      steps.push(what);
      onStep(what);
      const gone = Math.min(left[what] ?? 0, max);
      left[what] = (left[what] ?? 0) - gone;
      return gone;
    },
    count: async (what, _before, max) => Math.min(left[what] ?? 0, max),
  };
  return { store, steps, left };
}

describe("a turn", () => {
  it("goes on in steps until nothing old is left, and takes time for a step only where there is more", async () => {
    const { store, steps, left } = numbers({ events: 3 * STEP_ROWS_MAX, "disk samples": 5 });
    await turn(store);
    expect(left).toMatchObject({ events: 0, "disk samples": 0 });
    expect(steps.filter((what) => what === "events")).toHaveLength(4);
    expect(steps.filter((what) => what === "disk samples")).toHaveLength(1);
    expect(said("debug")).toMatchObject([{ removed: { events: 3 * STEP_ROWS_MAX, "disk samples": 5 } }]);
    expect(said("warn")).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("removes what a thousand events a second leave for it, though each step takes a second", async () => {
    const written = 1000 * ((TURN_EVERY_MS + TURN_MS_MAX) / 1000);
    const { store, left } = numbers({ events: written }, () => clock.advance(1000));
    await turn(store);
    expect(left.events).toBe(0);
    expect(said("warn")).toEqual([]);
  });

  it("pauses between two steps", async () => {
    const { store, steps } = numbers({ events: 2 * STEP_ROWS_MAX });
    const running = turn(store, { using: clock });
    for (const expected of [1, 2, 3]) {
      for (let n = 0; n < 20; n += 1) await Promise.resolve();
      expect(steps.filter((what) => what === "events")).toHaveLength(expected);
      clock.advance(STEP_PAUSE_MS);
    }
    await running;
  });

  it("ends at its bound of time, and tells what is left of which table", async () => {
    const slow = () => clock.advance(TURN_MS_MAX / 4);
    const { store, left } = numbers({ events: 9 * STEP_ROWS_MAX, "disk samples": 1 }, slow);
    await turn(store);
    expect(left.events).toBeGreaterThan(0);
    expect(said("warn")).toEqual([
      {
        what: "events",
        left: left.events,
        counted: "all",
        removed: undefined,
        msg: expect.stringContaining("old rows are left"),
      },
    ]);
  });

  it("counts a backlog up to a million, and says that there may be more", async () => {
    const { store } = numbers({ events: 1e9 }, () => clock.advance(TURN_MS_MAX));
    await turn(store);
    expect(said("warn")).toMatchObject([{ what: "events", left: 1_000_000, counted: "in part" }]);
  });

  it("lets no table wait for the backlog of another", async () => {
    const { store, steps } = numbers({ events: 9 * STEP_ROWS_MAX, "idempotency keys": 2 * STEP_ROWS_MAX });
    await turn(store);
    const all = Object.keys(keptMs).length;
    expect(new Set(steps.slice(0, all)).size).toBe(all);
    expect(steps.lastIndexOf("idempotency keys")).toBeLessThan(all + 4);
  });

  it("takes no further step when the process stops, and alarms nobody about the rest", async () => {
    let stops = false;
    const { store, steps, left } = numbers({ events: 9 * STEP_ROWS_MAX }, () => {
      stops = steps.length === 2;
    });
    await turn(store, { stopping: () => stops });
    expect(steps).toHaveLength(2);
    expect(left.events).toBeGreaterThan(0);
    expect(said("warn")).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("says which table it could not be done for, does the others, and rejects nothing", async () => {
    const { store, left } = numbers({ events: 1, "disk samples": 1 });
    await turn({
      ...store,
      remove: (what, ...same) =>
        what === "events" ? Promise.reject(new Error("the database is down")) : store.remove(what, ...same),
    });
    expect(left).toMatchObject({ events: 1, "disk samples": 0 });
    expect(said("warn")).toMatchObject([{ what: "events", msg: "old rows not removed yet" }]);
  });

  it("says so when a backlog cannot be counted", async () => {
    const { store } = numbers({ events: 9 * STEP_ROWS_MAX }, () => clock.advance(TURN_MS_MAX));
    await turn({ ...store, count: () => Promise.reject(new Error("the database is down")) });
    expect(said("warn")).toContainEqual(
      expect.objectContaining({ what: "events", msg: "old rows are left, and cannot be counted" }),
    );
  });
});

describe("old rows", () => {
  let database: TestDatabase;
  let store: RetentionStore;
  const ago = (ms: number) => new Date(clock.now().getTime() - ms);
  beforeAll(async () => {
    database = await testDatabase();
    store = prismaRetentionStore(database.prisma);
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    await database.prisma.$executeRaw`
      TRUNCATE fleet_event, disk_sample, spent_challenge, idempotency_key, web_session, wolf_instance, user_account CASCADE`;
  });

  /** One of each table for each age, and how to see which are left. */
  const tables: Record<Kept, { add(at: Date, n: number): Promise<unknown>; left(): Promise<number> }> = {
    events: {
      add: (at, n) =>
        database.prisma.fleetEvent.create({ data: { id: `evt_${n}`, at, kind: "fleet.alarm" } }),
      left: () => database.prisma.fleetEvent.count(),
    },
    "disk samples": {
      async add(at, n) {
        const wolf = { id: `wlf_${n}`, name: `wolf-${n}` };
        const sizes = { total_bytes: 1n, used_bytes: 1n, available_bytes: 0n, level: "ok" };
        await database.prisma.wolfInstance.create({ data: wolf });
        await database.prisma.diskSample.create({
          data: { id: `dsk_${n}`, wolf_instance_id: wolf.id, mount: "/", slot: n, at, ...sizes },
        });
      },
      left: () => database.prisma.diskSample.count(),
    },
    "spent challenges": {
      add: (at, n) =>
        database.prisma.spentChallenge.create({ data: { nonce: new Uint8Array([n]), expires_at: at } }),
      left: () => database.prisma.spentChallenge.count(),
    },
    "idempotency keys": {
      add: (at, n) =>
        database.prisma.idempotencyKey.create({
          data: {
            owner: "usr_1",
            key: `key-${n}`,
            operation: "createUser",
            request_hash: new Uint8Array([n]),
            created_at: ago(DAY_MS),
            expires_at: at,
          },
        }),
      left: () => database.prisma.idempotencyKey.count(),
    },
    "browsers' sessions": {
      async add(at, n) {
        const made = { created_at: ago(DAY_MS) };
        const [user_id, api_key_id] = [newId("usr"), newId("key")];
        await database.prisma.user.create({
          data: { id: user_id, name: `user-${n}`, role: "user", ...made },
        });
        const hash = new Uint8Array([n]);
        await database.prisma.apiKey.create({
          data: { id: api_key_id, user_id, name: "laptop", prefix: "wpk_abcdef", hash, ...made },
        });
        await database.prisma.webSession.create({
          data: { id: newId("web"), user_id, api_key_id, hash, expires_at: at, ...made },
        });
      },
      left: () => database.prisma.webSession.count(),
    },
  };

  it.each([
    ["events", 30 * DAY_MS],
    ["disk samples", 7 * DAY_MS],
    ["spent challenges", 10 * MINUTE_MS],
    ["idempotency keys", 0],
    ["browsers' sessions", 0],
  ] as const)("are %s whose time was over %d ms ago, and nothing else", async (what, age) => {
    const { add, left } = tables[what];
    for (const [n, ms] of [age + 1, age, age - 1, age - DAY_MS].entries()) await add(ago(ms), n);
    expect(await store.count(what, ago(age), 10)).toBe(1);
    await turn(store);
    expect(await left()).toBe(3);
    clock.advance(1);
    await turn(store);
    expect(await left()).toBe(2);
    expect(said("debug")).toMatchObject([{ removed: { [what]: 1 } }, { removed: { [what]: 1 } }]);
  });

  const manyEvents = (count: number) => database.prisma.$executeRaw`
    INSERT INTO fleet_event (id, at, kind)
    SELECT 'evt_' || n, '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 ms', 'fleet.alarm' FROM generate_series(1, ${count}::int) AS n`;

  it("go by bounded numbers, the oldest first, and are counted up to a bound", async () => {
    await manyEvents(5);
    const ids = async () =>
      (await database.prisma.fleetEvent.findMany({ orderBy: { at: "asc" } })).map(({ id }) => id);
    expect(await store.count("events", clock.now(), 3)).toBe(3);
    expect(await store.remove("events", clock.now(), 2)).toBe(2);
    expect(await ids()).toEqual(["evt_3", "evt_4", "evt_5"]);
    expect(await store.remove("events", clock.now(), 0)).toBe(0);
    expect(await store.remove("events", clock.now(), 9)).toBe(3);
    expect(await store.count("events", clock.now(), 3)).toBe(0);
  });

  it("of more than two steps are all gone after one turn", async () => {
    await manyEvents(2 * STEP_ROWS_MAX + 1);
    await turn(store);
    expect(await database.prisma.fleetEvent.count()).toBe(0);
    expect(said("debug")).toMatchObject([{ removed: { events: 2 * STEP_ROWS_MAX + 1 } }]);
  });

  it("that somebody else removes, or just gives another end, are waited for by nobody", async () => {
    for (const n of [1, 2, 3]) await tables["idempotency keys"].add(ago(1), n);
    const other = new pg.Client({ connectionString: database.url });
    await other.connect();
    try {
      await other.query("BEGIN");
      await other.query("DELETE FROM idempotency_key WHERE key = 'key-1'");
      await other.query(
        "UPDATE idempotency_key SET expires_at = now() + interval '100 years' WHERE key = 'key-2'",
      );
      expect(await store.remove("idempotency keys", clock.now(), 10)).toBe(1);
      await other.query("COMMIT");
    } finally {
      await other.end();
    }
    expect(await store.remove("idempotency keys", clock.now(), 10)).toBe(0);
    expect(await tables["idempotency keys"].left()).toBe(1);
  });

  it("are found by the index of their moment", async () => {
    await manyEvents(20_000);
    await database.prisma.$executeRaw`ANALYZE fleet_event`;
    const plan = await database.prisma.$queryRaw<{ "QUERY PLAN": string }[]>`
      EXPLAIN SELECT ctid FROM fleet_event WHERE at < ${clock.now()} ORDER BY at LIMIT 100 FOR UPDATE SKIP LOCKED`;
    expect(JSON.stringify(plan)).toContain("fleet_event_at_idx");
  });
});
