/** One event for every call that changes something or is denied, and none for others. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import request from "supertest";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";

let api: TestControlPlane;
let anna: { id: string; key: string };
beforeAll(async () => {
  api = await startControlPlane();
  anna = await api.user("anna");
});
afterAll(() => api.stop());

let seen = new Set<string>();
const rows = () => api.database.prisma.auditEvent.findMany({ orderBy: { id: "asc" } });
const news = async () => (await rows()).filter(({ id }) => !seen.has(id));
beforeEach(async () => {
  seen = new Set((await rows()).map(({ id }) => id));
});

const as = (key: string) => ({ authorization: `Bearer ${key}` });
const users = (key: string, body: object) => request(api.url).post("/api/v1/users").set(as(key)).send(body);

describe("the audit log", () => {
  it("has one event for a change: who, with which credential, what, to which object", async () => {
    const { body, headers } = await users(api.adminKey, { name: "bert" }).expect(201);
    const [admin] = await api.database.prisma.user.findMany({ where: { name: "admin" } });
    expect(await news()).toEqual([
      expect.objectContaining({
        actor: "user",
        actor_id: admin?.id,
        credential_id: expect.stringMatching(/^key_/),
        action: "user.create",
        object: body.id,
        result: "allowed",
        code: null,
        request_id: headers["x-request-id"],
        replica: expect.stringMatching(/^rep_/),
        address: expect.stringContaining("127.0.0.1"),
      }),
    ]);
  });

  it("keeps of an id that can be none what can be stored and printed", async () => {
    await request(api.url).delete("/api/v1/api-keys/%00%1b[31m%e2%80%ae").set(as(api.adminKey)).expect(404);
    expect(await news()).toEqual([
      expect.objectContaining({ object: "??[31m?", result: "failed", code: "api-key-not-found" }),
    ]);
  });

  it.each<[string, Record<string, string>, string, string]>([
    ["without a credential", {}, "unauthenticated", "anonymous"],
    ["with a wrong one", as(`wpk_${"A".repeat(43)}`), "unauthenticated", "anonymous"],
    ["with the runner's", as(RUNNER_TOKEN), "forbidden", "runner-token"],
  ])(
    "has one for a call %s, which is denied even where it would only read",
    async (_how, headers, code, actor) => {
      for (const path of ["users", "sessions"]) {
        await request(api.url).get(`/api/v1/${path}`).set(headers);
        const events = await news();
        expect(events).toHaveLength(1);
        expect(events[0]).toMatchObject({ actor, result: "denied", code, object: null });
        seen.add(String(events[0]?.id));
      }
    },
  );

  it("has one for an object of somebody else, though its caller is told that it does not exist", async () => {
    const bert = await api.user("berta");
    const [key] = await api.database.prisma.apiKey.findMany({ where: { user_id: bert.id } });
    seen = new Set((await rows()).map(({ id }) => id));
    const path = `/api/v1/api-keys/${key?.id}`;
    expect((await request(api.url).delete(path).set(as(anna.key))).body.code).toBe("api-key-not-found");
    const denied = { actor_id: anna.id, action: "api-key.revoke", object: key?.id, result: "denied" };
    expect(await news()).toEqual([expect.objectContaining(denied)]);
  });

  it("has one for a change that failed, with the reason", async () => {
    await users(api.adminKey, { name: "anna" });
    await users(api.adminKey, { name: "" });
    await users(api.adminKey, {}).set("content-type", "text/plain").send("x");
    expect((await news()).map(({ result, code }) => [result, code])).toEqual([
      ["failed", "user-exists"],
      ["failed", "invalid-request"],
      ["failed", "unsupported-media-type"],
    ]);
  });

  it("has none for what is allowed and only reads, or does not exist", async () => {
    await request(api.url).get("/api/v1/me").set(as(anna.key)).expect(200);
    await request(api.url).get("/api/v1/sessions").set(as(anna.key)).expect(200);
    await request(api.url).get("/api/v1/nothing").set(as(anna.key)).expect(404);
    await request(api.url).get("/healthz").expect(200);
    expect(await news()).toEqual([]);
  });

  it("holds no secret of what was asked", async () => {
    await users(api.adminKey, { name: anna.key, role: anna.key });
    await request(api.url)
      .delete(`/api/v1/api-keys/${"x".repeat(500)}`)
      .set(as(anna.key));
    const text = JSON.stringify(await rows());
    for (const secret of [api.adminKey, anna.key, RUNNER_TOKEN]) expect(text).not.toContain(secret);
    for (const { object } of await rows()) expect((object ?? "").length).toBeLessThanOrEqual(64);
  });

  it.each(["%00", "a%0ab", "%ED%A0%80", "%F0%9F%90%BA"])(
    "takes %s for the id of an object, too",
    async (id) => {
      const { status, body } = await request(api.url).delete(`/api/v1/api-keys/${id}`).set(as(anna.key));
      expect(status).toBeLessThan(500);
      if (body.code === "api-key-not-found") expect(await news()).toHaveLength(1);
    },
  );

  it.each(["UPDATE audit_event SET actor = 'system'", "DELETE FROM audit_event", "TRUNCATE audit_event"])(
    "is append only: %s is refused by the database",
    async (statement) => {
      const before = (await rows()).length;
      expect(before).toBeGreaterThan(0);
      await expect(api.database.prisma.$executeRawUnsafe(statement)).rejects.toThrow(/append only/);
      expect((await rows()).length).toBe(before);
    },
  );

  it("not being written is not acknowledged: the caller hears that the call failed", async () => {
    await api.database.prisma.$executeRawUnsafe("ALTER TABLE audit_event RENAME TO audit_event_away");
    try {
      const change = await users(api.adminKey, { name: "carl" });
      expect([change.status, change.body.code]).toEqual([500, "internal"]);
      const denied = await request(api.url).get("/api/v1/users").set(as(anna.key));
      expect([denied.status, denied.body.code]).toEqual([500, "internal"]);
      await request(api.url).get("/api/v1/me").set(as(anna.key)).expect(200);
    } finally {
      await api.database.prisma.$executeRawUnsafe("ALTER TABLE audit_event_away RENAME TO audit_event");
    }
  });
});

describe("a key that is limited to scopes", () => {
  const make = (key: string, body: object) =>
    request(api.url).post("/api/v1/api-keys").set(as(key)).send(body);

  it("opens what has them and nothing else", async () => {
    const { body } = await make(anna.key, { name: "reader", scopes: ["read"] }).expect(201);
    expect(body.scopes).toEqual(["read"]);
    await request(api.url).get("/api/v1/sessions").set(as(body.key)).expect(200);
    expect((await request(api.url).post("/api/v1/sessions").set(as(body.key)).send({})).body.code).toBe(
      "forbidden",
    );
    expect((await make(body.key, { name: "more" })).body.code).toBe("forbidden");
  });

  it("makes none that may do more, and hands its own on", async () => {
    const { body } = await make(anna.key, { name: "keeper", scopes: ["identity", "read"] }).expect(201);
    expect((await make(body.key, { name: "more", scopes: ["sessions"] })).body.code).toBe("forbidden");
    expect((await make(body.key, { name: "same" }).expect(201)).body.scopes).toEqual(["identity", "read"]);
  });

  it.each([[[]], [["read", "read"]], [["root"]], ["read"], [null]])(
    "is not made with scopes %j",
    async (given) => {
      expect((await make(anna.key, { name: "x", scopes: given })).body.code).toBe("invalid-request");
    },
  );
});
