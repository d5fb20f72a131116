/** How a host enrols and how its agent proves its key, over real sockets and PostgreSQL. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { AgentKey, CreatedJoinToken, Enrollment } from "@wolfpack/api-contract";
import pg from "pg";
import request from "supertest";
import { challenge, outcomeOf, post, TestAgent } from "./agent.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { dialled, refusal, until } from "./tunnel-requests.ts";

let api: TestControlPlane;
beforeAll(async () => {
  api = await startControlPlane();
});
afterAll(() => api.stop());
afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const get = (path: string, key = api.adminKey) => request(api.url).get(`/api/v1/${path}`).set(bearer(key));
const remove = (path: string, key = api.adminKey) =>
  request(api.url).delete(`/api/v1/${path}`).set(bearer(key));
const approve = (id: string, key = api.adminKey) =>
  request(api.url).post(`/api/v1/agent-keys/${id}/approve`).set(bearer(key));
async function joinToken(body: object = {}): Promise<CreatedJoinToken> {
  const made = await post<CreatedJoinToken>(`${api.url}/api/v1/join-tokens`, api.adminKey, body);
  expect(made.status).toBe(201);
  return CreatedJoinToken.parse(made.body);
}
const usesOf = async (id: string) =>
  (await api.database.prisma.joinToken.findUnique({ where: { id } }))?.uses;
const lastEvent = (action: string) =>
  api.database.prisma.auditEvent.findFirst({ where: { action }, orderBy: { id: "desc" } });

describe("a host", () => {
  it("enrols with a join token, and connects with its key alone from then on", async () => {
    const { token, id } = await joinToken({ labels: { rack: "r1" } });
    const agent = new TestAgent("gpu-1");
    const { status, body } = await agent.enroll(api.url, token, {
      body: { gpu_type: "nvidia", labels: { a: "b" } },
    });
    expect(status).toBe(201);
    expect(Enrollment.parse(body)).toMatchObject({ name: "gpu-1", status: "active" });
    expect(await outcomeOf(agent.connect(api.url))).toBe("open");
    expect((await get(`wolf-instances/${agent.wolfId}`)).body).toMatchObject({
      gpu_type: "nvidia",
      labels: { a: "b", rack: "r1" },
    });
    expect(await lastEvent("agent.enroll")).toMatchObject({
      actor: "join-token",
      credential_id: id,
      object: agent.keyId,
      result: "allowed",
      detail: { wolf_id: agent.wolfId, name: "gpu-1", status: "active", revoked: [] },
    });
    expect(await lastEvent("agent.connect")).toMatchObject({
      actor: "agent",
      actor_id: agent.wolfId,
      credential_id: agent.keyId,
      object: agent.wolfId,
      result: "allowed",
    });
  });

  it("keeps the labels of its token, whatever its agent says of itself later", async () => {
    const { token } = await joinToken({ labels: { tenant: "a" } });
    const agent = new TestAgent("gpu-labels");
    await agent.enroll(api.url, token);
    const tunnel = await agent.connect(api.url);
    const inventory = { max_sandboxes: 7, agent_version: "1.0.0", labels: { tenant: "b", own: "c" } };
    tunnel.notify("inventory", Buffer.from(JSON.stringify(inventory)));
    const wolf = async () => (await get(`wolf-instances/${agent.wolfId}`)).body;
    await until(async () => (await wolf()).max_sandboxes === 7);
    expect((await wolf()).labels).toEqual({ tenant: "a", own: "c" });
  });

  it("enrols with the RUNNER_TOKEN under a name that has had no key, also one of before", async () => {
    const registered = await post<{ id: string }>(`${api.url}/api/v1/wolf-instances/register`, RUNNER_TOKEN, {
      name: "old-1",
    });
    const agent = new TestAgent("old-1");
    const { status } = await agent.enroll(api.url);
    expect([status, agent.wolfId]).toEqual([201, registered.body.id]);
    expect(await outcomeOf(agent.connect(api.url))).toBe("open");
  });

  it("asks again with the same key, gets the same answer and uses nothing, also once its token is used up", async () => {
    const { token, id } = await joinToken();
    const agent = new TestAgent("gpu-again");
    const first = await agent.enroll(api.url, token);
    const answers = await Promise.all([1, 2, 3].map(() => agent.enroll(api.url, token)));
    for (const answer of answers) expect(answer).toEqual(first);
    expect(await usesOf(id)).toBe(1);
    const twin = new TestAgent("gpu-twin");
    const { token: other, id: otherId } = await joinToken();
    const both = await Promise.all([1, 2].map(() => twin.enroll(api.url, other)));
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect(both[0]).toEqual(both[1]);
    expect(await usesOf(otherId)).toBe(1);
    const hasty = new TestAgent("gpu-hasty");
    const many = await Promise.all([1, 2, 3, 4, 5].map(() => hasty.enroll(api.url)));
    for (const answer of many) expect(answer).toEqual(many[0]);
    expect(many[0]?.status).toBe(201);
  });

  it("of a taken name waits until an admin approves it, and then is the only one", async () => {
    const first = new TestAgent("gpu-taken");
    await first.enroll(api.url);
    const second = new TestAgent("gpu-taken");
    const waits = await second.enroll(api.url, RUNNER_TOKEN, { body: { gpu_type: "amd" } });
    expect([waits.status, waits.body.status, second.wolfId]).toEqual([202, "pending", first.wolfId]);
    expect((await get(`wolf-instances/${first.wolfId}`)).body.gpu_type).toBe("none");
    expect(await outcomeOf(second.connect(api.url))).toBe("401 unauthenticated");
    expect(await outcomeOf(first.connect(api.url))).toBe("open");
    const listed = await get(`agent-keys?status=pending&wolf_instance_id=${first.wolfId}`).expect(200);
    expect(listed.body.map(({ id }: AgentKey) => id)).toEqual([second.keyId]);
    const { body } = await approve(second.keyId).expect(200);
    expect(AgentKey.parse(body)).toMatchObject({
      id: second.keyId,
      status: "active",
      enrolled_by: "runner-token",
    });
    expect(await lastEvent("agent-key.approve")).toMatchObject({
      object: second.keyId,
      detail: { wolf_id: first.wolfId, revoked: [first.keyId] },
    });
    expect((await second.enroll(api.url)).status).toBe(201);
    expect(await outcomeOf(second.connect(api.url))).toBe("open");
    expect(await outcomeOf(first.connect(api.url))).toBe("401 unauthenticated");
    await approve(second.keyId).expect(200);
    expect((await approve(first.keyId)).body.code).toBe("agent-key-revoked");
    expect((await approve(`agk_${"0".repeat(26)}`)).body.code).toBe("agent-key-not-found");
  });

  it("is replaced by another with a token that was made for its name", async () => {
    const first = new TestAgent("gpu-replaced");
    await first.enroll(api.url);
    const listener = new pg.Client({ connectionString: api.database.url });
    await listener.connect();
    await listener.query("LISTEN wolfpack_revoked");
    const heard = new Promise<pg.Notification>((resolve) => {
      listener.on("notification", (notice) => notice.payload?.endsWith(first.keyId) && resolve(notice));
    });
    const { token, id } = await joinToken({ wolf_name: "gpu-replaced" });
    const second = new TestAgent("gpu-replaced");
    expect((await second.enroll(api.url)).status).toBe(202);
    expect((await second.enroll(api.url, token)).status).toBe(201);
    expect(second.wolfId).toBe(first.wolfId);
    expect(await usesOf(id)).toBe(1);
    expect(await outcomeOf(first.connect(api.url))).toBe("401 unauthenticated");
    expect(await outcomeOf(second.connect(api.url))).toBe("open");
    const revoked = await api.database.prisma.revocation.findMany({ where: { object_id: first.keyId } });
    expect(revoked).toEqual([expect.objectContaining({ kind: "agent-key" })]);
    expect((await heard).payload).toMatch(new RegExp(`^rvc_\\w+ agent-key ${first.keyId}$`));
    await listener.end();
  });

  it("does not come in again under a name whose key was revoked, without approval", async () => {
    const stolen = new TestAgent("gpu-stolen");
    await stolen.enroll(api.url);
    await remove(`agent-keys/${stolen.keyId}`).expect(204);
    await remove(`agent-keys/${stolen.keyId}`).expect(204);
    expect(await outcomeOf(stolen.connect(api.url))).toBe("401 unauthenticated");
    // Whoever looks for what a stolen key has tried finds it.
    const { wolfId: actor_id, keyId: credential_id } = stolen;
    expect(await lastEvent("agent.connect")).toMatchObject({ actor: "agent", actor_id, credential_id });
    expect((await stolen.enroll(api.url)).body.code).toBe("agent-key-revoked");
    expect((await new TestAgent("gpu-stolen").enroll(api.url)).status).toBe(202);
    expect(await refusal(api.url, "wolf-gpu-stolen", RUNNER_TOKEN)).toBe("forbidden");
  });

  it("cannot enrol one key under two names", async () => {
    const agent = new TestAgent("gpu-name-1");
    await agent.enroll(api.url);
    expect((await agent.enroll(api.url, RUNNER_TOKEN, { name: "gpu-name-2" })).body.code).toBe(
      "agent-key-in-use",
    );
    expect((await get("wolf-instances?name=gpu-name-2")).body).toEqual([]);
  });

  it("whose key has expired enrols it again for as long as before, with a token that can still be used", async () => {
    const { token, id } = await joinToken({ uses_max: 2 });
    const agent = new TestAgent("gpu-late");
    await agent.enroll(api.url, token);
    const expire = () =>
      api.database.prisma.agentKey.update({ where: { id: agent.keyId }, data: { expires_at: new Date() } });
    await expire();
    expect(await outcomeOf(agent.connect(api.url))).toBe("401 unauthenticated");
    expect((await agent.enroll(api.url, token)).status).toBe(201);
    expect(await usesOf(id)).toBe(2);
    expect(await outcomeOf(agent.connect(api.url))).toBe("open");
    await expire();
    expect((await agent.enroll(api.url, token)).body.code).toBe("join-token-refused");
  });

  it("is one of ten that may wait for the same name", async () => {
    await new TestAgent("gpu-flood").enroll(api.url);
    for (let n = 0; n < 10; n += 1)
      expect((await new TestAgent("gpu-flood").enroll(api.url)).status).toBe(202);
    expect((await new TestAgent("gpu-flood").enroll(api.url)).body.code).toBe("agent-keys-waiting");
  });
});

describe("the audit log", () => {
  it("has one event for each tunnel that is opened or refused, and knows one that takes over", async () => {
    const agent = new TestAgent("gpu-audited");
    await agent.enroll(api.url);
    const where = { object: agent.wolfId, action: "agent.takeover" };
    const takeovers = () => api.database.prisma.auditEvent.findMany({ where });
    await agent.connect(api.url);
    expect(await takeovers()).toEqual([]);
    await until(async () => (await get(`wolf-instances/${agent.wolfId}`)).body.tunnel?.epoch === 1);
    await agent.connect(api.url);
    await until(async () => (await takeovers()).length === 1);
    expect(await takeovers()).toEqual([
      expect.objectContaining({ actor: "agent", actor_id: agent.wolfId, result: "allowed" }),
    ]);
    const found = await get(`audit-events?action=agent.takeover&object=${agent.wolfId}`);
    expect(found.body).toMatchObject([{ action: "agent.takeover", actor_id: agent.wolfId }]);
    const before = await api.database.prisma.auditEvent.count();
    expect(await refusal(api.url, "sandbox-ses_01KB00000000000000000000S1", api.adminKey)).toBe(
      "session-not-found",
    );
    expect(await refusal(api.url, "hydra-1", api.adminKey)).toBe("runner-id-invalid");
    expect(await lastEvent("session.tunnel")).toMatchObject({ result: "failed", code: "session-not-found" });
    expect(await lastEvent("agent.connect")).toMatchObject({ result: "failed", object: "hydra-1" });
    expect(await api.database.prisma.auditEvent.count()).toBe(before + 2);
  });
});

describe("a join token", () => {
  it("enrols as many hosts as it has uses, until it expires or is revoked", async () => {
    const { token, id } = await joinToken({ uses_max: 3 });
    const enroll = async (name: string) => (await new TestAgent(name).enroll(api.url, token)).body.code;
    expect([await enroll("many-1"), await enroll("many-2")]).toEqual([undefined, undefined]);
    await api.database.prisma.joinToken.update({ where: { id }, data: { expires_at: new Date() } });
    expect(await enroll("many-3")).toBe("join-token-refused");
    await api.database.prisma.joinToken.update({
      where: { id },
      data: { expires_at: new Date(Date.now() + 60_000) },
    });
    expect(await enroll("many-3")).toBeUndefined();
    expect(await enroll("many-4")).toBe("join-token-refused");
    const { token: revoked, id: revokedId } = await joinToken();
    await remove(`join-tokens/${revokedId}`).expect(204);
    await remove(`join-tokens/${revokedId}`).expect(204);
    expect((await remove(`join-tokens/jtk_${"0".repeat(26)}`)).body.code).toBe("join-token-not-found");
    expect((await new TestAgent("many-5").enroll(api.url, revoked)).body.code).toBe("unauthenticated");
    expect((await get("wolf-instances?name=many-4")).body).toEqual([]);
  });

  it("for one name enrols no other, and is not used up by the attempt", async () => {
    const { token, id } = await joinToken({ wolf_name: "only-me" });
    expect((await new TestAgent("not-me").enroll(api.url, token)).body.code).toBe("join-token-refused");
    expect(await usesOf(id)).toBe(0);
    expect((await new TestAgent("only-me").enroll(api.url, token)).status).toBe(201);
    const refused = { wolf_name: "only-me", uses_max: 2 };
    expect((await post(`${api.url}/api/v1/join-tokens`, api.adminKey, refused)).body.code).toBe(
      "invalid-request",
    );
  });

  it("has a form by which it can be found, and is refused with a letter changed before anybody looks it up", async () => {
    const { token, id } = await joinToken();
    expect(token).toMatch(new RegExp(`^wjt_${id.slice(4)}_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}$`));
    const at = 40;
    const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    for (const wrong of [changed, token.slice(0, -1), `${token}0`, token.toLowerCase(), token.slice(0, 75)])
      expect((await new TestAgent("form").enroll(api.url, wrong)).body).toMatchObject({
        code: "unauthenticated",
        detail: "Send a valid join token, or the RUNNER_TOKEN, as a bearer credential.",
      });
  });

  it("is shown once: neither lists nor the database hold it", async () => {
    const { token, id } = await joinToken({ wolf_name: "secretive" });
    await new TestAgent("secretive").enroll(api.url, token);
    const { body } = await get("join-tokens?limit=200").expect(200);
    expect(body.find((one: { id: string }) => one.id === id)).toMatchObject({
      wolf_name: "secretive",
      uses: 1,
    });
    const [{ dump } = { dump: "" }] = await api.database.prisma.$queryRaw<{ dump: string }[]>`
      SELECT database_to_xml(true, false, '')::text AS dump`;
    expect(dump).toContain(id);
    const secret = token.split(/_(.*)/s)[1]?.slice(27, 70) ?? "";
    expect(secret).toHaveLength(43);
    const shapes = (text: string) => [
      text,
      Buffer.from(text).toString("hex"),
      Buffer.from(text).toString("base64"),
    ];
    for (const hidden of [token, secret, RUNNER_TOKEN].flatMap(shapes)) {
      expect(dump.includes(hidden)).toBe(false);
      expect(api.lines.some((line) => line.includes(hidden))).toBe(false);
    }
    // The search finds what is there: a table that keeps tokens would be seen.
    await api.database.prisma.$executeRaw`CREATE TABLE naive AS SELECT ${token}::text AS token`;
    const [{ naive } = { naive: "" }] = await api.database.prisma.$queryRaw<{ naive: string }[]>`
      SELECT table_to_xml('naive', true, false, '')::text AS naive`;
    expect(naive).toContain(secret);
    await api.database.prisma.$executeRaw`DROP TABLE naive`;
  });
});

describe("the RUNNER_TOKEN", () => {
  it("registers, keeps alive and connects no wolf that has a key, even where it may do so otherwise", async () => {
    const agent = new TestAgent("gpu-keyed");
    await agent.enroll(api.url);
    const wolves = `${api.url}/api/v1/wolf-instances`;
    expect((await post(`${wolves}/register`, RUNNER_TOKEN, { name: "gpu-unkeyed" })).status).toBe(200);
    expect(await outcomeOf(agent.connect(api.url))).toBe("open");
    expect((await post(`${wolves}/register`, RUNNER_TOKEN, { name: "gpu-keyed" })).body.code).toBe(
      "forbidden",
    );
    expect((await post(`${wolves}/${agent.wolfId}/heartbeat`, RUNNER_TOKEN, {})).body.code).toBe("forbidden");
    expect(await refusal(api.url, "wolf-gpu-keyed", RUNNER_TOKEN)).toBe("forbidden");
    expect((await post(`${wolves}/register`, api.adminKey, { name: "gpu-keyed" })).status).toBe(200);
  });

  it("enrols and runs the doctor, and nothing else, unless it is allowed to", async () => {
    const strict = await startControlPlane({ legacyRunnerToken: false });
    try {
      const wolves = `${strict.url}/api/v1/wolf-instances`;
      const { body } = await post<{ id: string }>(`${wolves}/register`, strict.adminKey, { name: "old" });
      expect((await post(`${wolves}/register`, RUNNER_TOKEN, { name: "old" })).body.code).toBe("forbidden");
      expect((await post(`${wolves}/${body.id}/heartbeat`, RUNNER_TOKEN, {})).body.code).toBe("forbidden");
      expect(await refusal(strict.url, "wolf-old", RUNNER_TOKEN)).toBe("forbidden");
      expect(await refusal(strict.url, "doctor-old", RUNNER_TOKEN)).toMatch(/^not refused/);
      expect((await new TestAgent("old").enroll(strict.url)).status).toBe(201);
    } finally {
      await strict.stop();
    }
  });

  it("that is not set opens nothing", async () => {
    const without = await startControlPlane({ runnerToken: undefined });
    try {
      for (const wrong of [RUNNER_TOKEN, "undefined", ""])
        expect((await new TestAgent("x").enroll(without.url, wrong)).body.code).toBe("unauthenticated");
      expect((await fetch(`${without.url}/readyz`)).status).toBe(200);
    } finally {
      await without.stop();
    }
  });
});

describe("each kind of credential", () => {
  it("opens its own endpoints only", async () => {
    const agent = new TestAgent("kinds");
    await agent.enroll(api.url);
    const { token } = await joinToken();
    const nonce = async () => (await challenge(api.url)).nonce;
    const credentials: [
      kind: string,
      make: () => Promise<string>,
      enrols: number,
      reads: number,
      tunnel: string,
    ][] = [
      ["admin", async () => `Bearer ${api.adminKey}`, 403, 200, "403 forbidden"],
      ["join token", async () => `Bearer ${token}`, 400, 403, "403 forbidden"],
      ["runner", async () => `Bearer ${RUNNER_TOKEN}`, 400, 403, "403 forbidden"],
      ["agent", async () => agent.proof(api.url, await nonce()), 401, 401, "open"],
      ["nobody", async () => "Bearer x", 401, 401, "401 unauthenticated"],
    ];
    const paths = ["join-tokens", "agent-keys", "wolf-instances", "sessions", "users", "api-keys", "me"];
    const { dialWith } = await import("./agent.ts");
    for (const [kind, make, enrols, reads, tunnel] of credentials) {
      const enrolled = await request(api.url)
        .post("/api/v1/agents/enroll")
        .set({ authorization: await make() })
        .send({});
      expect([kind, "enrols", enrolled.status]).toEqual([kind, "enrols", enrols]);
      for (const path of paths) {
        const answer = await request(api.url)
          .get(`/api/v1/${path}`)
          .set({ authorization: await make() });
        expect([kind, path, answer.status]).toEqual([kind, path, reads]);
      }
      expect([kind, await outcomeOf(dialWith(api.url, "wolf-kinds", await make()))]).toEqual([kind, tunnel]);
    }
  });
});
