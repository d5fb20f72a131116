/** What is written of every change of a status or an axis, by the database itself, in the transaction that makes the change. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { FleetEventId } from "@wolfpack/api-contract";
import type { Prisma } from "../src/database/prisma.prisma.ts";
import type { Wolf } from "../src/wolves/wolf-store.ts";
import {
  anExplanation,
  aPlaceableWolf,
  aSession,
  aSessionThatIs,
  at,
  LOCK,
  lenient,
  lobbyOf,
  loseWolf,
  noQuotas,
  OWNER,
  postgresStores,
} from "./stores.ts";

let stores: Awaited<ReturnType<typeof postgresStores>>;
let prisma: Prisma;
let wolf: Wolf;
beforeAll(async () => {
  stores = await postgresStores();
  prisma = stores.database.prisma;
});
beforeEach(async () => {
  await stores.clear();
  await stores.addOwner(OWNER);
  wolf = await aPlaceableWolf(stores.wolves);
});
afterAll(() => stores.close());

/** As they came; ids of one millisecond are in no order. */
async function events(where: object = {}) {
  const rows = await prisma.$queryRaw<
    {
      kind: string;
      at: Date;
      detail: object;
      session_id: string | null;
      wolf_instance_id: string | null;
      owner_id: string | null;
    }[]
  >`SELECT * FROM fleet_event ORDER BY ctid`;
  return rows.filter((row) =>
    Object.entries(where).every(([key, value]) => row[key as keyof typeof row] === value),
  );
}
const kinds = async (where: object = {}) => (await events(where)).map(({ kind }) => kind);

describe("the life of a session", () => {
  it("is told status by status, with its owner, its wolf, and why", async () => {
    const { id } = await aSessionThatIs("queued", stores, wolf);
    const queued = { wolf, lock: LOCK, queued: id, placement: anExplanation() };
    await stores.sessions.claim([queued], noQuotas, at(1));
    await stores.sessions.requeue(id, wolf.id, ["placed"], { avoid: false, deadline: at(99) }, at(2));
    await stores.sessions.claim([queued], noQuotas, at(3));
    await stores.sessions.lobbyCreated(id, "lobby", at(4), LOCK.token);
    await stores.sessions.running(id, "lobby", at(5));
    await loseWolf(stores.wolves, wolf, at(6));
    await stores.sessions.markLost(id, at(7));
    await stores.sessions.requestStop(id, "requested", at(8));
    const failure = { code: "stop-timeout", reason: "a secret of Wolf" };
    await stores.sessions.end(id, { status: "failed", failure }, at(9));
    const told = await events({ session_id: id });
    const [owner_id, wolf_instance_id] = [OWNER, wolf.id];
    expect(told).toMatchObject([
      { kind: "session.queued", at: at(0), owner_id, wolf_instance_id: null, detail: { attempts: 0 } },
      { kind: "session.placed", at: at(1), owner_id, wolf_instance_id },
      { kind: "session.queued", at: at(2), owner_id, wolf_instance_id },
      { kind: "session.placed", at: at(3), owner_id, wolf_instance_id },
      { kind: "session.starting", at: at(4), owner_id, wolf_instance_id },
      { kind: "session.running", at: at(5), owner_id, wolf_instance_id },
      { kind: "session.lost", at: at(7), owner_id, wolf_instance_id },
      { kind: "session.stopping", at: at(8), owner_id, wolf_instance_id },
      { kind: "session.failed", at: at(9), owner_id, wolf_instance_id },
    ]);
    expect(told.map(({ detail }) => detail).slice(-2)).toEqual([
      { from: "lost", stop_reason: "requested", attempts: 2 },
      { from: "stopping", stop_reason: "requested", failure_code: "stop-timeout", attempts: 2 },
    ]);
  });

  it("is not told when nothing of it changes, or nothing does in the end", async () => {
    const { id } = await aSessionThatIs("running", stores, wolf, aSession({ spec: { ttl_seconds: 99 } }));
    const before = await kinds();
    await stores.sessions.touch([id], at(1));
    await stores.sessions.extend(id, at(999), at(1));
    await stores.sessions.warn(at(1), 99_000);
    expect(await stores.sessions.running(id, lobbyOf(id), at(1))).toBeUndefined();
    const undone = prisma.$transaction(async (tx) => {
      await tx.$executeRaw`UPDATE session SET status = 'lost' WHERE id = ${id}`;
      throw new Error("undo");
    });
    await expect(undone).rejects.toThrow("undo");
    expect(await kinds()).toEqual(before);
  });
});

describe("the life of a wolf", () => {
  const told = async () => (await events({ wolf_instance_id: wolf.id })).slice(1);

  it("is told from its registration to its removal, axis by axis", async () => {
    expect(await kinds()).toEqual(["wolf.registered"]);
    await stores.wolves.changeHealth(wolf.id, 1, "failed", [{ code: "wolf-stuck", detail: "9 s" }], at(1));
    await stores.wolves.changeIntent(wolf.id, { from: ["active"], to: "cordoned", reason: "fan" }, at(2));
    const rules = { ...lenient, createFailuresMax: 1, firstMs: 10_000, maxMs: 10_000 };
    await stores.wolves.createFailed(wolf.id, "slow", rules, at(3));
    await stores.wolves.readmit(wolf.id, at(4));
    await loseWolf(stores.wolves, wolf, at(5));
    await stores.wolves.deregister(wolf.id, true, at(6));
    expect((await told()).map(({ kind, detail }) => [kind, detail])).toEqual([
      ["wolf.health", { from: "ok", to: "failed", reasons: [{ code: "wolf-stuck", detail: "9 s" }] }],
      ["wolf.intent", { from: "active", to: "cordoned", reason: "fan" }],
      ["wolf.quarantined", { reason: "creates-slow", times: 1, until: at(13).toISOString() }],
      ["wolf.readmitted", {}],
      ["wolf.connectivity", { from: "connected", to: "suspect", epoch: 1 }],
      ["wolf.connectivity", { from: "suspect", to: "lost", epoch: 1 }],
      ["wolf.removed", { name: "w" }],
    ]);
    expect((await told()).map((event) => event.at).slice(0, -1)).toEqual([
      at(1),
      at(2),
      at(3),
      at(4),
      at(5),
      at(5),
    ]);
  });

  it("is not told by heartbeats, claims and reports", async () => {
    await stores.wolves.heartbeats([{ id: wolf.id, epoch: 1 }], at(1));
    await stores.wolves.reconciled(wolf.id, 1, 3, at(1));
    await stores.wolves.changeHealth(wolf.id, 1, "ok", [], at(1));
    await stores.wolves.readmit(wolf.id, at(1));
    await stores.wolves.createSucceeded(wolf.id, at(1));
    expect(await told()).toEqual([]);
  });
});

describe("a freeze", () => {
  it("is told when it begins and when it ends, and not for another time", async () => {
    await stores.wolves.setFleet({ frozenSince: at(5), overrideUntil: null });
    await stores.wolves.setFleet({ frozenSince: at(6), overrideUntil: null });
    await stores.wolves.setFleet({ frozenSince: null, overrideUntil: at(9) });
    await stores.wolves.setFleet({ frozenSince: null, overrideUntil: null });
    expect((await kinds()).slice(1)).toEqual(["fleet.frozen", "fleet.thawed"]);
    expect((await events({ kind: "fleet.frozen" }))[0]?.at).toEqual(at(5));
  });
});

describe("an event's id", () => {
  it("is what the API says, rises with time, and is nobody else's", async () => {
    const rows = await prisma.$queryRaw<{ id: string; ms: number }[]>`
      SELECT new_event_id() AS id, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms FROM generate_series(1, 5000)`;
    for (const { id } of rows) expect(FleetEventId.parse(id)).toBe(id);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
    const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    for (const { id, ms } of rows) {
      const made = [...id.slice(4, 14)].reduce((sum, digit) => sum * 32 + alphabet.indexOf(digit), 0);
      expect(Math.abs(made - ms)).toBeLessThan(1000);
    }
    const times = rows.map(({ id }) => id.slice(0, 14));
    expect(times).toEqual(times.toSorted());
    const chance = new Set(rows.flatMap(({ id }) => [...id.slice(14)]));
    expect(chance.size).toBe(32);
  });
});
