/** Agents of Helix through the whole control plane: real PostgreSQL, real sockets, real Wolf emulators. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { AuditEvent, Problem, Session, WolfInstance } from "@wolfpack/api-contract";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { newId } from "../src/ids.ts";
import { anExplanation, aSpec } from "./a-session.ts";
import { TestAgent } from "./agent.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import {
  dialLegacy,
  type LegacyAgent,
  type LegacyAgentOptions,
  legacyAgents,
  type Refused,
} from "./legacy-agent.ts";
import { dialled } from "./tunnel-requests.ts";

let plane: TestControlPlane;
let wolf: WolfEmulator;
let folder: string;

beforeEach(async () => {
  plane = await startControlPlane({
    reconcileIntervalMs: 40,
    lobbySettleMs: 100,
    lobbyGraceMs: 200,
    sessionStartTimeoutMs: 5000,
  });
  folder = mkdtempSync(path.join(os.tmpdir(), "wl-"));
  wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    stateFolder: folder,
    containerStartDelayMs: 5,
  });
});

afterEach(async () => {
  for (const agent of legacyAgents.splice(0)) agent.drop();
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
  await wolf.close();
  await plane.stop();
  rmSync(folder, { recursive: true, force: true });
});

const dial = (changes: Partial<LegacyAgentOptions> = {}): Promise<LegacyAgent> =>
  dialLegacy({
    url: plane.url,
    runnerId: "wolf-gpu-1",
    token: RUNNER_TOKEN,
    target: { path: path.join(folder, "wolf.sock") },
    ...changes,
  });

async function call<T>(method: string, route: string, body?: unknown, key = plane.adminKey) {
  const response = await fetch(`${plane.url}/api/v1/${route}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  return { status: response.status, bytes, body: (isJson ? JSON.parse(bytes.toString()) : null) as T };
}

const show = async (name = "gpu-1") => (await call<WolfInstance>("GET", `wolf-instances/${name}`)).body;
const listLobbies = async () =>
  call<{ session_id: string }[]>("GET", `wolf-instances/${(await show()).id}/lobbies`);
const isReady = (epoch: number) =>
  eventually(show, ({ tunnel, reconciled, health }) => {
    return tunnel?.epoch === epoch && reconciled === true && health === "ok";
  });

/** A wolf with an agent of Helix, ready for sessions. */
async function ready(changes: Partial<LegacyAgentOptions> = {}): Promise<LegacyAgent> {
  const agent = await dial(changes);
  await isReady(1);
  return agent;
}

/** A session that runs, though nobody has started it. */
async function sessionOf(ownerId: string): Promise<Pick<Session, "id">> {
  const id = newId("ses");
  const now = new Date();
  const dates = { created_at: now, updated_at: now, ended_at: null };
  const rest = { spec: aSpec(), placement: anExplanation(), slot_held: false, ...dates };
  const data = { id, owner_id: ownerId, name: "s", status: "running", ...rest };
  await plane.database.prisma.session.create({ data });
  return { id };
}

const create = (key = plane.adminKey) => call<Session>("POST", "sessions", { gpu_type: "none" }, key);

describe("a wolf with an agent of Helix", () => {
  it("registers by its first tunnel, counts as online, and shows how it came", async () => {
    await ready();
    expect(await eventually(show, (shown) => shown.wolf_capabilities !== null)).toMatchObject({
      name: "gpu-1",
      status: "online",
      max_sandboxes: 20,
      gpu_type: "none",
      address: "127.0.0.1",
      tunnel: { protocol: "helix", rtt_ms: expect.any(Number) },
      legacy_credential: true,
      wolf_capabilities: { missing: [] },
    });
    const up = plane.lines.filter((line) => line.includes('"tunnel up"'));
    expect(up.map((line) => JSON.parse(line))).toMatchObject([{ protocol: "helix", transport: "helix" }]);
    const events = await call<AuditEvent[]>("GET", "audit-events?action=agent.connect");
    expect(events.body).toMatchObject([{ result: "allowed", detail: { protocol: "helix" } }]);
  });

  it("is a known wolf again when it comes back, with what was set for it", async () => {
    const registered = { name: "gpu-1", gpu_type: "nvidia", max_sandboxes: 3 };
    const { body } = await call<WolfInstance>("POST", "wolf-instances/register", registered, RUNNER_TOKEN);
    await ready();
    expect(await show()).toMatchObject({ id: body.id, gpu_type: "nvidia", max_sandboxes: 3 });
  });

  it.each([
    ["whose agent dials literally", {}],
    ["whose agent dials the API's path", { paths: "rewritten" }],
    ["whose control connection is a bare stream", { control: "stream" }],
  ] as const)("%s gets a session, lists it and stops it", async (_what, changes) => {
    const agent = await ready(changes);
    const { status, body } = await create();
    expect([status, body.status]).toEqual([201, "running"]);
    expect(wolf.lobbies()).toMatchObject([{ id: body.lobby_id, name: body.id }]);
    expect((await listLobbies()).body).toMatchObject([{ session_id: body.id, is_live: true }]);
    expect((await call("DELETE", `sessions/${body.id}`)).status).toBe(204);
    expect(wolf.lobbies()).toEqual([]);
    expect(agent.pickUps).toBeGreaterThan(3);
    // A subscription that ends can end Wolf.
    const unsafe = wolf.requests.filter((one) => one.path === "/api/v1/events");
    expect(unsafe).toEqual([]);
  });

  it("whose Wolf is down is not healthy, gets no session, and is well again when it is back", async () => {
    await ready();
    await wolf.close();
    expect((await listLobbies()).status).toBe(503);
    await eventually(show, ({ health }) => health === "failed");
    expect((await show()).health_reasons).toMatchObject([{ code: "wolf-unreachable" }]);
    const refused = await call<Problem>("POST", "sessions", { queue: false });
    expect([refused.status, refused.body.code]).toEqual([503, "no-capacity"]);
    wolf = await startWolfEmulator({ listen: { unixSocket: path.join(folder, "wolf.sock") } });
    await eventually(listLobbies, ({ status }) => status === 200);
    await eventually(show, ({ health }) => health === "ok");
  });

  it("lets requests wait while its agent is away, and answers them when it is back", async () => {
    const first = await ready();
    const { body: session } = await create();
    first.drop();
    await eventually(show, ({ connectivity }) => connectivity === "suspect");
    const stopping = call("DELETE", `sessions/${session.id}`);
    await eventually(
      () => call<Session>("GET", `sessions/${session.id}`),
      ({ body }) => body.status === "stopping",
    );
    await dial();
    expect((await stopping).status).toBe(204);
    expect(wolf.lobbies()).toEqual([]);
  });

  it("that is opened again replaces the connection before, which hears why", async () => {
    const first = await ready();
    await dial();
    expect(await first.closed).toEqual({ code: 4001, reason: "replaced" });
    await isReady(2);
    expect(await plane.database.prisma.auditEvent.count({ where: { action: "agent.takeover" } })).toBe(1);
  });

  it("that is removed loses its tunnel, and its agent hears that it is revoked", async () => {
    const agent = await ready();
    await call("DELETE", `wolf-instances/${(await show()).id}`);
    expect(await agent.closed).toEqual({ code: 4003, reason: "revoked" });
  });
});

describe("who may", () => {
  const refusal = (dialling: Promise<LegacyAgent>) =>
    dialling.then(
      () => "open",
      ({ status, body }: Refused) => `${status} ${JSON.parse(body).code}`,
    );

  it("not be a wolf that has a key of its own, nor take its place", async () => {
    const native = new TestAgent("gpu-1");
    await native.enroll(plane.url);
    const tunnel = await native.connect(plane.url);
    expect(await refusal(dial())).toBe("403 forbidden");
    expect(await refusal(dial({ runnerId: "moonlight-gpu-1" }))).toBe("403 forbidden");
    expect(tunnel.draining).toBe(false);
    // Its epoch is written after the agent has seen the tunnel.
    const wolf = await eventually(show, ({ tunnel }) => tunnel !== null);
    expect(wolf).toMatchObject({ tunnel: { protocol: "revdial" }, legacy_credential: false });
  });

  it("not open what is no key of Helix, nor a wolf with a user's key", async () => {
    const user = await plane.user("somebody");
    expect(await refusal(dial({ token: user.key }))).toBe("403 forbidden");
    expect(await refusal(dial({ token: "wrong" }))).toBe("401 unauthenticated");
    for (const runnerId of ["doctor-gpu-1", "hydra-gpu-1", "wolf-", "wolf-a%20b", "sandbox-1", "x"])
      expect(await refusal(dial({ runnerId }))).toBe("400 runner-id-invalid");
    expect(await refusal(dial({ runnerId: "wolf-a&x=1" }))).toBe("400 invalid-request");
    expect(await refusal(dial({ runnerId: "moonlight-unknown" }))).toBe("404 wolf-not-found");
    expect((await call<WolfInstance[]>("GET", "wolf-instances")).body).toEqual([]);
  });

  it("not use the RUNNER_TOKEN without the switch, which the refusal names; nothing is registered", async () => {
    await plane.stop();
    plane = await startControlPlane({ legacyRunnerToken: false });
    for (const control of ["websocket", "stream"] as const) {
      const refused = await dial({ control }).catch((error: Refused) => error);
      expect(refused).toMatchObject({ status: 403 });
      expect(JSON.parse((refused as Refused).body).detail).toContain("LEGACY_RUNNER_TOKEN");
    }
    expect((await call<WolfInstance[]>("GET", "wolf-instances")).body).toEqual([]);
    expect(plane.lines.filter((line) => line.includes("LEGACY_RUNNER_TOKEN=allow"))).toEqual([]);
  });

  it("is warned of at the start while the switch is on, once", () => {
    const warnings = plane.lines.filter((line) => line.includes("LEGACY_RUNNER_TOKEN=allow"));
    expect(warnings.map((line) => JSON.parse(line).level)).toEqual([40]);
  });
});

describe("the tunnel of a sandbox of Helix", () => {
  const png = Buffer.from("89504e470d0a1a0a00", "hex");
  let screen: Server;
  let clipboard: string;
  let owner: { id: string; key: string };

  beforeEach(async () => {
    clipboard = JSON.stringify({ type: "text", data: "before" });
    screen = createServer((request, response) => void answer(request, response));
    screen.listen(0, "127.0.0.1");
    await once(screen, "listening");
    owner = await plane.user("owner");
    await ready();
  });
  afterEach(async () => {
    screen.closeAllConnections();
    await new Promise((resolve) => screen.close(resolve));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === "/screenshot") return void response.setHeader("content-type", "image/png").end(png);
    if (request.method === "POST") {
      clipboard = await text(request);
      return void response.end();
    }
    response.setHeader("content-type", "application/json").end(clipboard);
  }

  const dialSandbox = (session: Pick<Session, "id">, token = owner.key) =>
    dial({
      runnerId: `sandbox-${session.id}`,
      token,
      target: { host: "127.0.0.1", port: (screen.address() as AddressInfo).port },
    });
  const shot = (session: Session) => call("GET", `sessions/${session.id}/screenshot`, undefined, owner.key);

  it("brings its screen and its clipboard: what is only read over one connection, what changes something over its own", async () => {
    const { body: session } = await create(owner.key);
    const agent = await dialSandbox(session);
    const first = await eventually(
      () => shot(session),
      ({ status }) => status === 200,
    );
    expect(first.bytes.equals(png)).toBe(true);
    const route = `sessions/${session.id}/clipboard`;
    expect((await call("GET", route, undefined, owner.key)).body).toEqual({ text: "before" });
    expect((await call("POST", route, { text: "after" }, owner.key)).status).toBeLessThan(300);
    expect(JSON.parse(clipboard)).toEqual({ type: "text", data: "after" });
    expect(agent.pickUps).toBe(2);
  });

  it("is opened without the switch for the RUNNER_TOKEN, by its owner only", async () => {
    await plane.stop();
    plane = await startControlPlane({ legacyRunnerToken: false });
    owner = await plane.user("owner");
    const session = await sessionOf(owner.id);
    const stranger = await plane.user("stranger");
    await expect(dialSandbox(session, stranger.key)).rejects.toMatchObject({ status: 404 });
    await expect(dialSandbox(session, RUNNER_TOKEN)).rejects.toMatchObject({ status: 403 });
    await dialSandbox(session);
  });

  it("is waited for while its agent is away", async () => {
    const { body: session } = await create(owner.key);
    const agent = await dialSandbox(session);
    await eventually(
      () => shot(session),
      ({ status }) => status === 200,
    );
    agent.drop();
    const waiting = eventually(
      () => shot(session),
      ({ status }) => status === 200,
    );
    await dialSandbox(session);
    expect((await waiting).bytes.equals(png)).toBe(true);
  });

  it("ends with the key it was opened with, and so do its data connections", async () => {
    const { body: session } = await create(owner.key);
    const agent = await dialSandbox(session);
    await eventually(
      () => shot(session),
      ({ status }) => status === 200,
    );
    const { body: keys } = await call<{ id: string }[]>("GET", `api-keys?user_id=${owner.id}`);
    await call("DELETE", `api-keys/${keys[0]?.id}`);
    expect(await agent.closed).toEqual({ code: 4003, reason: "revoked" });
    await eventually(
      () => agent.connections,
      (count) => count === 0,
    );
    await expect(dialSandbox(session)).rejects.toMatchObject({ status: 401 });
  });

  it("ends with its session", async () => {
    const { body: session } = await create(owner.key);
    const agent = await dialSandbox(session);
    await call("DELETE", `sessions/${session.id}`, undefined, owner.key);
    await agent.closed;
  });
});

describe("a service beside a wolf", () => {
  it("has a tunnel of its own, which is neither the wolf's nor replaces it", async () => {
    const agent = await ready();
    const beside = await dial({ runnerId: "moonlight-gpu-1" });
    await eventually(
      () => plane.lines.filter((line) => line.includes("moonlight tunnel up")),
      (lines) => lines.length === 1,
    );
    expect((await show()).tunnel).toMatchObject({ epoch: 1 });
    expect([agent.webSocket?.readyState, beside.webSocket?.readyState]).toEqual([1, 1]);
    const again = await dial({ runnerId: "moonlight-gpu-1" });
    expect(await beside.closed).toEqual({ code: 4001, reason: "replaced" });
    await call("DELETE", `wolf-instances/${(await show()).id}`);
    expect(await again.closed).toEqual({ code: 4003, reason: "revoked" });
  });
});
