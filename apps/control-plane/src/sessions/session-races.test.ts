/** Sessions where statements race, on real PostgreSQL and as from two replicas; and what only its rows can show. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import {
  aClaim,
  anExplanation,
  aPlaceableWolf,
  aSession,
  aSessionThatIs,
  at,
  LOCK,
  lobbyOf,
  mustBe,
  noQuotas,
  OWNER,
  postgresStores,
  untilBlocked,
} from "../../test/stores.ts";
import { createPrisma, type Prisma } from "../database/prisma.prisma.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "../wolves/wolf-store.prisma.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { prismaSessionStore } from "./session-store.prisma.ts";
import type { Claim, ClaimRequest, Quotas, Session, SessionStore } from "./session-store.ts";

let stores: Awaited<ReturnType<typeof postgresStores>>;
let prisma: Prisma;
let otherPrisma: Prisma;
let replicas: [SessionStore, SessionStore];
let otherWolves: WolfStore;
beforeAll(async () => {
  stores = await postgresStores();
  prisma = stores.database.prisma;
  otherPrisma = createPrisma(stores.database.url);
  replicas = [stores.sessions, prismaSessionStore(otherPrisma)];
  otherWolves = prismaWolfStore(otherPrisma);
});
beforeEach(async () => {
  await stores.clear();
  await stores.addOwner(OWNER);
});
afterAll(async () => {
  await otherPrisma.$disconnect();
  await stores.close();
});

const failure = { code: "x", reason: "y" };
const fails = { status: "failed" as const, failure };
const tally = (answers: readonly { outcome: string }[]) => {
  const counts: Record<string, number> = {};
  for (const { outcome } of answers) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
};
const replica = (n: number) => replicas[n % 2] as SessionStore;

/** All at once, in batches of 64, from two replicas. */
async function inBatches(requests: ClaimRequest[], quotas: Quotas = noQuotas): Promise<Claim[]> {
  const batches: Promise<Claim[]>[] = [];
  for (let n = 0; n * 64 < requests.length; n += 1)
    batches.push(replica(n).claim(requests.slice(n * 64, (n + 1) * 64), quotas, at(0)));
  return (await Promise.all(batches)).flat();
}

/** Claims are what sessions hold, no more and no less. */
async function expectTrueCounts(): Promise<void> {
  const wrong = await prisma.$queryRaw`
    SELECT wolf.id FROM wolf_instance wolf
    LEFT JOIN session ON wolf_instance_id = wolf.id AND slot_held
    GROUP BY wolf.id
    HAVING (connected_sandboxes, vram_mb_claimed, encoder_sessions_claimed)
      <> (count(session.id), COALESCE(sum(session.vram_mb), 0), COALESCE(sum(session.encoder_sessions), 0))`;
  expect(wrong).toEqual([]);
}

describe("a thousand claims at once", () => {
  it("get the hundred slots that there are, each exactly once", async () => {
    const wolves: Wolf[] = [];
    for (let n = 0; n < 10; n += 1)
      wolves.push(await aPlaceableWolf(stores.wolves, `w${n}`, { maxSandboxes: 10 }));
    const requests = Array.from({ length: 1000 }, (_, n) => aClaim(wolves[(n * 7) % 10] as Wolf));
    expect(tally(await inBatches(requests))).toEqual({ claimed: 100, lost: 900 });
    expect((await stores.wolves.candidates()).map((wolf) => wolf.connectedSandboxes)).toEqual(
      wolves.map(() => 10),
    );
    await expectTrueCounts();
  });

  it("get the memory that there is and no MiB more", async () => {
    const wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 1000, vramMb: 10_000 });
    const resources = { vram_mb: 300, encoder_sessions: 1 };
    const requests = Array.from({ length: 1000 }, () => aClaim(wolf, aSession({ spec: { resources } })));
    expect(tally(await inBatches(requests))).toEqual({ claimed: 33, lost: 967 });
    await expectTrueCounts();
  });

  it("of one owner get what it may have", async () => {
    const wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 1000 });
    const requests = Array.from({ length: 300 }, () => aClaim(wolf));
    const answers = await inBatches(requests, { sessionsMax: 50, createsPerMinute: 1000 });
    expect(tally(answers)).toEqual({ claimed: 50, "too-many": 250 });
  });

  it("of one creating request make one session", async () => {
    const wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 1000 });
    const requests = Array.from({ length: 300 }, () => aClaim(wolf, aSession({ createKey: "key" })));
    const queue = { max: 100, deadline: at(9) };
    const [claims, ...queued] = await Promise.all([
      inBatches(requests),
      ...Array.from({ length: 20 }, (_, n) =>
        replica(n).enqueue(aSession({ createKey: "key" }), queue, noQuotas, at(0)),
      ),
    ]);
    const { exists, ...made } = tally([...claims, ...queued]);
    expect(exists).toBe(319);
    expect(Object.values(made)).toEqual([1]);
    expect(await prisma.session.count()).toBe(1);
  });
});

describe("batches that name the same rows", () => {
  it("in opposite orders never wait for each other", async () => {
    const wolves: Wolf[] = [];
    const owners: string[] = [];
    for (let n = 0; n < 16; n += 1) {
      wolves.push(await aPlaceableWolf(stores.wolves, `w${n}`, { maxSandboxes: 1000 }));
      owners.push(newId("usr"));
      await stores.addOwner(owners[n] as string);
    }
    const queue = { max: 1000, deadline: at(600) };
    const waiting: string[] = [];
    for (let n = 0; n < 64; n += 1) {
      const made = aSession();
      waiting.push(made.id);
      await stores.sessions.enqueue(made, queue, noQuotas, at(0));
    }
    const requests = wolves.flatMap((wolf, n): ClaimRequest[] => [
      aClaim(wolf, aSession({ ownerId: owners[15 - n] as string })),
      ...waiting
        .slice(n * 4, n * 4 + 4)
        .map((queued) => ({ wolf, lock: LOCK, queued, placement: anExplanation() })),
    ]);
    const rounds = Array.from({ length: 24 }, (_, n) => {
      const fresh = requests.map((request) =>
        "session" in request ? { ...request, session: { ...request.session, id: newId("ses") } } : request,
      );
      return replica(n).claim(n % 3 === 0 ? fresh.toReversed() : fresh, noQuotas, at(0));
    });
    const answers = tally((await Promise.all(rounds)).flat());
    expect(answers).toEqual({ claimed: 16 * 24 + 64, gone: 64 * 23 });
    await expectTrueCounts();
  });

  it("while their sessions end, wait again and are cancelled, leave no claim behind", async () => {
    const wolves: Wolf[] = [];
    for (let n = 0; n < 4; n += 1)
      wolves.push(await aPlaceableWolf(stores.wolves, `w${n}`, { maxSandboxes: 8 }));
    const [queue, toQueue] = [
      { max: 1000, deadline: at(600) },
      { avoid: false, deadline: at(600) },
    ];
    const worker = async (n: number) => {
      const store = replica(n);
      for (let round = 0; round < 8; round += 1) {
        const wolf = wolves[(n + round) % 4] as Wolf;
        const made = aSession({ spec: { resources: { vram_mb: 0, encoder_sessions: 2 } } });
        await store.enqueue(made, queue, noQuotas, at(0));
        const rows = await store.listQueued(4);
        const queued = rows.map(({ session }) => ({
          wolf,
          lock: LOCK,
          queued: session.id,
          placement: anExplanation(),
        }));
        await store.claim([...queued, aClaim(wolf)], noQuotas, at(0));
        const live = await store.listLive(wolf.id);
        await Promise.all(
          live.slice(0, 6).map(({ id }, m) => {
            const lobbyGone = m % 2 === 0;
            if (m % 3 === 0) return store.requeue(id, wolf.id, ["placed"], { ...toQueue, lobbyGone }, at(0));
            if (m % 3 === 1) return store.end(id, fails, at(0), { lobbyGone });
            return store.requestStop(id, "requested", at(0));
          }),
        );
        await stores.wolves.reconciled(wolf.id, wolf.epoch, 0, at(0));
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, n) => worker(n)));
    await expectTrueCounts();
    for (const { id } of await prisma.session.findMany({ where: { ended_at: null } }))
      await stores.sessions.end(id, fails, at(9));
    expect((await stores.wolves.candidates()).map((wolf) => wolf.connectedSandboxes)).toEqual([0, 0, 0, 0]);
    expect(await prisma.session.count({ where: { slot_held: true } })).toBe(0);
  });
});

describe("statements of many rows", () => {
  /** Whatever the order in which rows are named, and lie on the disk. */
  const shuffled = <Row>(rows: readonly Row[], seed: number): Row[] =>
    rows
      .map((row, n) => ({ row, rank: ((n + 1) * 7919 * (seed + 1)) % 101 }))
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ row }) => row);

  it("that name the same rows in any order never wait for each other in a circle", async () => {
    const wolves: Wolf[] = [];
    const ids = Array.from({ length: 24 }, () => newId("wlf"));
    for (const id of shuffled(ids, 0))
      wolves.push(await aPlaceableWolf(stores.wolves, id, { id, maxSandboxes: 1000 }));
    const thatAre = async (status: Session["status"], spec: { idle_timeout_seconds?: number } = {}) => {
      const made: Session[] = [];
      for (let n = 0; n < 24; n += 1)
        made.push(await aSessionThatIs(status, stores, wolves[n] as Wolf, aSession({ spec })));
      return made.map(({ id }) => id);
    };
    const placed = await thatAre("placed");
    const runs = await thatAre("running", { idle_timeout_seconds: 10 });
    const starts: string[] = [];
    for (let n = 0; n < 24; n += 1)
      starts.push((await aSessionThatIs("starting", stores, wolves[0] as Wolf)).id);
    const waits = await thatAre("queued");
    const beats = wolves.map(({ id, epoch }) => ({ id, epoch }));
    const locks = placed.map((id) => ({ id, token: LOCK.token }));
    const lobbies = starts.map(lobbyOf);
    const claims = waits.map(
      (queued, n): ClaimRequest => ({
        // Places nobody: those that wait are there in every round.
        wolf: { id: (wolves[(n * 5) % 24] as Wolf).id, epoch: 99 },
        lock: LOCK,
        queued,
        placement: anExplanation(),
      }),
    );
    const round = async (n: number) => {
      const store = replica(n);
      const of = n % 2 === 0 ? stores.wolves : otherWolves;
      const everybody = [...waits, ...runs, ...placed];
      await Promise.all([
        store.claim(shuffled([...claims, ...wolves.map((wolf) => aClaim(wolf))], n), noQuotas, at(0)),
        of.heartbeats(shuffled(beats, n + 1), at(n)),
        store.touch(shuffled(everybody, n + 2), at(n)),
        store.warn(at(n), 60_000),
        store.renewLocks(shuffled(locks, n + 3), at(n + 30)),
        store.lobbiesRunning(wolves[0] as Wolf, shuffled(lobbies, n + 4), at(n)),
      ]);
    };
    // Three at a time are 18 statements on 20 connections: whoever waits, waits for rows.
    const numbers = Array.from({ length: 40 }, (_, n) => n).values();
    const lane = async () => {
      for (const n of numbers) await round(n);
    };
    await Promise.all([lane(), lane(), lane()]);
    const names = await prisma.session.findMany({ where: { id: { in: starts }, status: "running" } });
    expect(names).toHaveLength(24);
    await expectTrueCounts();
  }, 60_000);
});

describe("the bound of the queue", () => {
  it("holds when a hundred come at once", async () => {
    const queue = { max: 7, deadline: at(600) };
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => replica(n).enqueue(aSession(), queue, noQuotas, at(0))),
    );
    expect(tally(answers)).toEqual({ queued: 7, full: 93 });
    expect(await stores.sessions.countQueued()).toBe(7);
  });
});

describe("of two who change one session at once", () => {
  let wolf: Wolf;
  let session: Session;
  beforeEach(async () => {
    wolf = await aPlaceableWolf(stores.wolves);
    session = await aSessionThatIs("running", stores, wolf);
  });

  it("one ends it or one puts it back into the queue, and its slot is given back once", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { id } = await aSessionThatIs("running", stores, wolf);
      const toQueue = { avoid: false, deadline: at(600) };
      const [ended, queued] = await Promise.all([
        replica(0).end(id, fails, at(1), { from: ["running"] }),
        replica(1).requeue(id, wolf.id, ["running"], toQueue, at(1)),
      ]);
      expect([ended, queued].filter((done) => done)).toHaveLength(1);
      expect((await mustBe(stores.sessions.get(id))).status).toBe(ended ? "failed" : "queued");
      const after = await mustBe(stores.wolves.get(wolf.id));
      expect([after.connectedSandboxes, after.otherLobbies]).toEqual([1, 1]);
      await stores.wolves.reconciled(wolf.id, wolf.epoch, 0, at(1));
    }
  });

  it("one ends it, however many try", async () => {
    await stores.sessions.requestStop(session.id, "requested", at(1));
    const ends = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        replica(n).end(session.id, n % 4 < 2 ? { status: "stopped" } : fails, at(2)),
      ),
    );
    expect(ends.filter((done) => done)).toHaveLength(1);
    expect((await mustBe(stores.wolves.get(wolf.id))).connectedSandboxes).toBe(0);
  });

  it("one puts it back into the queue, however many try, and it leaves one lobby", async () => {
    const toQueue = { avoid: true, blame: true, deadline: at(600), attempts: 1 };
    const back = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        replica(n).requeue(session.id, wolf.id, ["running"], toQueue, at(2)),
      ),
    );
    expect(back.filter((done) => done)).toHaveLength(1);
    expect(await stores.sessions.get(session.id)).toMatchObject({ culprits: [wolf.id], attempts: 0 });
    const { connectedSandboxes, otherLobbies } = await mustBe(stores.wolves.get(wolf.id));
    expect([connectedSandboxes, otherLobbies]).toEqual([0, 1]);
  });

  it("one is told which wolves are to blame", async () => {
    const { id } = await aSessionThatIs("starting", stores, wolf);
    await prisma.$executeRaw`UPDATE session SET culprits = '{x,y}' WHERE id = ${id}`;
    const told = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        if (n % 4 < 2) return replica(n).lobbiesRunning(wolf, [lobbyOf(id)], at(1));
        const ran = await replica(n).running(id, lobbyOf(id), at(1));
        return ran === undefined ? [] : [ran];
      }),
    );
    expect(told.flat()).toEqual([{ id, wolfId: wolf.id, culprits: ["x", "y"], isNew: true }]);
  });

  it("an end of the first attempt, which waited for the second one, does not end that", async () => {
    const { id } = await aSessionThatIs("placed", stores, wolf);
    let ended: Promise<boolean> | undefined;
    await otherPrisma.$transaction(async (tx) => {
      await tx.$executeRaw`UPDATE session SET attempts = 2, lock_token = 'next' WHERE id = ${id}`;
      ended = stores.sessions.end(id, fails, at(1), { attempt: { wolfId: wolf.id, attempts: 1 } });
      await untilBlocked(prisma);
    });
    expect(await ended).toBe(false);
    expect(await stores.sessions.get(id)).toMatchObject({ status: "placed", lockToken: "next" });
  });

  it("a reaper does not stop what its user extends in that moment", async () => {
    await stores.sessions.extend(session.id, at(10), at(0));
    await stores.sessions.warn(at(0), 10_000);
    let expired: Promise<boolean> | undefined;
    await otherPrisma.$transaction(async (tx) => {
      await tx.$executeRaw`UPDATE session SET expires_at = ${at(100)} WHERE id = ${session.id}`;
      // Sees the old end, waits for the row, and has to look again.
      expired = stores.sessions.expire(session.id, "expired", at(20), 0);
      await untilBlocked(prisma);
    });
    expect(await expired).toBe(false);
    expect((await mustBe(stores.sessions.get(session.id))).status).toBe("running");
  });

  it("a wolf is not retired under a claim that came first, and takes none once it is", async () => {
    const empty = await aPlaceableWolf(stores.wolves, "empty");
    const retire = { from: ["active" as const], to: "retired" as const, reason: null, unlessSessions: true };
    let retired: ReturnType<typeof stores.wolves.changeIntent> | undefined;
    await otherPrisma.$transaction(async (tx) => {
      await tx.$executeRaw`UPDATE wolf_instance SET connected_sandboxes = 1 WHERE id = ${empty.id}`;
      retired = stores.wolves.changeIntent(empty.id, retire, at(1));
      await untilBlocked(prisma);
    });
    expect((await retired)?.outcome).toBe("has-sessions");
    await prisma.$executeRaw`UPDATE wolf_instance SET connected_sandboxes = 0 WHERE id = ${empty.id}`;
    expect((await stores.wolves.changeIntent(empty.id, retire, at(1))).outcome).toBe("changed");
    expect(await stores.sessions.claim([aClaim(empty)], noQuotas, at(1))).toEqual([{ outcome: "lost" }]);
  });

  it("a wolf that is removed by force takes nobody down with it, nor waits for those that end", async () => {
    for (let round = 0; round < 10; round += 1) {
      const gone = await aPlaceableWolf(stores.wolves, `gone-${round}`, { maxSandboxes: 1000 });
      const live = await Promise.all(Array.from({ length: 5 }, () => aSessionThatIs("placed", stores, gone)));
      const [outcome] = await Promise.all([
        stores.wolves.deregister(gone.id, true, at(1)),
        ...live.map(({ id }, n) => replica(n).end(id, fails, at(1))),
        ...live.map((_, n) => replica(n).claim([aClaim(gone), aClaim(wolf)], noQuotas, at(1))),
      ]);
      expect(outcome).toBe("deleted");
      expect(await prisma.session.count({ where: { wolf_instance_id: gone.id } })).toBe(0);
    }
    expect(await prisma.session.count({ where: { wolf_instance_id: null, ended_at: null } })).toBe(0);
    await expectTrueCounts();
  });
});

describe("rows of an earlier version", () => {
  it("are read with what they lack filled in", async () => {
    const old = { image: "xfce", gpu_type: null, resolution: { width: 640, height: 480, refresh_rate: 60 } };
    const explained = { policy: "least-loaded", candidates: 1, removed: [], ranked: [], text: "w" };
    const id = newId("ses");
    await prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, created_at, updated_at)
      VALUES (${id}, ${OWNER}, 'old', 'running', ${JSON.stringify(old)}::jsonb, ${JSON.stringify(explained)}::jsonb, false,
        ${at(0)}, ${at(0)})`;
    expect(await stores.sessions.get(id)).toMatchObject({
      spec: { ...old, resources: { vram_mb: 0, encoder_sessions: 1 }, disconnect_policy: "keep", labels: {} },
      placement: { ...explained, outcome: "placed", counterfactuals: [] },
      attempts: 0,
      leftWolves: [],
    });
  });
});

describe("an owner who has had 300,000 sessions", () => {
  it("costs its next ones a few rows to read, also on a connection that has planned when there were none", async () => {
    const wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 1000 });
    const keyed = () => aClaim(wolf, aSession({ createKey: newId("ses") }));
    // Statistics of a table that was empty, taken before or in the middle of the transaction, say that its pages hold nothing: no plan
    // is right then. This one counts as never looked at.
    await prisma.$executeRaw`ALTER TABLE session SET (autovacuum_enabled = false)`;
    await prisma.$executeRaw`UPDATE pg_class SET relpages = 0, reltuples = -1 WHERE oid = 'session'::regclass`;
    await prisma.$executeRaw`DELETE FROM pg_statistic WHERE starelid = 'session'::regclass`;
    await prisma.$transaction(
      async (tx) => {
        const store = prismaSessionStore(tx as Prisma);
        const claimAndEnqueue = async (quotas: Quotas) => {
          const answers = await store.claim(Array.from({ length: 64 }, keyed), quotas, at(0));
          await store.enqueue(aSession(), { max: 9, deadline: at(9) }, quotas, at(0));
          return tally(answers);
        };
        await claimAndEnqueue(noQuotas);
        await tx.$executeRaw`ALTER TABLE session DISABLE TRIGGER ALL`;
        await tx.$executeRaw`
          INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, created_at, updated_at, ended_at)
          SELECT 'ses_' || n, ${OWNER}, 'old', 'stopped', '{}', '{}', false, ${at(-9999)}, ${at(-9999)}, ${at(-9999)}
          FROM generate_series(1, 300000) AS n`;
        await tx.$executeRaw`ALTER TABLE session ENABLE TRIGGER ALL`;
        const read = async () => {
          const [row] = await tx.$queryRaw<{ rows: bigint }[]>`
            SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid))::bigint AS rows
            FROM pg_class WHERE relname LIKE 'session%'`;
          return Number(row?.rows);
        };
        const before = await read();
        expect(await claimAndEnqueue({ ...noQuotas, sessionsMax: 75 })).toEqual({
          claimed: 10,
          "too-many": 54,
        });
        expect((await read()) - before).toBeLessThan(1000);
      },
      { timeout: 60_000 },
    );
  }, 60_000);
});
