/** Users as admins manage them: what changes, who loses what by it, and who cannot be lost. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import request from "supertest";
import { createIdentityService } from "../src/identity/identity-service.ts";
import { prismaIdentityStore } from "../src/identity/identity-store.prisma.ts";
import type { UserRecord } from "../src/identity/identity-store.ts";
import { REVOKED_CHANNEL } from "../src/identity/revocation-store.prisma.ts";
import { newId } from "../src/ids.ts";
import { createLogger } from "../src/logger.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { manualClock } from "./manual-clock.ts";

const as = (key: string) => ({ authorization: `Bearer ${key}` });

describe("a user", () => {
  let api: TestControlPlane;
  beforeAll(async () => {
    api = await startControlPlane();
  });
  afterAll(() => api.stop());

  const show = (id: string) => request(api.url).get(`/api/v1/users/${id}`).set(as(api.adminKey));
  const change = (id: string, body: object, headers: Record<string, string> = {}) =>
    request(api.url).patch(`/api/v1/users/${id}`).set(as(api.adminKey)).set(headers).send(body);
  const me = (key: string) => request(api.url).get("/api/v1/me").set(as(key));
  const revocations = (id: string) =>
    api.database.prisma.revocation.findMany({ where: { object_id: id }, select: { kind: true } });

  it("is made with a URL of its own, where it is shown as it is", async () => {
    const made = await request(api.url)
      .post("/api/v1/users")
      .set(as(api.adminKey))
      .send({ name: "anna" })
      .expect(201);
    const { body, headers } = await request(api.url)
      .get(String(made.headers.location))
      .set(as(api.adminKey))
      .expect(200);
    expect(body).toEqual(made.body);
    expect(body).toEqual({
      id: expect.stringMatching(/^usr_/),
      name: "anna",
      role: "user",
      disabled: false,
      sessions_max: null,
      creates_per_minute: null,
      revision: 1,
      created_at: expect.any(String),
    });
    expect(headers.etag).toMatch(/^"[\w-]{22,}"$/);
  });

  it("gets another role and quotas, and keeps what is not named", async () => {
    const { id, key } = await api.user("bert");
    const first = await change(id, { role: "operator", sessions_max: 3 }).expect(200);
    expect(first.body).toMatchObject({
      role: "operator",
      sessions_max: 3,
      creates_per_minute: null,
      revision: 2,
    });
    const second = await change(id, { sessions_max: null, creates_per_minute: 0 }).expect(200);
    expect(second.body).toMatchObject({
      name: "bert",
      role: "operator",
      sessions_max: null,
      creates_per_minute: 0,
    });
    expect(second.body.revision).toBe(3);
    expect((await me(key).expect(200)).body).toMatchObject(second.body);
  });

  it.each([
    {},
    { name: "other" },
    { role: "root" },
    { role: null },
    { disabled: "yes" },
    { sessions_max: -1 },
    { sessions_max: 1.5 },
    { creates_per_minute: "5" },
    { revision: 7 },
    { id: "usr_1" },
  ])("is not changed by %j", async (body) => {
    const { id } = await api.user(`strict-${newId("usr")}`);
    expect((await change(id, body)).body.code).toBe("invalid-request");
    expect((await show(id)).body.revision).toBe(1);
  });

  it("that does not exist is neither shown nor changed", async () => {
    for (const id of [newId("usr"), "usr_nonsense"]) {
      expect((await show(id)).body.code).toBe("user-not-found");
      expect((await change(id, { role: "viewer" })).body.code).toBe("user-not-found");
    }
  });

  it("is changed under If-Match only while it is what its reader saw", async () => {
    const { id } = await api.user("carl");
    const { etag = "" } = (await show(id)).headers;
    const changed = await change(id, { role: "viewer" }, { "if-match": `"other", ${etag}` }).expect(200);
    expect(changed.headers.etag).not.toBe(etag);
    expect(changed.headers.etag).toBe((await show(id)).headers.etag);
    const stale = await change(id, { role: "admin" }, { "if-match": etag });
    expect([stale.status, stale.body.code]).toEqual([412, "precondition-failed"]);
    for (const wrong of ["", `W/${changed.headers.etag}`, String(changed.headers.etag).slice(1, -1)])
      expect((await change(id, { role: "admin" }, { "if-match": wrong })).status).toBe(412);
    await change(id, { role: "operator" }, { "if-match": "*" }).expect(200);
    expect((await show(id)).body).toMatchObject({ role: "operator", revision: 3 });
  });

  it("is changed by one of those who change it at the same moment under the same If-Match", async () => {
    const { id } = await api.user("cora");
    const { etag = "" } = (await show(id)).headers;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => change(id, { sessions_max: n }, { "if-match": etag })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
    expect((await show(id)).body.revision).toBe(2);
  });

  it("loses no change to another that is made at the same moment", async () => {
    const { id } = await api.user("dora");
    await Promise.all([
      ...Array.from({ length: 8 }, () => change(id, { sessions_max: 7 }).expect(200)),
      ...Array.from({ length: 8 }, () => change(id, { creates_per_minute: 8 }).expect(200)),
      change(id, { role: "viewer" }).expect(200),
    ]);
    expect((await show(id)).body).toMatchObject({
      role: "viewer",
      sessions_max: 7,
      creates_per_minute: 8,
      revision: 18,
    });
  });

  it("that is disabled opens nothing with any key, until it is enabled", async () => {
    const { id, key } = await api.user("eva");
    const other = await request(api.url)
      .post("/api/v1/api-keys")
      .set(as(key))
      .send({ name: "b" })
      .expect(201);
    expect((await change(id, { disabled: true }).expect(200)).body.disabled).toBe(true);
    for (const each of [key, other.body.key]) expect((await me(each)).status).toBe(401);
    await change(id, { disabled: true }).expect(200);
    await change(id, { disabled: false }).expect(200);
    for (const each of [key, other.body.key]) expect((await me(each)).status).toBe(200);
  });

  it("that is disabled loses the browsers' sessions for good, and every replica hears of it", async () => {
    const { id, key } = await api.user("frida");
    const { id: keyId } = await api.database.prisma.apiKey.findFirstOrThrow({ where: { user_id: id } });
    const times = { created_at: new Date(), expires_at: new Date(Date.now() + 60_000) };
    const hash = new Uint8Array(32).fill(1);
    const web = { id: newId("web"), user_id: id, api_key_id: keyId, hash, ...times };
    await api.database.prisma.webSession.create({ data: web });
    const listener = new pg.Client({ connectionString: api.database.url });
    await listener.connect();
    const heard = new Promise<string>((resolve) => {
      listener.on("notification", ({ payload }) => resolve(payload ?? ""));
    });
    await listener.query(`LISTEN ${REVOKED_CHANNEL}`);
    await change(id, { disabled: true }).expect(200);
    expect(await heard).toMatch(new RegExp(`^rvc_\\w+ user ${id}$`));
    await listener.end();
    await change(id, { disabled: false }).expect(200);
    expect(await revocations(id)).toEqual([{ kind: "user" }]);
    const kept = await api.database.prisma.webSession.findUniqueOrThrow({ where: { id: web.id } });
    expect(kept.revoked_at).not.toBeNull();
    await me(key).expect(200);
  });

  it("whose role changes is told to every replica, other changes are not", async () => {
    const { id } = await api.user("gerd");
    await change(id, { sessions_max: 1 }).expect(200);
    await change(id, { role: "user" }).expect(200);
    expect(await revocations(id)).toEqual([]);
    await change(id, { role: "viewer" }).expect(200);
    expect(await revocations(id)).toEqual([{ kind: "user" }]);
  });

  it("whose key is revoked loses what that key opened in browsers, in the same moment", async () => {
    const { id, key } = await api.user("hans");
    const { id: keyId } = await api.database.prisma.apiKey.findFirstOrThrow({ where: { user_id: id } });
    const times = { created_at: new Date(), expires_at: new Date(Date.now() + 60_000) };
    const hash = new Uint8Array(32).fill(2);
    const web = { id: newId("web"), user_id: id, api_key_id: keyId, hash, ...times };
    await api.database.prisma.webSession.create({ data: web });
    await request(api.url).delete(`/api/v1/api-keys/${keyId}`).set(as(key)).expect(204);
    expect(await revocations(keyId)).toEqual([{ kind: "api-key" }]);
    expect(await revocations(web.id)).toEqual([{ kind: "web-session" }]);
    expect(await api.database.prisma.webSession.count({ where: { id: web.id, revoked_at: null } })).toBe(0);
  });

  it("is found in the list by name, role and whether it is disabled; keys by user and whether they are revoked", async () => {
    const ina = await api.user("ina", "viewer");
    const jan = await api.user("jan", "viewer");
    await change(jan.id, { disabled: true }).expect(200);
    const list = async (what: string, key = api.adminKey) => {
      const { body } = await request(api.url).get(`/api/v1/${what}`).set(as(key)).expect(200);
      return (body as { id: string; name: string; user_id?: string }[]).map(({ name }) => name);
    };
    expect(await list("users?name=ina")).toEqual(["ina"]);
    expect(await list("users?role=viewer&disabled=true")).toEqual(["jan"]);
    expect(await list("users?role=viewer&disabled=false&name=ina")).toEqual(["ina"]);
    expect(await list("users?name=nobody")).toEqual([]);
    const { body } = await request(api.url).post("/api/v1/api-keys").set(as(ina.key)).send({ name: "gone" });
    await request(api.url).delete(`/api/v1/api-keys/${body.id}`).set(as(ina.key)).expect(204);
    expect(await list(`api-keys?user_id=${ina.id}`)).toEqual(["test", "gone"]);
    expect(await list(`api-keys?user_id=${ina.id}&revoked=true`)).toEqual(["gone"]);
    expect(await list("api-keys?revoked=false", ina.key)).toEqual(["test"]);
    expect(await list(`api-keys?user_id=${jan.id}`, ina.key)).toEqual([]);
    for (const query of ["users?disabled=yes", "users?role=root", "api-keys?user_id=1", "api-keys?revoked="])
      await request(api.url).get(`/api/v1/${query}`).set(as(api.adminKey)).expect(400);
  });
});

describe("the last admin", () => {
  let database: TestDatabase;
  const clock = manualClock();
  const store = () => prismaIdentityStore(database.prisma);
  const service = () =>
    createIdentityService({
      store: store(),
      clock,
      log: createLogger("silent", { write: () => undefined }),
      apiKeySecret: API_KEY_SECRET,
      runnerToken: RUNNER_TOKEN,
    });
  beforeAll(async () => {
    database = await testDatabase();
    await service().bootstrap(() => undefined);
  });
  afterAll(() => database.drop());

  const first = async () => (await store().userByName("admin")) as UserRecord;
  async function anAdmin(key: { scopes?: string[]; expires_at?: Date; revoked_at?: Date } | undefined) {
    const { id } = await service().createUser({ name: newId("usr"), role: "admin" });
    if (key === undefined) return id;
    const hash = new Uint8Array(Buffer.from(id.padEnd(32)));
    const names = { id: newId("key"), user_id: id, name: "k", prefix: "wpk_" };
    await database.prisma.apiKey.create({ data: { ...names, hash, created_at: clock.now(), ...key } });
    return id;
  }
  const isAdmin = async ({ role, disabled }: UserRecord) => role === "admin" && !disabled;

  it("can neither be disabled nor lose the role, beside admins who could not sign in or manage nothing", async () => {
    await anAdmin(undefined);
    await anAdmin({ expires_at: clock.now() });
    await anAdmin({ revoked_at: clock.now() });
    await anAdmin({ scopes: ["read", "fleet"] });
    const disabled = await anAdmin({});
    await service().changeUser(disabled, { disabled: true });
    const { id } = await first();
    for (const changes of [{ disabled: true }, { role: "operator" as const }])
      await expect(service().changeUser(id, changes)).rejects.toMatchObject({ code: "last-admin" });
    await service().changeUser(id, { sessions_max: 4 });
    expect(await isAdmin(await first())).toBe(true);
  });

  it("is not replaced by a key of a disabled admin when its own is revoked", async () => {
    const { id } = await first();
    const [key] = await store().apiKeys({ userId: id, limit: 1, after: undefined });
    expect(await store().revokeApiKey(String(key?.id), clock.now())).toBe("last-admin");
  });

  it("remains, whoever is disabled, demoted or loses a key at the same moment: 40 rounds", async () => {
    for (let round = 0; round < 40; round += 1) {
      const { id } = await first();
      const other = await anAdmin({});
      const [key] = await store().apiKeys({ userId: other, limit: 1, after: undefined });
      const outcomes = await Promise.allSettled([
        service().changeUser(id, round % 2 === 0 ? { disabled: true } : { role: "user" }),
        round % 3 === 0
          ? store()
              .revokeApiKey(String(key?.id), clock.now())
              .then((end) => (end === "last-admin" ? Promise.reject({ code: end }) : end))
          : service().changeUser(other, { disabled: true }),
      ]);
      const refused = outcomes.filter((outcome) => outcome.status === "rejected");
      expect(refused.map(({ reason }) => reason.code)).toEqual(["last-admin"]);
      await service().changeUser(id, { role: "admin", disabled: false });
      await service().changeUser(other, { role: "viewer" });
    }
  });

  it("comes back with a key for whoever may write the data directory, though disabled and demoted", async () => {
    const { id } = await first();
    await anAdmin({});
    await service().changeUser(id, { role: "viewer", disabled: true });
    let key = "";
    await service().resetAdminKey((made) => {
      key = made;
    });
    expect(await service().authenticate(as(key))).toMatchObject({ userId: id, role: "admin" });
  });
});
