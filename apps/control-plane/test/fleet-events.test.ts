/** What is written of every change, by the database itself, in the transaction that makes the change. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { FleetEventId } from "@wolfpack/api-contract";
import type { Prisma } from "../src/database/prisma.prisma.ts";
import { because, becauseAgent, onBehalfOf } from "../src/events/author.ts";
import { newId } from "../src/ids.ts";
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

async function events(where: object = {}) {
  const rows = await prisma.fleetEvent.findMany({ orderBy: { seq: "asc" } });
  return rows.filter((row) =>
    Object.entries(where).every(([key, value]) => row[key as keyof typeof row] === value),
  );
}
const kinds = async (where: object = {}) => (await events(where)).map(({ kind }) => kind);
/** What was told after `run` began. */
async function toldBy(run: () => Promise<unknown>) {
  const before = (await events()).length;
  await run();
  return (await events()).slice(before);
}
const user = (userId: string) => ({
  principal: {
    kind: "user" as const,
    userId,
    role: "admin" as const,
    scopes: null,
    credentialId: newId("key"),
  },
  requestId: "request-1",
});

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
    const told = (await events({ session_id: id })).filter(({ kind }) => kind.startsWith("session."));
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
    expect(JSON.stringify(told.map(({ detail }) => detail))).not.toContain("secret");
  });

  it("is told with its places in the queue and on wolves", async () => {
    const { id } = await aSessionThatIs("queued", stores, wolf);
    const queued = { wolf, lock: LOCK, queued: id, placement: anExplanation() };
    await stores.sessions.claim([queued], noQuotas, at(3));
    await stores.sessions.requeue(id, wolf.id, ["placed"], { avoid: false, deadline: at(99) }, at(4));
    await stores.sessions.requestStop(id, "cancelled", at(5));
    const told = (await events({ session_id: id })).filter(({ kind }) => !kind.startsWith("session."));
    expect(told.map(({ kind, wolf_instance_id, detail }) => [kind, wolf_instance_id, detail])).toEqual([
      [
        "queue.entered",
        null,
        expect.objectContaining({ priority: 4, turn: 0, deadline: at(600).toISOString() }),
      ],
      ["queue.left", wolf.id, { to: "placed", waited_ms: 3000 }],
      ["placement.made", wolf.id, { policy: "least-loaded", attempts: 1 }],
      ["queue.entered", wolf.id, expect.objectContaining({ priority: 4 })],
      ["placement.released", wolf.id, { status: "queued" }],
      ["queue.left", null, { to: "stopped", waited_ms: 1000 }],
    ]);
  });

  it("is told when its end is another one", async () => {
    const made = aSession({ spec: { ttl_seconds: 99 } });
    const { id } = await aSessionThatIs("running", stores, wolf, made);
    const told = await toldBy(() => stores.sessions.extend(id, at(999), at(1)));
    expect(told).toMatchObject([{ kind: "session.extended", session_id: id, at: at(1) }]);
    expect(told[0]?.detail).toEqual({ expires_at: at(999).toISOString() });
  });

  it("is not told when nothing of it changes, or nothing does in the end", async () => {
    const { id } = await aSessionThatIs("running", stores, wolf, aSession({ spec: { ttl_seconds: 99 } }));
    const told = await toldBy(async () => {
      await stores.sessions.touch([id], at(1));
      await stores.sessions.warn(at(1), 99_000);
      expect(await stores.sessions.running(id, lobbyOf(id), at(1))).toBeUndefined();
      const undone = prisma.$transaction(async (tx) => {
        await tx.$executeRaw`UPDATE session SET status = 'lost' WHERE id = ${id}`;
        throw new Error("undo");
      });
      await expect(undone).rejects.toThrow("undo");
    });
    expect(told).toEqual([]);
  });
});

describe("the life of a wolf", () => {
  it("is told from its registration to its removal, axis by axis", async () => {
    expect((await kinds({ wolf_instance_id: wolf.id })).slice(0, 2)).toEqual([
      "wolf.registered",
      "wolf.tunnel",
    ]);
    const told = await toldBy(async () => {
      await stores.wolves.changeHealth(wolf.id, 1, "failed", [{ code: "wolf-stuck", detail: "9 s" }], at(1));
      await stores.wolves.changeIntent(wolf.id, { from: ["active"], to: "cordoned", reason: "fan" }, at(2));
      const rules = { ...lenient, createFailuresMax: 1, firstMs: 10_000, maxMs: 10_000 };
      await stores.wolves.createFailed(wolf.id, "slow", rules, at(3));
      await stores.wolves.readmit(wolf.id, at(4));
      await loseWolf(stores.wolves, wolf, at(5));
      await stores.wolves.deregister(wolf.id, true, at(6));
    });
    expect(told.map(({ kind, detail }) => [kind, detail])).toEqual([
      ["wolf.health", { from: "ok", to: "failed", reasons: [{ code: "wolf-stuck", detail: "9 s" }] }],
      ["wolf.intent", { from: "active", to: "cordoned", reason: "fan" }],
      ["wolf.quarantined", { reason: "creates-slow", times: 1, until: at(13).toISOString() }],
      ["wolf.readmitted", {}],
      ["wolf.connectivity", { from: "connected", to: "suspect", epoch: 1 }],
      ["wolf.connectivity", { from: "suspect", to: "lost", epoch: 1 }],
      ["wolf.removed", { name: "w" }],
    ]);
    expect(told.map((event) => event.at).slice(0, -1)).toEqual([at(1), at(2), at(3), at(4), at(5), at(5)]);
  });

  it("names what its agent reports anew, and the number of each tunnel", async () => {
    const report = { gpuType: "nvidia", maxSandboxes: 9, labels: { rack: "7" }, region: "eu" } as const;
    const rest = { costPerHour: null, agentVersion: null, encoderSessionsMax: null };
    const told = await toldBy(async () => {
      await stores.wolves.changeReport(wolf.id, 1, { ...report, ...rest }, at(1));
      await stores.wolves.changeReport(wolf.id, 1, { ...report, ...rest }, at(2));
      await stores.wolves.openTunnel(wolf.id, at(3));
    });
    expect(told.map(({ kind, detail }) => [kind, detail])).toEqual([
      ["wolf.changed", { fields: ["labels", "max_sandboxes", "region"] }],
      ["wolf.tunnel", { epoch: 2, protocol: "revdial", legacy_credential: false }],
    ]);
  });

  it("is told of lobbies that no session has, when they are other ones, and of no comparison that finds the same", async () => {
    const told = await toldBy(async () => {
      for (const [second, lobbies] of [0, 2, 2, 1, 0].entries())
        expect(await stores.wolves.reconciled(wolf.id, 1, lobbies, at(second))).toBe(true);
      expect(await stores.wolves.reconciled(wolf.id, 0, 7, at(9))).toBe(false);
    });
    expect(told.map(({ kind, detail, at: when }) => [kind, detail, when])).toEqual([
      ["wolf.lobbies", { from: 0, to: 2 }, at(1)],
      ["wolf.lobbies", { from: 2, to: 1 }, at(3)],
      ["wolf.lobbies", { from: 1, to: 0 }, at(4)],
    ]);
  });

  it("is told of other reasons for the same health, and not of other figures in them", async () => {
    const health = (code: string, detail: string) =>
      stores.wolves.changeHealth(wolf.id, 1, "degraded", [{ code, detail } as never], at(1));
    const told = await toldBy(async () => {
      await health("disk-full", "91 %");
      await health("disk-full", "92 %");
      await health("wolf-slow", "4 s");
    });
    expect(told.map(({ detail }) => (detail as { reasons: object[] }).reasons)).toEqual([
      [{ code: "disk-full", detail: "91 %" }],
      [{ code: "wolf-slow", detail: "4 s" }],
    ]);
  });

  it("is not told by heartbeats, claims and reports", async () => {
    const told = await toldBy(async () => {
      await stores.wolves.heartbeats([{ id: wolf.id, epoch: 1 }], at(1));
      await stores.wolves.reconciled(wolf.id, 1, 0, at(1));
      await stores.wolves.changeHealth(wolf.id, 1, "ok", [], at(1));
      await stores.wolves.readmit(wolf.id, at(1));
      await stores.wolves.createSucceeded(wolf.id, at(1));
    });
    expect(told).toEqual([]);
  });
});

describe("a freeze", () => {
  it("is told when it begins, when it ends and when it is lifted, and not for another time", async () => {
    const told = await toldBy(async () => {
      await stores.wolves.setFleet({ frozenSince: at(5), overrideUntil: null });
      await stores.wolves.setFleet({ frozenSince: at(6), overrideUntil: null });
      await stores.wolves.setFleet({ frozenSince: null, overrideUntil: at(9) });
      await stores.wolves.setFleet({ frozenSince: null, overrideUntil: null });
    });
    expect(told.map(({ kind }) => kind)).toEqual(["fleet.frozen", "fleet.thawed", "fleet.override"]);
    expect(told[0]?.at).toEqual(at(5));
    expect(told[2]?.detail).toEqual({ until: at(9).toISOString() });
  });
});

describe("the author of a change", () => {
  const change = (to: "cordoned" | "active", now = at(1)) =>
    stores.wolves.changeIntent(wolf.id, { from: ["active", "cordoned"], to, reason: "fan" }, now);

  it("is in its events: who, why, and by which request", async () => {
    const told = await toldBy(async () => {
      await onBehalfOf(user("usr_1"), () => change("cordoned"));
      await because("drain", () => change("active"));
      await becauseAgent(wolf.id, "reported", () => change("cordoned"));
      await change("active");
    });
    expect(
      told.map(({ actor, actor_id, cause, request_id }) => [actor, actor_id, cause, request_id]),
    ).toEqual([
      ["user", "usr_1", "requested", "request-1"],
      ["system", null, "drain", null],
      ["agent", wolf.id, "reported", null],
      ["system", null, null, null],
    ]);
  });

  it("is the same for all that a transaction and Prisma's own statements write", async () => {
    const id = newId("usr");
    const told = await toldBy(() =>
      onBehalfOf(user("usr_2"), () =>
        prisma.$transaction(async (tx) => {
          await tx.user.create({ data: { id, name: id, role: "user", created_at: at(0) } });
          await tx.user.update({ where: { id }, data: { role: "viewer", sessions_max: 3 } });
        }),
      ),
    );
    expect(told).toMatchObject([
      { kind: "user.created", object_id: id, actor: "user", actor_id: "usr_2", request_id: "request-1" },
      {
        kind: "user.changed",
        object_id: id,
        actor_id: "usr_2",
        detail: { role: "viewer", sessions_max: 3, from: { role: "user" } },
      },
    ]);
  });

  it("of a session that is placed in a batch is whoever asked for it, and not who else is in the batch", async () => {
    const requestedBy = { actor: "user", actorId: "usr_3", cause: "requested", requestId: "r3" } as const;
    const made = aSession({ requestedBy });
    const other = aSession();
    const told = await toldBy(() =>
      because("queue", () =>
        stores.sessions.claim(
          [made, other].map((session) => ({ wolf, lock: LOCK, session })),
          noQuotas,
          at(1),
        ),
      ),
    );
    expect(
      told.map(({ kind, session_id, actor_id, cause, request_id }) => [
        kind,
        session_id,
        actor_id,
        cause,
        request_id,
      ]),
    ).toEqual([
      ["session.placed", made.id, "usr_3", "requested", "r3"],
      ["placement.made", made.id, "usr_3", "requested", "r3"],
      ["session.placed", other.id, null, "queue", null],
      ["placement.made", other.id, null, "queue", null],
    ]);
  });

  it.each(["x*/ DROP TABLE session; --", "a b", "", "é", "x".repeat(65)])(
    "is nobody where its name could be something else: %j",
    async (requestId) => {
      const told = await toldBy(() =>
        onBehalfOf({ ...user("usr_1 */"), requestId }, () => change("cordoned")),
      );
      expect(told).toMatchObject([{ actor: "user", actor_id: null, cause: "requested", request_id: null }]);
    },
  );

  it("is not known of a change by hand, which is told all the same", async () => {
    const pg = await import("pg");
    const client = new pg.default.Client({ connectionString: stores.database.url });
    await client.connect();
    try {
      const told = await toldBy(async () => {
        await client.query("UPDATE wolf_instance SET intent = 'cordoned' /* wolfpack user u requested - */");
      });
      expect(told).toMatchObject([{ kind: "wolf.intent", actor: null, cause: null }]);
    } finally {
      await client.end();
    }
  });
});

describe("who may use the fleet", () => {
  const aHash = () => Uint8Array.from(randomBytes(32));
  async function aKeyOf(userId: string, expiresAt: Date | null): Promise<string> {
    const id = newId("key");
    const same = { user_id: userId, name: "laptop", prefix: "wpk_abcdef", created_at: at(0) };
    await prisma.apiKey.create({ data: { id, ...same, hash: aHash(), expires_at: expiresAt } });
    return id;
  }
  const signIn = (id: string, key: string, expiresAt: Date) =>
    prisma.webSession.create({
      data: { id, user_id: OWNER, api_key_id: key, hash: aHash(), created_at: at(0), expires_at: expiresAt },
    });

  it("is told, key by key and token by token, and never a secret", async () => {
    const hash = new Uint8Array([1, 2, 3]);
    const [key, token, agentKey] = [newId("key"), newId("jtk"), newId("agk")];
    const times = { created_at: at(0), expires_at: at(99) };
    const told = await toldBy(async () => {
      const mine = { id: key, user_id: OWNER, name: "laptop", prefix: "wpk_abcdef", hash };
      await prisma.apiKey.create({ data: { ...mine, created_at: at(0) } });
      await prisma.apiKey.update({ where: { id: key }, data: { last_used_at: at(1) } });
      for (const again of [2, 3])
        await prisma.apiKey.update({ where: { id: key }, data: { revoked_at: at(again) } });
      await prisma.joinToken.create({ data: { id: token, hash, created_by: OWNER, uses_max: 2, ...times } });
      await prisma.joinToken.update({ where: { id: token }, data: { uses: 1 } });
      await prisma.joinToken.update({ where: { id: token }, data: { revoked_at: at(4) } });
      const public_key = new Uint8Array(32).fill(7);
      const made = { id: agentKey, wolf_instance_id: wolf.id, public_key, status: "pending" };
      await prisma.agentKey.create({ data: { ...made, enrolled_by: token, ...times } });
      await prisma.agentKey.update({ where: { id: agentKey }, data: { status: "active" } });
      // Sooner is told; later, and the same once more, are not.
      for (const end of [120, 50, 50].map(at))
        await prisma.agentKey.update({ where: { id: agentKey }, data: { expires_at: end } });
      const revoked = { status: "revoked", revoked_at: at(5) };
      await prisma.agentKey.update({ where: { id: agentKey }, data: revoked });
    });
    expect(told.map(({ kind, object_id, owner_id, at: when }) => [kind, object_id, owner_id, when])).toEqual([
      ["api-key.created", key, OWNER, at(0)],
      ["api-key.revoked", key, OWNER, at(2)],
      ["join-token.created", token, null, at(0)],
      ["join-token.used", token, null, expect.any(Date)],
      ["join-token.revoked", token, null, at(4)],
      ["agent-key.enrolled", agentKey, null, at(0)],
      ["agent-key.approved", agentKey, null, expect.any(Date)],
      ["agent-key.shortened", agentKey, null, expect.any(Date)],
      ["agent-key.revoked", agentKey, null, at(5)],
    ]);
    const ends = told.map(({ detail }) => (detail as { expires_at?: string }).expires_at);
    const [soon, late] = [at(50), at(99)].map((when) => when.toISOString());
    expect(ends).toEqual([undefined, undefined, late, late, late, late, late, soon, soon]);
    expect(told.at(-2)?.detail).toMatchObject({
      status: "active",
      from: { expires_at: at(120).toISOString() },
    });
    expect(JSON.stringify(told.map(({ detail }) => detail))).not.toMatch(/hash|wpk_|public/);
  });

  it("is told of a browser that signs in and out, with the key that it showed, and never a secret", async () => {
    const key = await aKeyOf(OWNER, at(20));
    const [one, two] = [newId("web"), newId("web")];
    const told = await toldBy(async () => {
      for (const id of [one, two]) await signIn(id, key, at(50));
      for (const again of [2, 3])
        await prisma.webSession.update({ where: { id: one }, data: { revoked_at: at(again) } });
    });
    expect(told.map(({ kind, object_id, owner_id, at: when }) => [kind, object_id, owner_id, when])).toEqual([
      ["web-session.opened", one, OWNER, at(0)],
      ["web-session.opened", two, OWNER, at(0)],
      ["web-session.ended", one, OWNER, at(2)],
    ]);
    // It ends with its key, if that is sooner.
    for (const { detail } of told)
      expect(detail).toEqual({ api_key_id: key, expires_at: at(20).toISOString() });
  });

  it("is told nothing of a browser's session that has expired: not when, not as it is removed, not when it is ended late", async () => {
    const key = await aKeyOf(OWNER, null);
    const [late, pruned, byKey] = [newId("web"), newId("web"), newId("web")];
    const short = await aKeyOf(OWNER, at(10));
    for (const id of [late, pruned]) await signIn(id, key, at(10));
    await signIn(byKey, short, at(90));
    const told = await toldBy(async () => {
      for (const id of [late, byKey])
        await prisma.webSession.update({ where: { id }, data: { revoked_at: at(10) } });
      await prisma.webSession.deleteMany({ where: { expires_at: { lte: at(10) } } });
    });
    expect(told).toEqual([]);
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
