/** What is looked at through the whole control plane: its own checks, replicas, a wolf's tunnel, figures and policy. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import {
  AGENT_SERVICE,
  actions,
  GuardPolicy,
  HealthReport,
  Me,
  Replica,
  UsageHistory,
  WolfPolicyView,
  WolfTunnelView,
} from "@wolfpack/api-contract";
import { defaultWolfPolicy, policyDocument, refusedHeader } from "@wolfpack/wolf-api";
import { type RequestHandler, RevdialError, type Tunnel } from "revdial";
import { newId } from "../src/ids.ts";
import { version } from "../src/version.ts";
import { aUsage } from "./a-wolf.ts";
import { post, TestAgent } from "./agent.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { dialLegacy, legacyAgents } from "./legacy-agent.ts";
import { dialled } from "./tunnel-requests.ts";

const publicUrls: string[] = [];
let api: TestControlPlane;
beforeAll(async () => {
  api = await startControlPlane({ publicUrls });
});
afterAll(() => api.stop());
afterEach(() => {
  publicUrls.length = 0;
  for (const agent of legacyAgents.splice(0)) agent.drop();
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

async function get(path: string, key = api.adminKey): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${api.url}/api/v1/${path}`, { headers: { authorization: `Bearer ${key}` } });
  return { status: response.status, body: await response.json() };
}
const refusedWith = (status: number, code: string) => ({ status, body: { code } });

/** A wolf with a tunnel that serves this; none: as an agent that serves nothing. */
async function connected(name: string, handler?: RequestHandler): Promise<{ id: string; tunnel: Tunnel }> {
  const agent = new TestAgent(name);
  await agent.enroll(api.url);
  const tunnel = await agent.connect(api.url);
  if (handler) tunnel.serve(handler);
  await eventually(
    () => get(`wolf-instances/${agent.wolfId}/tunnel`),
    ({ status }) => status === 200,
  );
  return { id: agent.wolfId, tunnel };
}
const beat = (tunnel: Tunnel, usage: object) =>
  tunnel.notify("heartbeat", Buffer.from(JSON.stringify({ wolf: "ok", usage })));

async function checked(): Promise<Record<string, HealthReport["checks"][number]>> {
  const { status, body } = await get("health");
  expect(status).toBe(200);
  return Object.fromEntries(HealthReport.parse(body).checks.map((check) => [check.id, check]));
}

describe("GET /health", () => {
  let own: TestControlPlane;
  /** Of a control plane that nobody has asked within the last five seconds. */
  async function report(change?: (plane: TestControlPlane) => Promise<unknown>): ReturnType<typeof checked> {
    const before = api;
    own = await startControlPlane({ publicUrls });
    api = own;
    try {
      await change?.(own);
      return await checked();
    } finally {
      api = before;
      await own.stop();
    }
  }

  it("finds thirteen numbered checks well, but for what a development's settings are", async () => {
    const checks = await report(async ({ url }) => publicUrls.push(url));
    const found = Object.values(checks).map(({ id, status }) => [id, status]);
    const numbers = Array.from({ length: 13 }, (_, at) => `C${String(at + 1).padStart(2, "0")}`);
    // How soon the database answers is the machine's; one replica knows of no other, and no host shows its clock; LEGACY_RUNNER_TOKEN=allow is a warning; how late the event loop of the tests is, is theirs.
    const rest = found.filter(([id]) => !["C01", "C03", "C04", "C06", "C12", "C13"].includes(id as string));
    expect(found.map(([id]) => id)).toEqual(numbers);
    expect(rest).toEqual(rest.map(([id]) => [id, "ok"]));
    expect([checks.C05?.detail, checks.C12?.status, checks.C13?.status]).toEqual([
      expect.stringMatching(/^127\.0\.0\.1:\d+ said it back after \d+ ms\.$/),
      "warning",
      "skipped",
    ]);
  });

  it("finds what is wrong: a migration, a queue, wolves that are away, old agents, the shared token, clocks", async () => {
    const checks = await report(async ({ database: { prisma }, url }) => {
      await prisma.$executeRaw`
        INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at) VALUES ('x', '', '29990101000000_half', now())`;
      const registered = async (name: string, data: object) => {
        await post(`${url}/api/v1/wolf-instances/register`, RUNNER_TOKEN, { name });
        await prisma.wolfInstance.update({ where: { name }, data });
      };
      const tunnel = { connectivity: "connected", tunnel_since: new Date(), epoch: 1 };
      const clock = (ms: number, epoch = 1) => ({ tunnel_clock_offset_ms: ms, tunnel_clock_epoch: epoch });
      await registered("gpu-old", { ...tunnel, ...clock(-130_000), agent_version: "0.0.9" });
      // Its newest tunnel was opened by a replica that knows nothing of clocks.
      const shared = { ...tunnel, ...clock(200_000, 0), tunnel_legacy_credential: true };
      await registered("gpu-shared", { ...shared, agent_version: version });
      await registered("gpu-sick", {
        ...tunnel,
        ...clock(30_000),
        agent_version: version,
        health: "degraded",
      });
      await registered("gpu-gone", { ...clock(250_000, 0), connectivity: "lost" });
      await registered("gpu-serviced", { connectivity: "lost", intent: "maintenance" });
      const { id: owner_id } = await prisma.user.findFirstOrThrow();
      const now = new Date();
      await prisma.session.create({
        data: {
          ...{ id: newId("ses"), owner_id, name: "waits", status: "queued", slot_held: false },
          ...{ created_at: now, updated_at: now, queue_deadline: new Date(now.getTime() + 1_000_000) },
          queued_at: new Date(now.getTime() - 1_000_000),
          spec: { image: "x", gpu_type: null, resolution: { width: 640, height: 480, refresh_rate: 60 } },
          placement: { policy: "least-loaded", candidates: 0, removed: [], ranked: [], text: "" },
        },
      });
    });
    const { C02, C05, C07, C09, C10, C12, C13 } = checks;
    expect(C02).toMatchObject({ status: "failed", detail: "Not finished: 29990101000000_half." });
    expect(C05).toMatchObject({ status: "skipped", advice: expect.stringContaining("WOLFPACK_PUBLIC_URL") });
    expect(C09).toMatchObject({
      status: "warning",
      detail: "3 of 4 wolves are connected. Suspect or lost: gpu-gone. Not well: gpu-sick.",
    });
    expect(C10).toMatchObject({
      status: "warning",
      detail: expect.stringContaining("1 is older: 0.0.9 (gpu-old)"),
    });
    expect(C12?.detail).toContain("gpu-shared");
    expect(C13).toMatchObject({
      status: "warning",
      detail:
        "Of 2 clocks that of gpu-old is worst, 2 min 10 s behind. 2 are off by 30 s or more: gpu-old, gpu-sick.",
    });
    expect(C07).toMatchObject({
      status: "warning",
      detail: expect.stringMatching(/^1 of at most 1000 wait/),
    });
  });

  it("is for operators and admins, and a key of scope read will do", async () => {
    const [user, viewer] = [await api.user("u"), await api.user("v", "viewer")];
    for (const { key } of [user, viewer])
      expect(await get("health", key)).toMatchObject(refusedWith(403, "forbidden"));
    expect(await get("health", (await api.user("o", "operator")).key)).toMatchObject({ status: 200 });
    expect(await get("health?verbose=1", "no-key")).toMatchObject(refusedWith(401, "unauthenticated"));
  });
});

describe("GET /replicas", () => {
  it("is this process, for everybody who sees the fleet", async () => {
    const { key } = await api.user("r");
    const before = Date.now();
    const { body } = await get("replicas", key);
    const [replica, ...others] = Replica.array().parse(body);
    expect(others).toEqual([]);
    expect(replica).toMatchObject({ version, is_self: true, draining: false, tunnels: expect.any(Number) });
    expect(Date.parse(replica?.started_at ?? "")).toBeLessThanOrEqual(before);
    const { body: events } = await get("audit-events?limit=1");
    expect((events as { replica: string }[])[0]?.replica).toBe(replica?.id);
  });
});

describe("a wolf's tunnel", () => {
  it("shows its epoch, what it carries, and that it came again", async () => {
    const agent = new TestAgent("gpu-tunnel");
    await agent.enroll(api.url);
    const views: WolfTunnelView[] = [];
    for (const epoch of [1, 2]) {
      await agent.connect(api.url);
      const { body } = await eventually(
        () => get("wolf-instances/gpu-tunnel/tunnel"),
        ({ body: shown }) => (shown as WolfTunnelView).epoch === epoch,
      );
      views.push(WolfTunnelView.parse(body));
    }
    expect(views.map(({ reconnects }) => reconnects)).toEqual([0, 1]);
    expect(views[1]).toMatchObject({ protocol: "revdial", transport: "websocket", rtt_history: [] });
    expect(views[1]?.bytes_in).toBeGreaterThan(0);
    expect(views[1]?.replica).toMatch(/^rep_/);
  });

  it("is none of a wolf that has none, of one that was overtaken, or of one that nobody knows", async () => {
    const { id } = await connected("gpu-overtaken");
    await api.database.prisma.wolfInstance.update({ where: { id }, data: { epoch: { increment: 1 } } });
    expect(await get(`wolf-instances/${id}/tunnel`)).toMatchObject(refusedWith(503, "wolf-unreachable"));
    expect(await get(`wolf-instances/${newId("wlf")}/tunnel`)).toMatchObject(
      refusedWith(404, "wolf-not-found"),
    );
    for (const name of ["gpu-nobody", "a%20b", "%00", "x".repeat(64)])
      expect(await get(`wolf-instances/${name}/tunnel`)).toMatchObject(refusedWith(404, "wolf-not-found"));
  });
});

describe("a host's figures", () => {
  it("are kept as its agent sends them, and none that do not fit", async () => {
    const { id, tunnel } = await connected("gpu-busy");
    const gpu = {
      id: "0000:01:00.0",
      utilisation_percent: 42,
      vram_used_bytes: 2 ** 33,
      encoder_sessions: 2,
      encoder_percent: 7,
    };
    beat(tunnel, aUsage({ gpus: [{ ...gpu, utilisation_percent: 4200 }] }));
    beat(tunnel, aUsage({ cpu_load: 1.5, gpus: [gpu] }));
    const { body } = await eventually(
      () => get(`wolf-instances/${id}/usage-history`),
      ({ body: shown }) => (shown as unknown[]).length > 0,
    );
    expect(UsageHistory.parse(body)).toEqual([
      {
        at: expect.stringMatching(/:00\.000Z$/),
        cpu_load: 1.5,
        memory_available_bytes: 2 ** 33,
        gpus: [gpu],
      },
    ]);
  });

  it("are none of a wolf that has said nothing, and not found of one that is not there", async () => {
    const { id } = await connected("gpu-quiet");
    expect(await get(`wolf-instances/${id}/usage-history`)).toEqual({ status: 200, body: [] });
    expect(await get("wolf-instances/gpu-nobody/usage-history")).toMatchObject(
      refusedWith(404, "wolf-not-found"),
    );
  });
});

describe("the policy of a wolf", () => {
  const policy = policyDocument(defaultWolfPolicy, 5);
  const policyOf = async (id: string, key?: string) => {
    const { status, body } = await get(`wolf-instances/${id}/policy`, key);
    expect([status, body]).toEqual([200, expect.anything()]);
    return WolfPolicyView.parse(body);
  };

  it("is what its agent says now, for those who may look into wolves", async () => {
    const { id } = await connected("gpu-policy", ({ service }) => {
      if (service !== AGENT_SERVICE) throw new RevdialError("SERVICE_UNKNOWN", "not served");
      return { status: 200, body: Buffer.from(JSON.stringify(policy)) };
    });
    const shown = await policyOf(id, (await api.user("looker", "viewer")).key);
    expect(shown).toEqual({ guard: "agent", policy, unknown_because: null });
    const { key } = await api.user("nosy");
    expect(await get(`wolf-instances/${id}/policy`, key)).toMatchObject(refusedWith(403, "forbidden"));
  });

  it("is unknown of an agent of before, which says so itself, and of one that says nonsense", async () => {
    const old = await connected("gpu-before", () => ({
      status: 404,
      headers: [[refusedHeader, "service-unknown"]],
      body: Buffer.from("{}"),
    }));
    expect(await policyOf(old.id)).toEqual({
      guard: "agent",
      policy: null,
      unknown_because: "agent-too-old",
    });
    const odd = await connected("gpu-odd", () => ({ status: 200, body: Buffer.from("<b>open</b>") }));
    expect(await policyOf(odd.id)).toMatchObject({ policy: null, unknown_because: "answer-broken" });
  });

  it("is the stand-in's of an agent of Helix, which has no guard of its own", async () => {
    await dialLegacy({
      url: api.url,
      runnerId: "wolf-gpu-helix",
      token: RUNNER_TOKEN,
      target: { path: "/nowhere/wolf.sock" },
    });
    await eventually(
      () => get("wolf-instances/gpu-helix/tunnel"),
      ({ status }) => status === 200,
    );
    const { guard, policy: shown } = await policyOf("gpu-helix");
    expect([guard, GuardPolicy.parse(shown)]).toEqual([
      "control-plane",
      policyDocument(defaultWolfPolicy, 1),
    ]);
    expect((await get("wolf-instances/gpu-helix/tunnel")).body).toMatchObject({
      protocol: "helix",
      transport: "helix",
    });
  });

  it("cannot be asked of a wolf without a tunnel", async () => {
    const { id, tunnel } = await connected("gpu-away");
    tunnel.destroy();
    await eventually(
      () => get(`wolf-instances/${id}/policy`),
      ({ status }) => status === 503,
    );
  });
});

describe("GET /me", () => {
  const mayDo = async (key: string) => Me.parse((await get("me", key)).body).actions ?? [];

  it("says what the caller may do, by its role", async () => {
    const { key } = await api.user("me");
    const may = await mayDo(key);
    expect(may).toEqual(expect.arrayContaining(["session.create", "wolf.read", "api-key.create"]));
    for (const not of ["wolf.steer", "health.read", "audit.read", "agent.connect"])
      expect(may).not.toContain(not);
    const ofUsers = Object.entries(actions).filter(([, { users }]) => "admin" in users);
    expect(await mayDo(api.adminKey)).toEqual(ofUsers.map(([name]) => name));
  });

  it("says no more than the scopes of the key allow", async () => {
    const { body } = await post<{ key: string }>(`${api.url}/api/v1/api-keys`, api.adminKey, {
      name: "reader",
      scopes: ["read"],
    });
    const may = await mayDo(body.key);
    expect(may).toContain("health.read");
    for (const not of ["wolf.steer", "session.create", "user.read"]) expect(may).not.toContain(not);
  });
});

describe("large pages", () => {
  it("are of wolves and sessions only", async () => {
    for (const path of ["wolf-instances", "sessions", "sandboxes"])
      expect((await get(`${path}?limit=1000`)).status).toBe(200);
    for (const path of ["wolf-instances?limit=1001", "users?limit=201", "events?limit=1000"])
      expect(await get(path)).toMatchObject(refusedWith(400, "invalid-request"));
  });
});
