import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { FleetState, WolfInstance } from "@wolfpack/api-contract";
import request from "supertest";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import { newId } from "../ids.ts";

let api: TestControlPlane;
let user: { id: string; key: string };
let operator: { id: string; key: string };

beforeAll(async () => {
  // No look of the health monitor undoes what a test writes into the fleet's row.
  api = await startControlPlane({ healthIntervalMs: 3_600_000 });
  user = await api.user("anna");
  operator = await api.user("otto", "operator");
});
beforeEach(async () => {
  await api.database.prisma.session.deleteMany();
  await api.database.prisma.wolfInstance.deleteMany();
});
afterAll(() => api.stop());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const post = (path: string, body: object | undefined, key = RUNNER_TOKEN) => {
  const call = request(api.url).post(`/api/v1/wolf-instances/${path}`).set(bearer(key));
  return body === undefined ? call : call.send(body);
};
const get = (path = "", key = user.key) =>
  request(api.url).get(`/api/v1/wolf-instances${path}`).set(bearer(key));
const remove = (path: string, key = api.adminKey) =>
  request(api.url).delete(`/api/v1/wolf-instances/${path}`).set(bearer(key));
const register = async (name: string, more: object = {}): Promise<WolfInstance> =>
  (await post("register", { name, ...more }).expect(200)).body;

async function addSession(wolfId: string): Promise<string> {
  const id = newId("ses");
  const now = new Date();
  await api.database.prisma.wolfInstance.update({
    where: { id: wolfId },
    data: { connected_sandboxes: { increment: 1 } },
  });
  await api.database.prisma.session.create({
    data: {
      id,
      owner_id: user.id,
      name: "s",
      status: "running",
      wolf_instance_id: wolfId,
      spec: { image: "x", gpu_type: null, resolution: { width: 1920, height: 1080, refresh_rate: 60 } },
      placement: { policy: "least-loaded", candidates: 1, removed: [], ranked: [], text: "" },
      slot_held: true,
      created_at: now,
      updated_at: now,
    },
  });
  return id;
}

describe("POST /wolf-instances/register", () => {
  it("answers 200 with the whole record, defaults filled in", async () => {
    const wolf = await register("wolf-1");
    expect(WolfInstance.parse(wolf)).toEqual(wolf);
    expect(wolf).toMatchObject({
      name: "wolf-1",
      address: "",
      status: "online",
      gpu_type: "none",
      connected_sandboxes: 0,
      max_sandboxes: 12,
      tunnel: null,
      labels: {},
      region: null,
      gpu_model: null,
      capacity: {
        slots: { max: 12, claimed: 0, other: 0 },
        vram_mb: { max: null, claimed: 0, other: 0 },
        encoder_sessions: { max: null, claimed: 0, other: 0 },
      },
      quarantine: null,
      intent: "active",
      intent_reason: null,
      drain: null,
    });
    expect(wolf.last_heartbeat).not.toBeNull();
  });

  it("takes how many streams the GPU can encode at once", async () => {
    const { capacity } = await register("wolf-1", { encoder_sessions_max: 8 });
    expect(capacity?.encoder_sessions).toEqual({ max: 8, claimed: 0, other: 0 });
    expect((await register("wolf-1")).capacity?.encoder_sessions.max).toBeNull();
  });

  it("of the same name again resumes the same instance, with the new description", async () => {
    const first = await register("wolf-1", { gpu_type: "amd", address: "10.0.0.1:1" });
    const again = await register("wolf-1", { gpu_type: "nvidia", max_sandboxes: 3, labels: { rack: "7" } });
    expect(again).toMatchObject({
      id: first.id,
      created_at: first.created_at,
      gpu_type: "nvidia",
      max_sandboxes: 3,
      labels: { rack: "7" },
      address: "",
    });
  });

  it("is open to an admin, and to no user and nobody", async () => {
    await post("register", { name: "wolf-1" }, api.adminKey).expect(200);
    expect((await post("register", { name: "wolf-2" }, user.key).expect(403)).body.code).toBe("forbidden");
    const { body } = await request(api.url)
      .post("/api/v1/wolf-instances/register")
      .send({ name: "w" })
      .expect(401);
    expect(body.code).toBe("unauthenticated");
    expect((await get()).body).toHaveLength(1);
  });

  const bad: [string, object, string][] = [
    ["no name", {}, "body.name"],
    ["a name with a slash", { name: "a/b" }, "body.name"],
    ["a name that begins with a dot", { name: ".." }, "body.name"],
    ["a name of 64 characters", { name: "x".repeat(64) }, "body.name"],
    ["a name with a newline", { name: "wolf-1\n" }, "body.name"],
    ["fewer than no slots", { name: "a", max_sandboxes: -1 }, "body.max_sandboxes"],
    ["too many slots", { name: "a", max_sandboxes: 1001 }, "body.max_sandboxes"],
    ["half a slot", { name: "a", max_sandboxes: 1.5 }, "body.max_sandboxes"],
    ["slots as text", { name: "a", max_sandboxes: "4" }, "body.max_sandboxes"],
    ["a GPU that is no text", { name: "a", gpu_type: 1 }, "body.gpu_type"],
    ["a GPU with a newline", { name: "a", gpu_type: "amd\n" }, "body.gpu_type"],
    ["a name that looks like an id", { name: newId("wlf") }, "body.name"],
    ["an unknown field", { name: "a", epoch: 9 }, "body.epoch"],
    ["NUL in a label", { name: "a", labels: { x: "\u0000" } }, "body.labels.x"],
    ["half a character in a label", { name: "a", labels: { x: "\ud800" } }, "body.labels.x"],
    ["too many labels", { name: "a", labels: labels(33) }, "body.labels"],
    ["a negative price", { name: "a", cost_per_hour: -1 }, "body.cost_per_hour"],
    ["no streams", { name: "a", encoder_sessions_max: 0 }, "body.encoder_sessions_max"],
    ["a clock of its own", { name: "a", time: "1999-12-31T23:59:59.000Z" }, "body.time"],
  ];

  function labels(count: number): Record<string, string> {
    return Object.fromEntries(Array.from({ length: count }, (_, i) => [`l${i}`, ""]));
  }

  it.each(bad)("with %s is refused, names the place and makes no wolf", async (_what, body, path) => {
    const answer = await post("register", body).expect(400);
    expect(answer.body.code).toBe("invalid-request");
    expect(answer.body.errors[0].path).toBe(path);
    expect((await get()).body).toEqual([]);
  });

  it("at the limits is taken", async () => {
    const wolf = await register("x".repeat(63), {
      max_sandboxes: 1000,
      labels: labels(32),
      address: "ü".repeat(255),
      region: "r".repeat(63),
      cost_per_hour: 0,
    });
    expect(wolf.max_sandboxes).toBe(1000);
    expect(Object.keys(wolf.labels)).toHaveLength(32);
  });
});

describe("POST /wolf-instances/{id}/heartbeat", () => {
  it("answers 200 {status: ok} with and without a body, and moves last_heartbeat", async () => {
    const wolf = await register("wolf-1");
    const before = new Date(Date.now() - 3_600_000);
    await api.database.prisma.wolfInstance.update({
      where: { id: wolf.id },
      data: { last_heartbeat: before, connectivity: "lost" },
    });
    expect((await get(`/${wolf.id}`)).body.status).toBe("offline");
    expect((await post(`${wolf.id}/heartbeat`, undefined).expect(200)).body).toEqual({ status: "ok" });
    const after = (await get(`/${wolf.id}`)).body;
    expect(after.status).toBe("online");
    expect(Date.parse(after.last_heartbeat)).toBeGreaterThan(before.getTime());
    expect((await post(`${wolf.id}/heartbeat`, {}).expect(200)).body).toEqual({ status: "ok" });
  });

  it("takes a new GPU type and capacity, and counts sandboxes for itself", async () => {
    const { id } = await register("wolf-1");
    await post(`${id}/heartbeat`, { gpu_type: "intel", max_sandboxes: 2, connected_sandboxes: 99 }).expect(
      200,
    );
    expect((await get(`/${id}`)).body).toMatchObject({
      gpu_type: "intel",
      max_sandboxes: 2,
      connected_sandboxes: 0,
    });
  });

  it("of a wolf that is not there answers 404, whatever its id looks like", async () => {
    for (const id of [newId("wlf"), newId("ses"), "1", "%00", "..%2fregister", "wlf_' OR 1=1"]) {
      const answer = await post(`${encodeURI(id)}/heartbeat`, {});
      expect([id, answer.status, answer.body.code]).toEqual([id, 404, "wolf-not-found"]);
    }
  });

  it("counts at the control plane's time, whatever the host thinks it is", async () => {
    const { id, last_heartbeat } = await register("wolf-1");
    await post(`${id}/heartbeat`, {}).set("date", "Fri, 31 Dec 1999 23:59:59 GMT").expect(200);
    const after = Date.parse((await get(`/${id}`)).body.last_heartbeat);
    expect(after).toBeGreaterThanOrEqual(Date.parse(last_heartbeat ?? ""));
    expect(after).toBeLessThanOrEqual(Date.now());
  });

  it("with a wrong body is refused and does not count as a beat", async () => {
    const { id, last_heartbeat } = await register("wolf-1");
    for (const body of [{ max_sandboxes: 0 }, { connected_sandboxes: -1 }, { status: "ok" }, []])
      expect((await post(`${id}/heartbeat`, body).expect(400)).body.code).toBe("invalid-request");
    const answer = await post(`${id}/heartbeat`, undefined).set("content-type", "application/json").send("{");
    expect([answer.status, answer.body.code]).toEqual([400, "malformed-json"]);
    expect((await get(`/${id}`)).body.last_heartbeat).toBe(last_heartbeat);
  });

  it("is closed to users", async () => {
    const { id } = await register("wolf-1");
    await post(`${id}/heartbeat`, {}, user.key).expect(403);
  });
});

describe("GET /wolf-instances", () => {
  it("is an array that pages by limit and cursor through Link", async () => {
    const names = ["c", "a", "b", "e", "d"];
    for (const name of names) await register(name, { gpu_type: "amd" });
    const seen: string[] = [];
    const pages: number[] = [];
    for (let path: string | undefined = "/api/v1/wolf-instances?limit=2&gpu_type=amd"; path; ) {
      const page: request.Response = await request(api.url).get(path).set(bearer(user.key)).expect(200);
      pages.push(page.body.length);
      seen.push(...page.body.map(({ name }: WolfInstance) => name));
      path = /^<([^>]+)>; rel="next"$/.exec(page.headers.link ?? "")?.[1];
    }
    expect(pages).toEqual([2, 2, 1]);
    expect(seen).toEqual(names);
  });

  it("is empty without wolves and has no Link", async () => {
    const answer = await get().expect(200);
    expect(answer.body).toEqual([]);
    expect(answer.headers.link).toBeUndefined();
  });

  it("filters by status, GPU type and name", async () => {
    await register("a", { gpu_type: "amd" });
    const b = await register("b", { gpu_type: "nvidia" });
    await api.database.prisma.wolfInstance.update({ where: { id: b.id }, data: { connectivity: "lost" } });
    const names = async (query: string) => (await get(query)).body.map(({ name }: WolfInstance) => name);
    expect(await names("?status=online")).toEqual(["a"]);
    expect(await names("?status=offline&gpu_type=nvidia")).toEqual(["b"]);
    expect(await names("?status=offline&gpu_type=amd")).toEqual([]);
    expect(await names("?name=a")).toEqual(["a"]);
  });

  it("filters by region and intent, on every page", async () => {
    await register("a", { region: "us" });
    const b = await register("b", { region: "eu west/1" });
    const c = await register("c", { region: "eu west/1" });
    for (const { id } of [b, c])
      await api.database.prisma.wolfInstance.update({ where: { id }, data: { intent: "cordoned" } });
    const names = async (query: string) => (await get(query)).body.map(({ name }: WolfInstance) => name);
    expect(await names("?region=eu%20west%2F1")).toEqual(["b", "c"]);
    expect(await names("?region=us&intent=cordoned")).toEqual([]);
    expect(await names("?region=us&intent=active")).toEqual(["a"]);
    const first = await get("?intent=cordoned&region=eu%20west%2F1&limit=1");
    const [, next = ""] = /^<([^>]+)>; rel="next"$/.exec(first.headers.link ?? "") ?? [];
    const second = await request(api.url).get(next).set(bearer(user.key)).expect(200);
    expect([first, second].map(({ body }) => body.map(({ name }: WolfInstance) => name))).toEqual([
      ["b"],
      ["c"],
    ]);
    expect(second.headers.link).toBeUndefined();
  });

  it.each([
    "limit=0",
    "limit=1001",
    "limit=x",
    "limit=1&limit=2",
    "status=lost",
    "gpu_type=x",
    "intent=online",
    "intent=",
    "intent=active&intent=cordoned",
    "region=",
    "region=a%0Ab",
    "region=a&region=b",
    `region=${"r".repeat(64)}`,
    "name=a%20b",
    "sort=id",
    "cursor=%27",
    "cursor=zzz",
    "cursor=ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  ])("with ?%s is refused", async (query) => {
    expect((await get(`?${query}`).expect(400)).body.code).toBe("invalid-request");
  });

  it("and GET of one are for users, not for agents or nobody", async () => {
    const { id } = await register("a");
    for (const path of ["", `/${id}`]) {
      await get(path, RUNNER_TOKEN).expect(403);
      await request(api.url).get(`/api/v1/wolf-instances${path}`).expect(401);
      await get(path).expect(200);
    }
  });

  it("of one that is not there answers 404", async () => {
    expect((await get(`/${newId("wlf")}`).expect(404)).body.code).toBe("wolf-not-found");
    expect((await get("/nonsense").expect(404)).body.code).toBe("wolf-not-found");
  });
});

describe("DELETE /wolf-instances/{id}", () => {
  it("answers 200 {status: ok} once, then 404", async () => {
    const { id } = await register("a");
    expect((await remove(id).expect(200)).body).toEqual({ status: "ok" });
    expect((await remove(id).expect(404)).body.code).toBe("wolf-not-found");
    await get(`/${id}`).expect(404);
    await post(`${id}/heartbeat`, {}).expect(404);
  });

  it("with live sessions answers 409 and keeps both; with force=true the sessions fail", async () => {
    const { id } = await register("a");
    const session = await addSession(id);
    expect((await remove(id).expect(409)).body.code).toBe("wolf-has-sessions");
    expect((await remove(`${id}?force=false`).expect(409)).body.code).toBe("wolf-has-sessions");
    await get(`/${id}`).expect(200);
    await remove(`${id}?force=true`).expect(200);
    const { body } = await request(api.url)
      .get(`/api/v1/sessions/${session}`)
      .set(bearer(user.key))
      .expect(200);
    expect(body).toMatchObject({
      status: "failed",
      wolf_instance_id: null,
      failure: { code: "wolf-removed" },
    });
  });

  it("is for admins only, and a wrong force changes nothing", async () => {
    const { id } = await register("a");
    await remove(id, user.key).expect(403);
    await remove(id, RUNNER_TOKEN).expect(403);
    for (const query of ["force=yes", "force=1", "force=", "force=true&force=true", "really=true"])
      expect((await remove(`${id}?${query}`).expect(400)).body.code).toBe("invalid-request");
    await get(`/${id}`).expect(200);
  });

  it("lets the same name register as a new wolf", async () => {
    const { id } = await register("a");
    await remove(id).expect(200);
    const again = await register("a");
    expect(again.id).not.toBe(id);
  });
});

describe("an operator's word about a wolf", () => {
  const steer = (id: string, word: string, body?: object, key = operator.key) =>
    post(`${id}/${word}`, body, key);

  it("is its intent, with a reason that everybody reads, and is undone by uncordon", async () => {
    const { id } = await register("a");
    for (const [word, intent] of [
      ["cordon", "cordoned"],
      ["maintenance", "maintenance"],
      ["cordon", "cordoned"],
      ["retire", "retired"],
    ] as const) {
      const { body } = await steer(id, word, { reason: `${word}, for the test` }).expect(200);
      expect(WolfInstance.parse(body)).toMatchObject({ intent, intent_reason: `${word}, for the test` });
      expect((await get(`/${id}`)).body).toMatchObject({ intent, intent_reason: `${word}, for the test` });
    }
    const { body } = await steer(id, "uncordon").expect(200);
    expect(body).toMatchObject({ intent: "active", intent_reason: null, drain: null });
  });

  it("to drain it is answered with the plan, which is filled in when it is not given", async () => {
    const { id } = await register("a");
    await addSession(id);
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    const { body } = await steer(id, "drain", { deadline_seconds: 60, then: "retired" }).expect(200);
    expect([body.drain.sessions_at_start, body.drain.sessions_left, body.drain.then]).toEqual([
      1,
      1,
      "retired",
    ]);
    expect(Date.parse(body.drain.deadline) - Date.parse(body.drain.started_at)).toBe(60_000);
    const again = (await steer(id, "drain").expect(200)).body.drain;
    expect(again.then).toBe("cordoned");
    expect(Date.parse(again.deadline) - Date.parse(again.started_at)).toBe(3_600_000);
    expect((await steer(id, "uncordon").expect(200)).body).toMatchObject({ intent: "active", drain: null });
  });

  it("that its intent does not allow is a 409 with what is allowed, and changes nothing", async () => {
    const { id } = await register("a");
    await steer(id, "retire", { reason: "sold" }).expect(200);
    for (const word of ["cordon", "drain", "maintenance", "retire"]) {
      const { body } = await steer(id, word, { reason: "too late" }).expect(409);
      expect(body).toMatchObject({ code: "intent-refused", intent: "retired", allowed: ["uncordon"] });
    }
    expect((await get(`/${id}`)).body).toMatchObject({ intent: "retired", intent_reason: "sold" });
  });

  it("to retire it waits for its sessions to be gone", async () => {
    const { id } = await register("a");
    await addSession(id);
    expect((await steer(id, "retire").expect(409)).body.code).toBe("wolf-has-sessions");
    expect((await get(`/${id}`)).body.intent).toBe("active");
  });

  it("to readmit it ends its quarantine, which is shown only while it lasts", async () => {
    const { id } = await register("a");
    const quarantined = (until: Date) =>
      api.database.prisma.wolfInstance.update({
        where: { id },
        data: { quarantined_until: until, quarantine_reason: "tunnel-flaps", quarantines: 2 },
      });
    await quarantined(new Date(Date.now() - 1));
    expect((await get(`/${id}`)).body.quarantine).toBeNull();
    const until = new Date(Date.now() + 3_600_000);
    await quarantined(until);
    const quarantine = { until: until.toISOString(), reason: "tunnel-flaps", times: 2 };
    expect((await get(`/${id}`)).body.quarantine).toEqual(quarantine);
    expect((await steer(id, "readmit").expect(200)).body.quarantine).toBeNull();
  });

  const words = ["cordon", "uncordon", "drain", "maintenance", "retire", "readmit"];

  it.each(words)("to %s one that is not there is a 404", async (word) => {
    for (const id of [newId("wlf"), newId("ses"), "%00"])
      expect((await steer(id, word).expect(404)).body.code).toBe("wolf-not-found");
  });

  it.each(words)("to %s it is nobody else's", async (word) => {
    const { id } = await register("a");
    await steer(id, word, undefined, user.key).expect(403);
    await steer(id, word, undefined, RUNNER_TOKEN).expect(403);
    await request(api.url).post(`/api/v1/wolf-instances/${id}/${word}`).expect(401);
    expect((await get(`/${id}`)).body.intent).toBe("active");
  });

  it.each([
    ["cordon", { reason: "" }],
    ["cordon", { reason: "x".repeat(201) }],
    ["cordon", { reason: "two\nlines" }],
    ["cordon", { deadline_seconds: 1 }],
    ["drain", { deadline_seconds: -1 }],
    ["drain", { deadline_seconds: 604_801 }],
    ["drain", { deadline_seconds: 0.5 }],
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    ["drain", { then: "active" }],
    ["retire", []],
  ])("to %s it with %j is refused and changes nothing", async (word, body) => {
    const { id } = await register("a");
    expect((await steer(id, word, body).expect(400)).body.code).toBe("invalid-request");
    expect((await get(`/${id}`)).body.intent).toBe("active");
  });
});

describe("GET /fleet", () => {
  const fleet = (key = user.key) => request(api.url).get("/api/v1/fleet").set(bearer(key));
  const unfreeze = (key = operator.key) => request(api.url).post("/api/v1/fleet/unfreeze").set(bearer(key));

  it("counts wolves and live sessions, and says whether evictions are frozen", async () => {
    const { id } = await register("a");
    await register("b");
    await addSession(id);
    const { body } = await fleet().expect(200);
    expect(FleetState.parse(body)).toEqual({
      evictions_frozen: false,
      frozen_since: null,
      override_until: null,
      wolves: { connected: 2, suspect: 0, lost: 0 },
      sessions: { running: 1 },
      queue_length: 0,
    });
    await fleet(RUNNER_TOKEN).expect(403);
    await request(api.url).get("/api/v1/fleet").expect(401);
  });

  it("shows a freeze, which an operator lifts for ten minutes and nobody else", async () => {
    const frozen = new Date();
    await api.database.prisma.fleet.update({ where: { id: 1 }, data: { frozen_since: frozen } });
    expect((await fleet()).body).toMatchObject({
      evictions_frozen: true,
      frozen_since: frozen.toISOString(),
    });
    await unfreeze(user.key).expect(403);
    expect((await fleet()).body.evictions_frozen).toBe(true);
    const { body } = await unfreeze().expect(200);
    expect(body).toMatchObject({ evictions_frozen: false, frozen_since: null });
    expect(Date.parse(body.override_until)).toBeGreaterThan(Date.now() + 590_000);
    await api.database.prisma.fleet.update({ where: { id: 1 }, data: { override_until: null } });
  });
});
