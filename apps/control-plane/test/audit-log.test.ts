/** The audit log as admins read it: filters, pages, the export. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { AuditEvent, wolfpackClient } from "@wolfpack/api-contract";
import request from "supertest";
import { ulid } from "ulid";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";

const as = (key: string) => ({ authorization: `Bearer ${key}` });
const start = Date.parse("2026-11-23T12:00:00.000Z");
const EVENTS = 1203;

let api: TestControlPlane;
let anna: { id: string; key: string };
/** Of the events below, the newest first. */
let ids: string[];
beforeAll(async () => {
  api = await startControlPlane();
  anna = await api.user("anna");
  const events = Array.from({ length: EVENTS }, (_, n) => ({
    id: `aud_${ulid(start + n * 1000)}`,
    at: new Date(start + n * 1000),
    actor: n % 3 === 0 ? "anonymous" : "user",
    actor_id: n % 3 === 0 ? null : `usr_${n % 3}`,
    action: n % 2 === 0 ? "session.create" : "wolf.remove",
    object: `obj_${n % 5}`,
    result: n % 7 === 0 ? "denied" : "allowed",
    request_id: "made",
    replica: "rep_1",
    detail: { n },
  }));
  await api.database.prisma.auditEvent.createMany({ data: events });
  ids = events.map(({ id }) => id).reverse();
});
afterAll(() => api.stop());

const list = (query: string, key = api.adminKey) =>
  request(api.url).get(`/api/v1/audit-events${query}`).set(as(key));
const linesOf = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => AuditEvent.parse(JSON.parse(line)));
const exported = async (query = "") => linesOf((await list(`/export${query}`).buffer().expect(200)).text);
const numbers = (events: AuditEvent[]) => events.map(({ detail }) => Number(detail.n));
const until = "since=2026-11-23T00:00:00.000Z&until=2026-11-23T13:00:00.000Z";

describe("the audit log", () => {
  it("shows the newest event first, page by page, each exactly once, also while there are new ones", async () => {
    const seen: string[] = [];
    let next: string | undefined = `?limit=200&${until}`;
    for (let pages = 0; next !== undefined; pages += 1) {
      const { body, headers }: request.Response = await list(next).expect(200);
      seen.push(...(body as AuditEvent[]).map(({ id }) => id));
      await api.user(`page-${pages}`);
      next = /<\/api\/v1\/audit-events([^>]+)>; rel="next"/.exec(headers.link ?? "")?.[1];
    }
    expect(seen).toEqual(ids);
  });

  it("shows everything of an event, and the one of a call under the id of its answer", async () => {
    const made = await request(api.url).post("/api/v1/users").set(as(api.adminKey)).send({ name: "bert" });
    const { body } = await list("?limit=1").expect(200);
    expect(body).toEqual([
      {
        id: expect.stringMatching(/^aud_/),
        at: expect.any(String),
        actor: "user",
        actor_id: expect.stringMatching(/^usr_/),
        actor_name: "admin",
        credential_id: expect.stringMatching(/^key_/),
        action: "user.create",
        object: made.body.id,
        object_name: "bert",
        result: "allowed",
        code: null,
        request_id: made.headers["x-request-id"],
        replica: expect.stringMatching(/^rep_/),
        address: expect.any(String),
        detail: {},
      },
    ]);
  });

  it.each<[string, (n: number) => boolean]>([
    ["actor_id=usr_1", (n) => n % 3 === 1],
    ["action=wolf.remove", (n) => n % 2 === 1],
    ["object=obj_4", (n) => n % 5 === 4],
    ["result=denied", (n) => n % 7 === 0],
    ["since=2026-11-23T12:10:00.000Z&until=2026-11-24T00:00:00.000Z", (n) => n >= 600],
    ["actor_id=usr_2&result=denied&object=obj_3", (n) => n % 3 === 2 && n % 7 === 0 && n % 5 === 3],
    ["since=2026-11-23T12:00:10.000Z&until=2026-11-23T12:00:20.000Z", (n) => n >= 10 && n < 20],
  ])("shows by %s what fits, in its pages and in its export", async (filter, fits) => {
    const expected = Array.from({ length: EVENTS }, (_, n) => n)
      .filter(fits)
      .reverse();
    const query = filter.includes("since") ? filter : `${filter}&${until}`;
    const { body } = await list(`?limit=200&${query}`).expect(200);
    expect(numbers(body)).toEqual(expected.slice(0, 200));
    expect(numbers(await exported(`?${query}`))).toEqual(expected);
  });

  it("says how those are called whom it names, and null of what is no more or never was", async () => {
    const { prisma } = api.database;
    const wolf = "wlf_01KB0000000000000000000009";
    await prisma.wolfInstance.create({ data: { id: wolf, name: "gpu-9" } });
    const at = new Date("2026-10-02T00:00:00.000Z");
    const rest = { at, action: "wolf.steer", result: "allowed", request_id: "named", replica: "rep_1" };
    const events = [
      { actor: "user", actor_id: anna.id, object: wolf },
      { actor: "agent", actor_id: wolf, object: anna.id },
      { actor: "user", actor_id: "usr_01KB0000000000000000000009", object: "gpu-9" },
      { actor: "system", actor_id: null, object: null },
    ].map((event, n) => ({ id: `aud_${ulid(at.getTime() + n)}`, ...rest, ...event }));
    await prisma.auditEvent.createMany({ data: events });
    const query = "?since=2026-10-02T00:00:00.000Z&until=2026-10-02T00:00:01.000Z";
    const named = [
      ["anna", "gpu-9"],
      ["gpu-9", "anna"],
      [null, null],
      [null, null],
    ].reverse();
    const namesOf = (some: AuditEvent[]) => some.map((event) => [event.actor_name, event.object_name]);
    expect(namesOf((await list(query)).body)).toEqual(named);
    expect(namesOf(await exported(query))).toEqual(named);
  });

  it("tells of a wolf that was steered how, though there is one action for all ways", async () => {
    const wolf = "wlf_01KB0000000000000000000008";
    await api.database.prisma.wolfInstance.create({ data: { id: wolf, name: "gpu-8" } });
    const steer = async (how: string, status: number) => {
      await request(api.url)
        .post(`/api/v1/wolf-instances/${wolf}/${how}`)
        .set(as(api.adminKey))
        .expect(status);
      return ((await list("?limit=1")).body as AuditEvent[])[0];
    };
    const entry = { action: "wolf.steer", object: wolf, object_name: "gpu-8" };
    for (const how of ["cordon", "maintenance", "drain", "uncordon", "retire"])
      expect(await steer(how, 200)).toMatchObject({ ...entry, result: "allowed", detail: { steering: how } });
    expect(await steer("cordon", 409)).toMatchObject({ ...entry, result: "failed", detail: {} });
  });

  it("shows by until an event whose id is of later, as after a clock was set back", async () => {
    const at = new Date("2026-10-01T00:00:00.000Z");
    const back = { id: `aud_${ulid(at.getTime() + 3_600_000)}`, at, actor: "system", action: "me.read" };
    const rest = { result: "allowed", request_id: "back", replica: "rep_1" };
    await api.database.prisma.auditEvent.create({ data: { ...back, ...rest } });
    const shown = async (query: string) => ((await list(query)).body as AuditEvent[]).length;
    expect(await shown("?until=2026-10-01T00:00:00.001Z")).toBe(1);
    expect(await shown("?until=2026-10-01T00:00:00.000Z")).toBe(0);
    expect(await shown("?since=2026-10-01T00:00:00.000Z&until=2026-10-01T00:00:01.000Z")).toBe(1);
    expect(await shown("?since=1969-12-31T00:00:00.000Z&until=1970-01-01T00:00:00.000Z")).toBe(0);
  });

  it.each([
    "?limit=0",
    "?action=all",
    "?result=maybe",
    "?since=yesterday",
    "?cursor=1",
    "?actor_id=",
    "?actor=user",
    "/export?limit=5",
    "/export?until=now",
  ])("refuses %s", async (query) => {
    expect((await list(query)).body.code).toBe("invalid-request");
  });

  describe("for others", () => {
    let before: number;
    const denied = () => api.database.prisma.auditEvent.count({ where: { action: "audit.read" } });
    beforeEach(async () => {
      before = await denied();
    });

    it.each(["", "/export"])("is closed%s, and that they tried is in it", async (path) => {
      expect((await list(path, anna.key)).body.code).toBe("forbidden");
      expect((await list(path, RUNNER_TOKEN)).body.code).toBe("forbidden");
      expect((await request(api.url).get(`/api/v1/audit-events${path}`)).body.code).toBe("unauthenticated");
      expect((await denied()) - before).toBe(3);
    });

    it("is not written when an admin reads it", async () => {
      await list("").expect(200);
      await exported();
      expect((await denied()) - before).toBe(0);
    });
  });

  it("is exported whole, the newest first, as the typed client streams it", async () => {
    const client = wolfpackClient({ baseUrl: api.url, apiKey: api.adminKey });
    const { status, headers, body } = await client.exportAuditEvents({
      query: { since: "2026-11-23T00:00:00.000Z", until: "2026-11-23T13:00:00.000Z" },
    });
    expect([status, headers.get("content-type")]).toEqual([200, "application/x-ndjson"]);
    expect(linesOf(await new Response(body).text()).map(({ id }) => id)).toEqual(ids);
  });

  it("says before the first line that it cannot be read, as an ordinary problem", async () => {
    await api.database.prisma.$executeRawUnsafe("ALTER TABLE audit_event RENAME TO audit_event_away");
    try {
      const { status, headers, body } = await list("/export");
      expect([status, headers["content-type"], body.code]).toEqual([
        500,
        "application/problem+json",
        "internal",
      ]);
    } finally {
      await api.database.prisma.$executeRawUnsafe("ALTER TABLE audit_event_away RENAME TO audit_event");
    }
    await request(api.url).head("/api/v1/audit-events/export").set(as(api.adminKey)).expect(200);
  });
});
