import { once } from "node:events";
import { createServer, type Server } from "node:http";
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from "node:net";
import { text as readText } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import {
  operations,
  type ProblemCode,
  problems,
  problemsOf,
  SessionId,
  WolfInstance,
} from "@wolfpack/api-contract";
import type { RevdialError, Tunnel } from "revdial";
import request from "supertest";
import { anExplanation, aSpec } from "../../test/a-session.ts";
import { aDisk, aUsage, aWolf } from "../../test/a-wolf.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import {
  dial,
  dialAndLeave,
  dialled,
  holdWolves,
  type Refused,
  raw as rawRequest,
  refusal,
  refusedEitherWay,
  runnerAuth,
  TUNNEL_PATH,
  until,
  wolfTarget,
} from "../../test/tunnel-requests.ts";
import { systemClock } from "../clock.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { type AdmissionOptions, createAdmission } from "./admission.ts";
import { createTurns } from "./turns.ts";
import { attachUpgrades } from "./upgrade.ts";

const handshake = {
  host: "x",
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": "revdial.v3",
};

/** An upgrade with some fields changed. */
const raw = (base: string, target: string, changes: Record<string, string | undefined>, method = "GET") =>
  rawRequest(base, target, { ...handshake, ...changes }, method);

afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

describe("GET /api/v1/revdial", () => {
  let api: TestControlPlane;
  let owner: { id: string; key: string };
  beforeAll(async () => {
    api = await startControlPlane({ tunnelLostAfterMs: 50 });
    owner = await api.user("owner");
  });
  afterAll(() => api.stop());

  const register = async (name: string): Promise<string> => {
    const { body } = await request(api.url)
      .post("/api/v1/wolf-instances/register")
      .set("authorization", `Bearer ${RUNNER_TOKEN}`)
      .send({ name })
      .expect(200);
    return body.id;
  };
  const show = async (id: string) =>
    (await request(api.url).get(`/api/v1/wolf-instances/${id}`).set("authorization", `Bearer ${owner.key}`))
      .body;
  const isTunnelOf = (id: string, epoch: number) =>
    until(async () => (await show(id)).tunnel?.epoch === epoch);
  async function addSession(status = "running"): Promise<string> {
    const id = newId("ses");
    const now = new Date();
    await api.database.prisma.session.create({
      data: {
        id,
        owner_id: owner.id,
        name: "s",
        status,
        spec: aSpec(),
        placement: anExplanation(),
        slot_held: false,
        created_at: now,
        updated_at: now,
        ended_at: status === "stopped" ? now : null,
      },
    });
    return id;
  }

  it("lets a registered wolf in with the runner token and shows its tunnel; its end is seen at once", async () => {
    const id = await register("wolf-1");
    const tunnel = await dial(api.url, "wolf-wolf-1", RUNNER_TOKEN);
    expect(tunnel.peer?.agent).toMatch(/^wolfpack-control-plane\/\d+\.\d+\.\d+$/);
    await isTunnelOf(id, 1);
    expect(await show(id)).toMatchObject({ status: "online", connectivity: "connected" });
    tunnel.destroy();
    await until(async () => (await show(id)).connectivity !== "connected");
    await until(async () => (await show(id)).status === "offline");
    expect((await show(id)).tunnel).toBeNull();
  });

  it("writes what the agent says of itself and of Wolf", async () => {
    const id = await register("wolf-2");
    const tunnel = await dial(api.url, "wolf-wolf-2", RUNNER_TOKEN);
    const say = (type: string, json: unknown) => tunnel.notify(type, Buffer.from(JSON.stringify(json)));
    say("inventory", { gpu_type: "amd", max_sandboxes: 5, agent_version: "9.9.9", labels: { a: "b" } });
    say("heartbeat", { wolf: "slow", detail: "took\u0000 9 s" });
    await until(async () => (await show(id)).health === "degraded");
    await until(async () => (await show(id)).max_sandboxes === 5);
    expect(await show(id)).toMatchObject({
      status: "degraded",
      health_reasons: [{ code: "wolf-slow", detail: "Wolf answers slowly: took  9 s" }],
      gpu_type: "amd",
      agent_version: "9.9.9",
    });
    say("heartbeat", { wolf: "ok" });
    say("heartbeat", { wolf: "ok" });
    await until(async () => (await show(id)).status === "online");
  });

  it("shows what the agent says of its host, and keeps it in the disk history", async () => {
    const id = await register("wolf-host");
    const tunnel = await dial(api.url, "wolf-wolf-host", RUNNER_TOKEN);
    const say = (type: string, json: unknown) => tunnel.notify(type, Buffer.from(JSON.stringify(json)));
    const host = { cpu_model: "A CPU", cpu_count: 8, memory_bytes: 64, gpus: [] };
    expect(await show(id)).toMatchObject({ host: null, usage: null, wolf_restarts: 0 });
    say("inventory", { max_sandboxes: 5, agent_version: "9.9.9", labels: {}, host });
    const usage = aUsage({ disks: [aDisk("/data", { level: "critical" })] });
    say("heartbeat", { wolf: "ok", usage, restarts: { count: 2, recent: false } });
    await until(async () => (await show(id)).usage !== null);
    await until(async () => (await show(id)).health === "degraded");
    expect(WolfInstance.parse(await show(id))).toMatchObject({
      host,
      usage: { ...usage, received_at: expect.any(String) },
      wolf_restarts: 2,
      health_reasons: [{ code: "disk-critical", detail: "Almost full: /data" }],
    });
    const { body } = await request(api.url)
      .get(`/api/v1/wolf-instances/${id}/disk-history`)
      .set({ authorization: `Bearer ${api.adminKey}` });
    expect(body).toEqual([{ id: expect.any(String), at: expect.any(String), ...usage.disks[0] }]);
  });

  it("replaces the tunnel of a wolf that dials again", async () => {
    const id = await register("wolf-3");
    const old = await dial(api.url, "wolf-wolf-3", RUNNER_TOKEN);
    await isTunnelOf(id, 1);
    const young = await dial(api.url, "wolf-wolf-3", RUNNER_TOKEN);
    expect((await old.closed).reason).toContain("replaced");
    await isTunnelOf(id, 2);
    expect(young.draining).toBe(false);
    expect((await show(id)).connectivity).toBe("connected");
  });

  it("leaves one tunnel of two that dial at the same moment", async () => {
    const id = await register("wolf-4");
    const both = await Promise.all([1, 2].map(() => dial(api.url, "wolf-wolf-4", RUNNER_TOKEN)));
    await Promise.race(both.map(({ closed }) => closed));
    await isTunnelOf(id, 2);
    expect(both.filter(({ draining }) => !draining)).toHaveLength(1);
    expect((await show(id)).connectivity).toBe("connected");
  });

  it("lets a wolf back in whose old tunnel is half dead, and its late end changes nothing", async () => {
    const id = await register("wolf-5");
    const held: Socket[] = [];
    const proxy = createTcpServer((inner) => {
      const outer = connectTcp(Number(new URL(api.url).port), "127.0.0.1");
      held.push(inner, outer);
      for (const socket of [inner, outer]) socket.on("error", () => socket.destroy());
      inner.pipe(outer);
      outer.pipe(inner);
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const old = await dial(
      `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      "wolf-wolf-5",
      RUNNER_TOKEN,
    );
    await isTunnelOf(id, 1);
    for (const socket of held) {
      socket.unpipe();
      socket.pause();
    }
    await dial(api.url, "wolf-wolf-5", RUNNER_TOKEN);
    await isTunnelOf(id, 2);
    for (const socket of held) socket.destroy();
    await old.closed;
    proxy.close();
    await once(proxy, "close");
    expect(await show(id)).toMatchObject({ status: "online", tunnel: { epoch: 2 } });
  });

  it("ends the tunnel of a wolf that is removed; its agent is told to register", async () => {
    const id = await register("wolf-6");
    const tunnel = await dial(api.url, "wolf-wolf-6", RUNNER_TOKEN);
    await isTunnelOf(id, 1);
    await request(api.url)
      .delete(`/api/v1/wolf-instances/${id}`)
      .set("authorization", `Bearer ${api.adminKey}`)
      .expect(200);
    await tunnel.closed;
    expect(await refusal(api.url, "wolf-wolf-6", RUNNER_TOKEN)).toBe("wolf-not-found");
  });

  it("lets the owner of a session and an admin open its sandbox's tunnel", async () => {
    const session = await addSession();
    await dial(api.url, `sandbox-${session}`, owner.key);
    await dial(api.url, `sandbox-${session}`, api.adminKey);
  });

  it("hides sessions from whoever may not have them, and ended ones from all", async () => {
    const [session, ended] = [await addSession(), await addSession("stopped")];
    const stranger = await api.user("stranger");
    expect(await refusal(api.url, `sandbox-${session}`, stranger.key)).toBe("session-not-found");
    expect(await refusal(api.url, `sandbox-${newId("ses")}`, owner.key)).toBe("session-not-found");
    expect(await refusal(api.url, `sandbox-${ended}`, owner.key)).toBe("session-not-found");
    expect(await refusal(api.url, `sandbox-${session}`, RUNNER_TOKEN)).toBe("forbidden");
  });

  it("refuses a wolf's tunnel to users and admins, and an unknown wolf to all", async () => {
    await register("wolf-7");
    expect(await refusal(api.url, "wolf-wolf-7", owner.key)).toBe("forbidden");
    expect(await refusal(api.url, "wolf-wolf-7", api.adminKey)).toBe("forbidden");
    expect(await refusal(api.url, "wolf-unknown", RUNNER_TOKEN)).toBe("wolf-not-found");
  });

  it("says nothing about wolves and sessions to whoever has no credential", async () => {
    for (const runnerId of ["wolf-wolf-7", "wolf-unknown", "nonsense", `sandbox-${newId("ses")}`]) {
      expect(await refusal(api.url, runnerId, "wrong")).toBe("unauthenticated");
    }
  });

  it("refuses a revoked key", async () => {
    const session = await addSession();
    const leaver = await api.user("leaver", "admin");
    await api.database.prisma.apiKey.updateMany({
      where: { user_id: leaver.id },
      data: { revoked_at: new Date() },
    });
    expect(await refusal(api.url, `sandbox-${session}`, leaver.key)).toBe("unauthenticated");
  });

  const refused: readonly (readonly [...Refused, method?: string])[] = [
    ...refusedEitherWay,
    ["another path", "not-found", "/api/v1/sessions", runnerAuth],
    ["a path that only ends alike", "not-found", `/x${wolfTarget}`, runnerAuth],
    ["a target that is no URL", "not-found", "//", runnerAuth],
    ["another method", "method-not-allowed", wolfTarget, runnerAuth, "POST"],
    [
      "no WebSocket version",
      "upgrade-required",
      wolfTarget,
      { ...runnerAuth, "sec-websocket-version": undefined },
    ],
    ["WebSocket version 8", "upgrade-required", wolfTarget, { ...runnerAuth, "sec-websocket-version": "8" }],
    ["no key", "malformed-http", wolfTarget, { ...runnerAuth, "sec-websocket-key": undefined }],
    ["a key that is none", "malformed-http", wolfTarget, { ...runnerAuth, "sec-websocket-key": "x" }],
    [
      "no subprotocol, as Helix's agents, for what those have not",
      "runner-id-invalid",
      `${TUNNEL_PATH}?runnerid=doctor-wolf-1`,
      { ...runnerAuth, "sec-websocket-protocol": undefined },
    ],
    [
      "another subprotocol",
      "tunnel-protocol-unsupported",
      wolfTarget,
      { ...runnerAuth, "sec-websocket-protocol": "revdial.v2" },
    ],
  ];

  const allowed = () => api.database.prisma.auditEvent.count({ where: { result: "allowed" } });

  it.each(refused.map((row) => [row[0], row] as const))(
    "refuses %s as a documented problem and closes, and says nowhere that it was allowed",
    async (_what, [, code, target, changes, method]) => {
      const before = await allowed();
      const answer = await raw(api.url, target, changes, method);
      expect(answer.problem.code).toBe(code);
      expect(answer.status).toBe(problems[code].status);
      expect(answer.headers).toMatchObject({
        "content-type": "application/problem+json",
        connection: "close",
        "x-request-id": answer.problem.instance,
      });
      expect(await allowed()).toBe(before);
    },
  );

  it("refuses with no code that its operation does not document", () => {
    const ofAnyRoute: ProblemCode[] = ["not-found", "method-not-allowed", "malformed-http"];
    const documented = new Set([...problemsOf(operations.openTunnel), ...ofAnyRoute]);
    expect(refused.map(([, code]) => code).filter((code) => !documented.has(code))).toEqual([]);
  });

  it("names what would be accepted: the version, the method, the scheme", async () => {
    const version = await raw(api.url, wolfTarget, { ...runnerAuth, "sec-websocket-version": "8" });
    expect(version.headers).toMatchObject({ upgrade: "websocket", "sec-websocket-version": "13" });
    expect((await raw(api.url, wolfTarget, runnerAuth, "POST")).headers.allow).toBe("GET");
    expect((await raw(api.url, wolfTarget, {})).headers["www-authenticate"]).toMatch(/^Bearer/);
  });

  it("keeps credentials out of the log", () => {
    expect(api.lines.filter((line) => line.includes("upgrade refused")).length).toBeGreaterThan(10);
    expect(api.lines.filter((line) => line.includes(RUNNER_TOKEN) || line.includes(owner.key))).toEqual([]);
  });

  it("without an upgrade answers 426 and says to what", async () => {
    const answer = await request(api.url).get(wolfTarget).expect(426);
    expect(answer.body.code).toBe("upgrade-required");
    expect(answer.headers.upgrade).toBe("websocket");
  });

  it("survives peers that vanish or write nonsense at any moment of the handshake", async () => {
    const { port } = new URL(api.url);
    const head = Object.entries({ ...handshake, ...runnerAuth }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const text = `GET ${wolfTarget} HTTP/1.1\r\n${head.join("")}\r\n`;
    const parts = [
      text.slice(0, 20),
      text.slice(0, -2),
      text,
      `${text}\x82\xff\xff`,
      `${text}${"x".repeat(9000)}`,
    ];
    for (const part of parts) {
      for (const end of ["resetAndDestroy", "end", "destroy"] as const) {
        const socket = connectTcp(Number(port), "127.0.0.1");
        socket.on("error", () => undefined);
        await once(socket, "connect");
        await new Promise((resolve) => socket.write(part, "latin1", resolve));
        socket.resume();
        socket[end]();
        if (!socket.closed) await once(socket, "close");
      }
    }
    const id = await register("wolf-8");
    await dial(api.url, "wolf-wolf-8", RUNNER_TOKEN);
    await isTunnelOf(id, 1);
  });
});

describe("an upgrade", () => {
  let server: Server;
  let base: string;
  let options: AdmissionOptions;
  let accepted: string[];
  let lines: string[];
  let waitMs: number | undefined;

  beforeEach(async () => {
    accepted = [];
    waitMs = undefined;
    lines = [];
    const accept = async (what: string, tunnel: Tunnel) => {
      accepted.push(what);
      dialled.push(tunnel);
    };
    options = {
      identity: {
        authenticate: async ({ authorization }) =>
          authorization === "Bearer r" ? { kind: "runner" } : undefined,
      },
      audit: { record: async () => undefined },
      bridge: { check: async () => undefined },
      wolves: {
        getByName: async (name) => aWolf({ name }),
        registerOnConnect: async (name) => aWolf({ name }),
      },
      ownerOf: async () => undefined,
      gateway: {
        acceptWolf: ({ name }, tunnel) => accept(name, tunnel),
        acceptFurther: async () => {},
        acceptSandbox: (id, tunnel) => accept(id, tunnel),
        acceptMoonlight: ({ name }, tunnel) => accept(name, tunnel),
        takeoverWaitMs: () => waitMs,
      },
      doctors: { full: false, accept: (name, tunnel) => void accept(`doctor ${name}`, tunnel) },
      log: createLogger("trace", { write: (line) => void lines.push(line) }),
      publicHosts: [],
      mark: () => 0,
      draining: () => false,
      turns: createTurns({ clock: systemClock, max: 2 }),
    };
    server = createServer();
    // What a test changes later counts.
    const changeable = new Proxy(options, { get: (_target, name) => Reflect.get(options, name) });
    attachUpgrades(server, { admission: createAdmission(changeable), log: options.log });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const tunnel of dialled.splice(0)) tunnel.destroy();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  it("while the database is away answers 503 with Retry-After", async () => {
    options.wolves.getByName = async () => {
      throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    };
    const answer = await raw(base, `${TUNNEL_PATH}?runnerid=wolf-a`, { authorization: "Bearer r" });
    expect([answer.status, answer.problem.code]).toEqual([503, "database-unavailable"]);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
    expect(accepted).toEqual([]);
    expect(JSON.parse(lines.at(-1) ?? "").level).toBe(40);
  });

  it("that fails by a mistake of ours answers 500 without saying why, and logs it as an error", async () => {
    options.wolves.getByName = async () => {
      throw new Error("secret detail");
    };
    const answer = await raw(base, `${TUNNEL_PATH}?runnerid=wolf-a`, { authorization: "Bearer r" });
    expect([answer.status, answer.problem.code]).toEqual([500, "internal"]);
    expect(JSON.stringify(answer)).not.toContain("secret detail");
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ level: 50, request_id: answer.problem.instance });
  });

  it("that cannot be written to the audit log opens nothing, and is not refused without it either", async () => {
    options.audit = {
      record: async () => {
        throw new Error("no room");
      },
    };
    for (const authorization of ["Bearer r", "Bearer wrong"]) {
      const answer = await raw(base, `${TUNNEL_PATH}?runnerid=wolf-a`, { authorization });
      expect([answer.status, answer.problem.code]).toEqual([500, "internal"]);
    }
    expect(accepted).toEqual([]);
  });

  it("while draining answers 503 with Retry-After and asks nobody", async () => {
    options.draining = () => true;
    options.identity.authenticate = async () => {
      throw new Error("must not be asked");
    };
    const answer = await raw(base, `${TUNNEL_PATH}?runnerid=wolf-a`, { authorization: "Bearer r" });
    expect([answer.status, answer.problem.code]).toEqual([503, "draining"]);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("as a wolf whose agents take over from each other answers 429, and says when it may be tried again", async () => {
    waitMs = 12_001;
    const answer = await raw(base, `${TUNNEL_PATH}?runnerid=wolf-a`, { authorization: "Bearer r" });
    expect([answer.status, answer.problem.code]).toEqual([429, "rate-limited"]);
    expect(answer.headers["retry-after"]).toBe("13");
    expect(accepted).toEqual([]);
  });

  it("too many at a time answers 503; those that wait go on, and their places are free again", async () => {
    const { asked, release } = holdWolves(options, 2);
    const first = [dial(base, "wolf-a", "r"), dial(base, "wolf-b", "r")].map((dialling) =>
      dialling.then(
        () => "up",
        (error: RevdialError) => error.code,
      ),
    );
    await asked;
    expect(await refusal(base, "wolf-c", "r")).toBe("draining");
    release();
    expect(await Promise.all(first)).toEqual(["up", "up"]);
    expect(accepted.sort()).toEqual(["a", "b"]);
    for (const name of ["d", "e", "f"]) await dial(base, `wolf-${name}`, "r");
  });

  it("whose peer is gone when the answer is known leaves no tunnel and harms nobody", async () => {
    const { release, gone } = await dialAndLeave(base, server, options);
    release();
    await gone;
    // Whether the operating system has told of the end before or after the upgrade: there is no tunnel in the end.
    for (const tunnel of dialled.splice(0)) await tunnel.closed;
    await dial(base, "wolf-b", "r");
    expect(accepted.at(-1)).toBe("b");
  });

  it("that is refused ends even when the peer never closes its side", async () => {
    const socket = connectTcp({ port: Number(new URL(base).port), host: "127.0.0.1", allowHalfOpen: true });
    const closing = once(server, "connection").then(([one]) => once(one as Socket, "close"));
    const head = Object.entries(handshake).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${TUNNEL_PATH} HTTP/1.1\r\n${head.join("")}\r\n`);
    const text = await readText(socket);
    expect(text).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    await closing;
    socket.destroy();
  });

  it("of a doctor needs no registered wolf, but the runner token, and room", async () => {
    options.wolves.getByName = async () => undefined;
    await dial(base, "doctor-gpu-1", "r");
    expect(accepted).toEqual(["doctor gpu-1"]);
    options.doctors = { ...options.doctors, full: true };
    expect(await refusal(base, "doctor-gpu-1", "r")).toBe("draining");
    options.identity.authenticate = async () => ({
      kind: "user",
      userId: "u",
      role: "admin",
      scopes: null,
      credentialId: "k",
    });
    expect(await refusal(base, "doctor-gpu-1", "r")).toBe("forbidden");
    expect(await refusal(base, "doctor-../x", "r")).toBe("runner-id-invalid");
    expect(accepted).toHaveLength(1);
  });

  it("of a sandbox asks for the owner of exactly that session", async () => {
    const asked: string[] = [];
    const session = newId("ses");
    options.identity.authenticate = async () => ({
      kind: "user",
      userId: "u",
      role: "user",
      scopes: null,
      credentialId: "k",
    });
    options.ownerOf = async (id) => {
      asked.push(id);
      return "u";
    };
    await dial(base, `sandbox-${session}`, "r");
    expect([asked, accepted]).toEqual([[session], [session]]);
    expect(SessionId.safeParse(session).success).toBe(true);
  });
});
