/** What a user may have at once and create within a minute: on real PostgreSQL, under every concurrency that there is. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { PlacementPreview, type Problem } from "@wolfpack/api-contract";
import { createPrisma, type Prisma } from "../src/database/prisma.prisma.ts";
import { newId } from "../src/ids.ts";
import { prismaSessionStore } from "../src/sessions/session-store.prisma.ts";
import type { Claim, Quotas } from "../src/sessions/session-store.ts";
import { prismaWolfStore } from "../src/wolves/wolf-store.prisma.ts";
import type { Wolf } from "../src/wolves/wolf-store.ts";
import { anExplanation, aSpec } from "./a-session.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { startHost, type TestHost } from "./host.ts";

describe("a claim", () => {
  const now = new Date("2026-11-23T12:00:00.000Z");
  const later = (ms: number) => new Date(now.getTime() + ms);
  let database: TestDatabase;
  let replicas: Prisma[];
  let wolf: Wolf;
  let owner: string;

  beforeEach(async () => {
    database = await testDatabase();
    replicas = [createPrisma(database.url), createPrisma(database.url)];
    owner = await aUser();
    const wolves = prismaWolfStore(database.prisma);
    const report = { gpuType: "none" as const, maxSandboxes: 1000, labels: {}, region: null };
    const { id } = await wolves.register(
      {
        id: newId("wlf"),
        name: "w",
        address: "",
        ...report,
        costPerHour: null,
        agentVersion: null,
        encoderSessionsMax: null,
      },
      now,
    );
    wolf = (await wolves.openTunnel(id, now)) as Wolf;
    await wolves.reconciled(id, wolf.epoch, 0, now);
  });
  afterEach(async () => {
    await Promise.all(replicas.map((replica) => replica.$disconnect()));
    await database.drop();
  });

  async function aUser(quotas: { sessions_max?: number; creates_per_minute?: number } = {}) {
    const id = newId("usr");
    await database.prisma.user.create({ data: { id, name: id, role: "user", created_at: now, ...quotas } });
    return id;
  }
  async function claim(quotas: Partial<Quotas>, at = now, ownerId = owner, replica = replicas[0]) {
    if (replica === undefined) throw new Error("no replica");
    const id = newId("ses");
    const made = { id, ownerId, name: "desk", spec: aSpec(), placement: anExplanation() };
    const session = { ...made, pin: null, createKey: null };
    const lock = { token: id, expiresAt: later(60_000) };
    const [answer] = await prismaSessionStore(replica).claim(
      [{ session, wolf, lock }],
      { sessionsMax: 1000, createsPerMinute: 1000, ...quotas },
      at,
    );
    if (answer === undefined) throw new Error("no answer");
    return answer;
  }
  const outcomes = (claims: Claim[]) => {
    const count: Record<string, number> = {};
    for (const { outcome } of claims) count[outcome] = (count[outcome] ?? 0) + 1;
    return count;
  };
  const slots = async () =>
    (await database.prisma.wolfInstance.findUniqueOrThrow({ where: { id: wolf.id } })).connected_sandboxes;
  /** Twenty at the same moment: as many as both replicas have connections. */
  async function twoHundred(quotas: Partial<Quotas>) {
    const claims: Claim[] = [];
    const worker = async (replica: Prisma | undefined) => {
      for (let n = 0; n < 10; n += 1) claims.push(await claim(quotas, now, owner, replica));
    };
    await Promise.all(Array.from({ length: 20 }, (_, n) => worker(replicas[n % 2])));
    return claims;
  }

  it("is won by exactly 5 of 200 on two replicas, where 5 sessions are allowed", async () => {
    expect(outcomes(await twoHundred({ sessionsMax: 5 }))).toEqual({ claimed: 5, "too-many": 195 });
    expect(await database.prisma.session.count()).toBe(5);
    expect(await slots()).toBe(5);
  });

  it("is won by exactly 5 of 200 on two replicas, where 5 may be created in a minute", async () => {
    expect(outcomes(await twoHundred({ createsPerMinute: 5 }))).toEqual({ claimed: 5, "too-fast": 195 });
    expect(await slots()).toBe(5);
  });

  it("goes by the user's own row where that says something, and other users' sessions do not count", async () => {
    const [more, none] = [await aUser({ sessions_max: 2 }), await aUser({ creates_per_minute: 0 })];
    await claim({});
    const quotas = { sessionsMax: 1, createsPerMinute: 50 };
    expect(await claim(quotas)).toEqual({ outcome: "too-many", limit: 1, current: 1 });
    expect((await claim(quotas, now, more)).outcome).toBe("claimed");
    expect((await claim(quotas, now, more)).outcome).toBe("claimed");
    expect(await claim(quotas, now, more)).toEqual({ outcome: "too-many", limit: 2, current: 2 });
    expect(await claim(quotas, now, none)).toMatchObject({ outcome: "too-fast", limit: 0, current: 0 });
  });

  it("counts a session as live until it has ended, and as created for a minute, also when it has ended", async () => {
    const quotas = { sessionsMax: 2, createsPerMinute: 3 };
    const first = await claim(quotas, now);
    await claim(quotas, later(10_000));
    expect((await claim(quotas, later(20_000))).outcome).toBe("too-many");
    const store = prismaSessionStore(database.prisma);
    const id = first.outcome === "claimed" ? first.session.id : "";
    const failure = { code: "x", reason: "y" };
    await store.end(id, { status: "failed", failure }, later(20_000));
    expect((await claim(quotas, later(20_000))).outcome).toBe("claimed");
    const tooFast = { outcome: "too-fast", limit: 3, current: 3, freeAt: later(60_000) };
    const wide = { ...quotas, sessionsMax: 9 };
    expect(await claim(wide, later(59_999))).toEqual(tooFast);
    expect((await claim(wide, later(60_000))).outcome).toBe("claimed");
    expect(await claim(wide, later(60_001))).toEqual({ ...tooFast, freeAt: later(70_000) });
  });

  it("of a wolf that has changed is lost, whatever the quota, and takes nothing of it", async () => {
    wolf = { ...wolf, epoch: 99 };
    for (let n = 0; n < 3; n += 1) expect(await claim({ sessionsMax: 1 })).toEqual({ outcome: "lost" });
  });
});

describe("creating sessions", () => {
  let plane: TestControlPlane;
  let host: TestHost;
  beforeEach(async () => {
    plane = await startControlPlane({ quotas: { sessionsMax: 5, createsPerMinute: 500 } });
    host = await startHost(plane, { name: "wolf-1", maxSandboxes: 300 });
  });
  afterEach(async () => {
    await host.stop();
    await plane.stop();
  });
  const post = (key: string, path: string, body: object) =>
    fetch(`${plane.url}/api/v1/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  async function create(key: string) {
    const response = await post(key, "sessions", { wait_seconds: 0 });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Partial<Problem>,
    };
  }

  it("makes exactly 5 of 200 at the same moment, says why no more, and leaves one event for each", async () => {
    const { id, key } = await plane.user("anna");
    const answers = await Promise.all(Array.from({ length: 200 }, () => create(key)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
    const refused = answers.filter(({ status }) => status !== 201);
    for (const { status, body } of refused)
      expect([status, body.code, body.limit, body.current]).toEqual([403, "quota-exceeded", 5, 5]);
    const where = { actor_id: id, action: "session.create" };
    expect(await plane.database.prisma.auditEvent.count({ where: { ...where, result: "allowed" } })).toBe(5);
    const rest = { ...where, result: "failed", code: "quota-exceeded" };
    expect(await plane.database.prisma.auditEvent.count({ where: rest })).toBe(195);
    expect((await create((await plane.user("bert")).key)).status).toBe(201);
  });

  it("is previewed as it would be answered: a wolf, or the quota that forbids it, of whoever asks", async () => {
    const [anna, bert] = [(await plane.user("anna")).key, (await plane.user("bert")).key];
    const preview = async (key: string, wish = {}) =>
      PlacementPreview.parse(await (await post(key, "placements/preview", wish)).json());
    for (let made = 0; made < 5; made += 1) {
      expect(await preview(anna)).toMatchObject({
        outcome: "placed",
        wolf_instance_id: expect.stringMatching(/^wlf_/),
        refusal: null,
      });
      await create(anna);
    }
    const { body } = await create(anna);
    expect(await preview(anna)).toMatchObject({
      outcome: "refused",
      wolf_instance_id: null,
      queue_position: null,
      refusal: { code: "quota-exceeded", text: body.detail, current: 5, limit: 5 },
      explanation: { outcome: "placed", ranked: [{ tier: "as-wished" }] },
    });
    expect(await preview(bert)).toMatchObject({ outcome: "placed", refusal: null });
    expect(await preview(anna, { gpu_type: "amd" })).toMatchObject({ outcome: "impossible", refusal: null });
    expect((await post(bert, "placements/preview", { priority: 9 })).status).toBe(403);
  });

  it("too fast is refused with the time when it will do", async () => {
    const { id, key } = await plane.user("carl");
    const changed = await fetch(`${plane.url}/api/v1/users/${id}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ creates_per_minute: 2 }),
    });
    expect(changed.status).toBe(200);
    await create(key);
    await create(key);
    const { status, headers, body } = await create(key);
    expect([status, body.code, body.limit, body.current]).toEqual([429, "rate-limited", 2, 2]);
    const seconds = Number(headers.get("retry-after"));
    expect(seconds).toBeGreaterThanOrEqual(1);
    expect(seconds).toBeLessThanOrEqual(60);
  });
});
