import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import request from "supertest";
import { createIdentityService } from "../src/identity/identity-service.ts";
import { prismaIdentityStore } from "../src/identity/identity-store.prisma.ts";
import { createLogger } from "../src/logger.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { manualClock } from "./manual-clock.ts";

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("credentials", () => {
  let api: TestControlPlane;
  beforeAll(async () => {
    api = await startControlPlane();
  });
  afterAll(() => api.stop());
  const me = (header?: string) => {
    const call = request(api.url).get("/api/v1/me");
    return header === undefined ? call : call.set("authorization", header);
  };

  it("of the admin, made on the first boot, open the API", async () => {
    const { body } = await me(`Bearer ${api.adminKey}`).expect(200);
    expect(body).toMatchObject({ name: "admin", role: "admin" });
    await me(`bearer ${api.adminKey}`).expect(200);
  });

  it("are refused when missing, of another scheme, cut, changed, doubled or unknown", async () => {
    const key = api.adminKey;
    const changed = key.slice(0, -2) + (key.endsWith("AA") ? "BB" : "AA");
    const wrong = [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      key,
      `Basic ${Buffer.from(`admin:${key}`).toString("base64")}`,
      `Bearer ${key.slice(0, -1)}`,
      `Bearer ${changed}`,
      `Bearer ${key} ${key}`,
      `Bearer ${key},Bearer ${key}`,
      `Bearer ${key.toUpperCase()}`,
      `Bearer wpk_${"A".repeat(43)}`,
      `Bearer ${"x".repeat(10_000)}`,
      "Bearer ' OR 1=1 --",
    ];
    for (const header of wrong) {
      const response = await me(header);
      expect([header?.slice(0, 20), response.status]).toEqual([header?.slice(0, 20), 401]);
      expect(response.headers["www-authenticate"]).toMatch(/^Bearer/);
      expect(response.body.code).toBe("unauthenticated");
    }
  });

  it("of a runner open no user's route, and a user's open no admin's", async () => {
    expect((await me(`Bearer ${RUNNER_TOKEN}`)).body.code).toBe("forbidden");
    const { key } = await api.user("anna");
    const users = () => request(api.url);
    expect((await users().get("/api/v1/users").set(bearer(key))).body.code).toBe("forbidden");
    expect((await users().post("/api/v1/users").set(bearer(key)).send({})).body.code).toBe("forbidden");
  });

  it("are shown once, and never listed again", async () => {
    const { id, key } = await api.user("bert");
    const { body } = await request(api.url).get("/api/v1/api-keys").set(bearer(key)).expect(200);
    expect(body).toEqual([
      expect.objectContaining({ user_id: id, prefix: key.slice(0, 10), scopes: null, revoked_at: null }),
    ]);
    expect(JSON.stringify(body)).not.toContain(key);
    expect(body[0].hash).toBeUndefined();
  });

  it("cannot be made for, seen by or revoked by another user; an admin may", async () => {
    const [carla, dirk] = [await api.user("carla"), await api.user("dirk")];
    const post = (key: string, body: object) =>
      request(api.url).post("/api/v1/api-keys").set(bearer(key)).send(body);
    expect((await post(carla.key, { name: "x", user_id: dirk.id })).body.code).toBe("user-not-found");
    expect((await post(api.adminKey, { name: "x", user_id: `usr_${"0".repeat(26)}` })).body.code).toBe(
      "user-not-found",
    );
    const made = await post(dirk.key, { name: "second", expires_in_seconds: 60 }).expect(201);
    expect(made.headers.location).toBe(`/api/v1/api-keys/${made.body.id}`);
    const remove = (key: string, id: string) =>
      request(api.url).delete(`/api/v1/api-keys/${id}`).set(bearer(key));
    expect((await remove(carla.key, made.body.id)).body.code).toBe("api-key-not-found");
    expect((await remove(carla.key, "key_nonsense")).body.code).toBe("api-key-not-found");
    await me(`Bearer ${made.body.key}`).expect(200);
    await remove(api.adminKey, made.body.id).expect(204);
    await remove(api.adminKey, made.body.id).expect(204);
    await me(`Bearer ${made.body.key}`).expect(401);
  });

  it.each([
    {},
    { name: "" },
    { name: "x", expires_in_seconds: 59 },
    { name: "x", expires_in_seconds: 31_536_001 },
    { name: "x", key: "mine" },
    { name: "x\ny" },
  ])("are not made from %j", async (body) => {
    const response = await request(api.url).post("/api/v1/api-keys").set(bearer(api.adminKey)).send(body);
    expect(response.body.code).toBe("invalid-request");
  });

  it("never appear in the log, whatever way they came in", async () => {
    const key = api.adminKey;
    await me(`Bearer ${key}`);
    await request(api.url).get(`/api/v1/me?key=${key}`).set("cookie", `key=${key}`).set("x-api-key", key);
    await request(api.url)
      .post("/api/v1/users")
      .set(bearer(key))
      .set("content-type", "application/json")
      .send(`{"key":"${key}`);
    await request(api.url).post("/api/v1/users").set(bearer(key)).send({ name: key, role: key });
    await request(api.url)
      .post("/api/v1/wolf-instances/register")
      .set(bearer(RUNNER_TOKEN))
      .send({ name: "" });
    const log = api.lines.join("");
    expect(api.lines.length).toBeGreaterThan(5);
    for (const secret of [key, RUNNER_TOKEN, API_KEY_SECRET]) expect(log).not.toContain(secret);
  });
});

describe("users", () => {
  let api: TestControlPlane;
  beforeAll(async () => {
    api = await startControlPlane();
  });
  afterAll(() => api.stop());

  it("have names of their own", async () => {
    await api.user("eva");
    const again = await request(api.url)
      .post("/api/v1/users")
      .set(bearer(api.adminKey))
      .send({ name: "eva", role: "user" });
    expect(again.body.code).toBe("user-exists");
  });

  it("are listed page by page, each exactly once", async () => {
    for (const name of ["u1", "u2", "u3", "u4"]) await api.user(name);
    const seen: string[] = [];
    let next: string | undefined = "/api/v1/users?limit=2";
    for (let pages = 0; next !== undefined && pages < 10; pages += 1) {
      const page: request.Response = await request(api.url).get(next).set(bearer(api.adminKey)).expect(200);
      const { body, headers } = page;
      expect(body.length).toBeLessThanOrEqual(2);
      seen.push(...body.map(({ name }: { name: string }) => name));
      next = /<([^>]+)>; rel="next"/.exec(headers.link ?? "")?.[1];
    }
    expect(seen).toEqual(["admin", "eva", "u1", "u2", "u3", "u4"]);
  });

  it.each(["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "page=2", "cursor=", "limit[a]=1"])(
    "are not listed by ?%s",
    async (query) => {
      const response = await request(api.url).get(`/api/v1/users?${query}`).set(bearer(api.adminKey));
      expect(response.body.code).toBe("invalid-request");
    },
  );
});

describe("the identity service", () => {
  let database: TestDatabase;
  const clock = manualClock();
  const log = createLogger("silent", { write: () => undefined });
  const store = () => prismaIdentityStore(database.prisma);
  const service = () =>
    createIdentityService({
      store: store(),
      clock,
      log,
      apiKeySecret: API_KEY_SECRET,
      runnerToken: RUNNER_TOKEN,
    });
  let adminKey = "";
  beforeAll(async () => {
    database = await testDatabase();
    await service().bootstrap((key) => {
      adminKey = key;
    });
  });
  afterAll(() => database.drop());
  const admin = async () => {
    const principal = await service().authenticate(bearer(adminKey));
    if (principal?.kind !== "user") throw new Error("the admin's key does not work");
    return principal;
  };

  it("makes the admin's key on the first boot only", async () => {
    const kept: string[] = [];
    expect(await service().bootstrap((key) => kept.push(key))).toBe(false);
    expect(kept).toEqual([]);
  });

  it("makes no valid key when the first one could not be kept, and tries again at the next boot", async () => {
    const other = await testDatabase();
    const identity = createIdentityService({
      store: prismaIdentityStore(other.prisma),
      clock,
      log,
      apiKeySecret: API_KEY_SECRET,
      runnerToken: RUNNER_TOKEN,
    });
    const full = () => {
      throw new Error("disk full");
    };
    await expect(identity.bootstrap(full)).rejects.toThrow("disk full");
    expect(await other.prisma.apiKey.count()).toBe(0);
    expect(await identity.bootstrap(() => undefined)).toBe(true);
    await other.drop();
  });

  it("keeps only an HMAC of a key, which another secret does not open", async () => {
    const rows = await database.prisma.apiKey.findMany();
    expect(JSON.stringify(rows)).not.toContain(adminKey.slice(10));
    const stolen = createIdentityService({
      store: store(),
      clock,
      log,
      apiKeySecret: "x".repeat(32),
      runnerToken: RUNNER_TOKEN,
    });
    expect(await stolen.authenticate(bearer(adminKey))).toBeUndefined();
  });

  it("takes a key until the moment it expires", async () => {
    const { key } = await service().createApiKey(await admin(), { name: "short", expires_in_seconds: 60 });
    clock.advance(59_999);
    expect(await service().authenticate(bearer(key))).toMatchObject({ kind: "user" });
    clock.advance(1);
    expect(await service().authenticate(bearer(key))).toBeUndefined();
  });

  it("writes a key's last use at most once a minute", async () => {
    const principal = await admin();
    const at = async () =>
      (
        await database.prisma.apiKey.findUnique({ where: { id: principal.credentialId } })
      )?.last_used_at?.getTime();
    const first = clock.now();
    await store().markUsed(principal.credentialId, first, 0);
    const before = await at();
    await store().markUsed(principal.credentialId, new Date(first.getTime() + 59_000), 60_000);
    expect(await at()).toBe(before);
    await store().markUsed(principal.credentialId, new Date(first.getTime() + 60_001), 60_000);
    expect(await at()).toBe(first.getTime() + 60_001);
  });

  it("never revokes the last usable key of an admin, not even when two are revoked at the same moment", async () => {
    const principal = await admin();
    const { record: second } = await service().createApiKey(principal, { name: "second" });
    await database.prisma.apiKey.updateMany({
      where: { id: { notIn: [principal.credentialId, second.id] } },
      data: { revoked_at: clock.now() },
    });
    const outcomes = await Promise.allSettled([
      service().revokeApiKey(principal, principal.credentialId),
      service().revokeApiKey(principal, second.id),
    ]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const [refused] = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(refused?.reason).toMatchObject({ code: "last-admin" });
    expect(await database.prisma.apiKey.count({ where: { revoked_at: null } })).toBe(1);
  });

  it("gives the admin another key when the file of the first is lost", async () => {
    let again = "";
    await service().resetAdminKey((key) => {
      again = key;
    });
    expect(await service().authenticate(bearer(again))).toMatchObject({ role: "admin" });
  });
});
