import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { WolfInstance } from "@wolfpack/api-contract";
import request from "supertest";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import { newId } from "../ids.ts";

let api: TestControlPlane;
let user: { id: string; key: string };

beforeAll(async () => {
  api = await startControlPlane();
  user = await api.user("anna");
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
    });
    expect(wolf.last_heartbeat).not.toBeNull();
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
    ["no slots", { name: "a", max_sandboxes: 0 }, "body.max_sandboxes"],
    ["too many slots", { name: "a", max_sandboxes: 1001 }, "body.max_sandboxes"],
    ["half a slot", { name: "a", max_sandboxes: 1.5 }, "body.max_sandboxes"],
    ["slots as text", { name: "a", max_sandboxes: "4" }, "body.max_sandboxes"],
    ["a foreign GPU", { name: "a", gpu_type: "voodoo" }, "body.gpu_type"],
    ["an unknown field", { name: "a", epoch: 9 }, "body.epoch"],
    ["NUL in a label", { name: "a", labels: { x: "\u0000" } }, "body.labels.x"],
    ["half a character in a label", { name: "a", labels: { x: "\ud800" } }, "body.labels.x"],
    ["too many labels", { name: "a", labels: labels(33) }, "body.labels"],
    ["a negative price", { name: "a", cost_per_hour: -1 }, "body.cost_per_hour"],
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

  it.each([
    "limit=0",
    "limit=201",
    "limit=x",
    "limit=1&limit=2",
    "status=lost",
    "gpu_type=x",
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
