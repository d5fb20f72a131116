/** The same request under the same Idempotency-Key creates once, whoever sends it twice and for whatever reason. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { LEASE_MS, RENEW_MS } from "../src/http/idempotency.ts";
import { prismaIdempotencyStore } from "../src/http/idempotency-store.prisma.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";
import { until } from "./tunnel-requests.ts";

const DAY_MS = 24 * 3_600_000;

let clock: ManualClock;
let api: TestControlPlane;
let anna: { id: string; key: string };
let names = 0;
let name = "";
beforeAll(async () => {
  clock = manualClock();
  api = await startControlPlane({}, undefined, { clock });
  anna = await api.user("anna");
});
afterAll(() => api.stop());
beforeEach(() => {
  names += 1;
  name = `thing-${names}`;
});

interface Answer {
  status: number;
  replayed: boolean;
  location: string | null;
  body: Record<string, string>;
}

async function post(
  path: string,
  key: string | undefined,
  body: object,
  credential = api.adminKey,
  url = api.url,
): Promise<Answer> {
  const response = await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${credential}`,
      "content-type": "application/json",
      ...(key === undefined ? {} : { "idempotency-key": key }),
    },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    replayed: response.headers.get("idempotency-replayed") === "true",
    location: response.headers.get("location"),
    body: (await response.json()) as Record<string, string>,
  };
}

const made = () => api.database.prisma.apiKey.count({ where: { name } });

/** For as long as `run` takes the table is not there: whoever needs it fails. */
async function without<Result>(table: string, run: () => Promise<Result>): Promise<Result> {
  await api.database.prisma.$executeRawUnsafe(`ALTER TABLE ${table} RENAME TO ${table}_away`);
  try {
    return await run();
  } finally {
    await api.database.prisma.$executeRawUnsafe(`ALTER TABLE ${table}_away RENAME TO ${table}`);
  }
}

describe("an Idempotency-Key", () => {
  it("gives the same request the same answer, with what is shown once, and creates once", async () => {
    const first = await post("api-keys", name, { name });
    expect(first).toMatchObject({ status: 201, replayed: false });
    const again = await post("api-keys", name, { name });
    expect(again).toEqual({ ...first, replayed: true });
    expect(again.body.key).toMatch(/^wpk_/);
    expect(await made()).toBe(1);
  });

  it("is missed by who sends none: each request creates", async () => {
    await post("api-keys", undefined, { name });
    await post("api-keys", undefined, { name });
    expect(await made()).toBe(2);
  });

  it("gives the same answer to the same body written in another way", async () => {
    const first = await post("users", name, { name, role: "viewer" });
    expect(await post("users", name, { role: "viewer", name })).toEqual({ ...first, replayed: true });
  });

  it("belongs to one request: another body or operation is refused and does nothing", async () => {
    await post("api-keys", name, { name });
    for (const [path, body] of [
      ["api-keys", { name, expires_in_seconds: 60 }],
      ["users", { name }],
    ] as const) {
      const other = await post(path, name, body);
      expect([other.status, other.body.code]).toEqual([409, "idempotency-key-reused"]);
    }
    expect(await made()).toBe(1);
    expect(await api.database.prisma.user.count({ where: { name } })).toBe(0);
  });

  it("of another user is another key", async () => {
    const first = await post("api-keys", name, { name });
    const foreign = await post("api-keys", name, { name }, anna.key);
    expect(foreign).toMatchObject({ status: 201, replayed: false });
    expect(foreign.body.user_id).toBe(anna.id);
    expect(foreign.body.key).not.toBe(first.body.key);
  });

  it("is the user's whichever credential is shown, but never gives one what another could ask for only", async () => {
    const second = await post("api-keys", undefined, { name: "second" });
    const first = await post("api-keys", name, { name });
    expect(await post("api-keys", name, { name }, second.body.key)).toEqual({ ...first, replayed: true });
    const limited = await post("api-keys", undefined, { name: "limited", scopes: ["identity"] });
    const refused = await post("api-keys", name, { name }, limited.body.key);
    expect([refused.status, refused.body.code]).toEqual([409, "idempotency-key-reused"]);
  });

  it.each([
    ["one character", "k", 201],
    ["255", "k".repeat(255), 201],
    ["256", "k".repeat(256), 400],
    ["none", "", 400],
    ["a space", "a b", 400],
    ["quotes and a backslash", '"\\"', 201],
    ["others than ASCII", "\u00e9", 400],
  ])("of %s is taken or refused by its form", async (_what, key, status) => {
    const answer = await post("api-keys", key, { name });
    expect(answer.status).toBe(status);
    if (status === 400) {
      expect(answer.body.code).toBe("invalid-request");
      expect(JSON.stringify(answer.body.errors)).toContain("header.idempotency-key");
    }
    expect(await made()).toBe(status === 201 ? 1 : 0);
  });

  it("that is sent twice in one request is refused", async () => {
    const headers = new Headers({
      authorization: `Bearer ${api.adminKey}`,
      "content-type": "application/json",
    });
    headers.append("idempotency-key", "one");
    headers.append("idempotency-key", "two");
    const body = JSON.stringify({ name });
    const answer = await fetch(`${api.url}/api/v1/api-keys`, { method: "POST", headers, body });
    expect(answer.status).toBe(400);
  });

  it("is not bound by a request that does not fit its schema or that nobody may make", async () => {
    expect((await post("users", name, { name: "" })).status).toBe(400);
    expect((await post("users", name, { name }, anna.key)).status).toBe(403);
    expect((await post("users", name, { name }, "wrong")).status).toBe(401);
    expect(await post("users", name, { name })).toMatchObject({ status: 201, replayed: false });
  });

  it("does nothing where nothing is created", async () => {
    const headers = { authorization: `Bearer ${api.adminKey}`, "idempotency-key": "not valid at all" };
    expect((await fetch(`${api.url}/api/v1/me`, { headers })).status).toBe(200);
  });

  it("leaves one event in the audit log for each call, which tells a repeated answer from a new thing", async () => {
    const { body } = await post("api-keys", name, { name });
    await post("api-keys", name, { name });
    await post("api-keys", name, { name: `${name}!` });
    const { prisma } = api.database;
    const where = { object: String(body.id), result: "allowed" };
    const events = await prisma.auditEvent.findMany({ where, orderBy: { id: "asc" } });
    expect(events.map(({ detail }) => detail)).toEqual([{}, { replayed: true }]);
    expect(await prisma.auditEvent.count({ where: { code: "idempotency-key-reused" } })).toBeGreaterThan(0);
  });
});

describe("a hundred identical requests at once", () => {
  it("create a hundred without a key, which shows that they are at once", async () => {
    await Promise.all(Array.from({ length: 100 }, () => post("api-keys", undefined, { name })));
    expect(await made()).toBe(100);
  });

  it("create one with a key, on two replicas: the others wait for its answer, and get it", async () => {
    // With time of their own, which goes on while they look at each other.
    const replicas = [await startControlPlane({}, api.database), await startControlPlane({}, api.database)];
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        post("api-keys", name, { name }, api.adminKey, replicas[n % 2]?.url),
      ),
    ).finally(() => Promise.all(replicas.map(({ plane }) => plane.stop())));
    expect(await made()).toBe(1);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(new Set(answers.map(({ body }) => body.key)).size).toBe(1);
    await api.database.prisma.idempotencyKey.deleteMany();
  });
});

describe("an answer that is kept", () => {
  it("is given for 24 hours to the millisecond, and then the request is made again", async () => {
    const first = await post("api-keys", name, { name });
    clock.advance(DAY_MS - 1);
    expect(await post("api-keys", name, { name })).toEqual({ ...first, replayed: true });
    clock.advance(1);
    const later = await post("api-keys", name, { name });
    expect(later).toMatchObject({ status: 201, replayed: false });
    expect(later.body.id).not.toBe(first.body.id);
  });

  it("is given by another process, too, as after a restart", async () => {
    const first = await post("api-keys", name, { name });
    const second = await startControlPlane({}, api.database, { clock });
    const again = await post("api-keys", name, { name }, api.adminKey, second.url).finally(second.plane.stop);
    expect(again).toEqual({ ...first, replayed: true });
  });

  it("is a refusal, too, when sending the request again would not help", async () => {
    await post("users", undefined, { name });
    const refused = await post("users", name, { name });
    expect(refused.body.code).toBe("user-exists");
    await api.database.prisma.user.deleteMany({ where: { name } });
    const again = await post("users", name, { name });
    expect(again).toMatchObject({ status: 409, replayed: true, body: { code: "user-exists" } });
  });

  it("says nothing to who has a copy of the database", async () => {
    const secret = `canary-${name}`;
    const { body } = await post("api-keys", secret, { name: "canary of the body" });
    const rows = await api.database.prisma.idempotencyKey.findMany();
    const text = rows
      .flatMap(({ owner, key, operation, answer, request_hash }) => [
        owner,
        key,
        operation,
        ...[answer, request_hash].map((bytes) => Buffer.from(bytes ?? []).toString("latin1")),
      ])
      .join("\n");
    expect(rows.length).toBeGreaterThan(0);
    for (const canary of [String(body.key), String(body.id), secret, "canary of the body", "api-keys"])
      expect(text).not.toContain(canary);
  });

  it("opens nowhere else: moved to another key of the same request it is refused", async () => {
    const other = `${name}-other`;
    const { prisma } = api.database;
    await prisma.idempotencyKey.deleteMany();
    await post("api-keys", name, { name });
    await post("api-keys", other, { name });
    const [one, two, ...more] = await prisma.idempotencyKey.findMany();
    if (!one || !two || more.length > 0) throw new Error("two answers should be kept");
    for (const row of [one, two])
      await prisma.idempotencyKey.update({
        where: { owner_key: { owner: row.owner, key: row.key } },
        data: { answer: row === one ? two.answer : one.answer },
      });
    const codes = [await post("api-keys", name, { name }), await post("api-keys", other, { name })];
    expect(codes.map(({ body }) => body.code)).toEqual(Array(2).fill("idempotency-key-reused"));
  });
});

describe("a request whose answer is not kept", () => {
  it("because of a fault of ours may be made again", async () => {
    await api.database.prisma.$executeRawUnsafe(
      `ALTER TABLE user_account ADD CONSTRAINT broken CHECK (name <> '${name}')`,
    );
    expect((await post("users", name, { name })).status).toBe(500);
    await api.database.prisma.$executeRawUnsafe("ALTER TABLE user_account DROP CONSTRAINT broken");
    expect(await post("users", name, { name })).toMatchObject({ status: 201, replayed: false });
  });

  it("because there was no room may be made again", async () => {
    const none = await post("sessions", name, { name, queue: false });
    expect([none.status, none.body.code]).toEqual([503, "no-capacity"]);
    expect(await post("sessions", name, { name, queue: false })).toMatchObject({
      status: 503,
      replayed: false,
    });
  });

  it("because it could not be written is not acknowledged, and may be made again", async () => {
    await without("idempotency_key", async () => {
      expect((await post("api-keys", name, { name })).status).toBe(500);
    });
    expect(await made()).toBe(0);
    expect(await post("api-keys", name, { name })).toMatchObject({ status: 201, replayed: false });
  });

  it("because its answer could not be kept is given that answer, which is kept as soon as it can be", async () => {
    const { prisma } = api.database;
    await prisma.idempotencyKey.deleteMany();
    await prisma.$executeRawUnsafe(
      "ALTER TABLE idempotency_key ADD CONSTRAINT broken CHECK (status IS NULL)",
    );
    const first = await post("api-keys", name, { name }).finally(() =>
      prisma.$executeRawUnsafe("ALTER TABLE idempotency_key DROP CONSTRAINT broken"),
    );
    expect(first).toMatchObject({ status: 201, replayed: false });
    clock.advance(RENEW_MS);
    await until(async () => (await prisma.idempotencyKey.findFirst())?.status === 201);
    expect(await post("api-keys", name, { name })).toEqual({ ...first, replayed: true });
    expect(await made()).toBe(1);
  });

  it("because its replica died is made again when its lease has ended, and the dead one changes nothing", async () => {
    const store = prismaIdempotencyStore(api.database.prisma);
    // As a replica leaves it that dies in the middle: claimed, and never answered.
    await api.database.prisma.idempotencyKey.deleteMany();
    await post("api-keys", name, { name });
    const [row] = await api.database.prisma.idempotencyKey.findMany();
    if (!row) throw new Error("the answer should be kept");
    const mine = { where: { owner_key: { owner: row.owner, key: row.key } } };
    await api.database.prisma.idempotencyKey.delete(mine);
    await api.database.prisma.apiKey.deleteMany({ where: { name } });
    const claim = {
      owner: row.owner,
      key: row.key,
      operation: row.operation,
      requestHash: row.request_hash,
      createdAt: clock.now(),
      expiresAt: new Date(clock.now().getTime() + LEASE_MS),
    };
    expect(await store.claim(claim)).toBeUndefined();
    const other = await post("api-keys", name, { name: `${name}!` });
    expect([other.status, other.body.code]).toEqual([409, "idempotency-key-reused"]);
    clock.advance(LEASE_MS);
    const again = await post("api-keys", name, { name });
    expect(again).toMatchObject({ status: 201, replayed: false });
    // Should it have been alive after all, it changes nothing any more.
    expect(await store.renew(claim, new Date(clock.now().getTime() + DAY_MS))).toBe(false);
    await store.keep(claim, 201, new Uint8Array(1), new Date(clock.now().getTime() + DAY_MS));
    await store.release(claim);
    expect(await post("api-keys", name, { name })).toEqual({ ...again, replayed: true });
    expect(await made()).toBe(1);
  });

  it("because its caller hung up is served all the same, and so is who joins it; who joins and hangs up is not", async () => {
    const { prisma } = api.database;
    const send = (signal: AbortSignal) =>
      fetch(`${api.url}/api/v1/users`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${api.adminKey}`,
          "content-type": "application/json",
          "idempotency-key": name,
        },
        body: JSON.stringify({ name }),
        signal,
      }).then(
        ({ status }) => status,
        () => "hung up",
      );
    // The handler waits for this lock.
    const lock = new pg.Client({ connectionString: api.database.url });
    await lock.connect();
    try {
      await lock.query("BEGIN");
      await lock.query("LOCK TABLE user_account IN EXCLUSIVE MODE");
      const leaving = new AbortController();
      const gone = [send(leaving.signal)];
      await until(async () => (await prisma.idempotencyKey.count({ where: { status: null } })) === 1);
      const timers = clock.pending;
      gone.push(send(leaving.signal));
      const stays = post("users", name, { name });
      await until(async () => clock.pending === timers + 2);
      leaving.abort();
      expect(await Promise.all(gone)).toEqual(["hung up", "hung up"]);
      await until(async () => clock.pending === timers + 1);
      await lock.query("ROLLBACK");
      expect(await stays).toMatchObject({ status: 201, replayed: true });
      expect(await prisma.user.count({ where: { name } })).toBe(1);
    } finally {
      await lock.end();
    }
  });
});
