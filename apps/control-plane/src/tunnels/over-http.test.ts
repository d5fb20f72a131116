import { once } from "node:events";
import { request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect as connectTcp } from "node:net";
import { text as readText } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { operations, type ProblemCode, problems, problemsOf, type Session } from "@wolfpack/api-contract";
import express from "express";
import type { OutgoingResponse, RevdialError, Tunnel } from "revdial";
import request from "supertest";
import { anExplanation, aSpec } from "../../test/a-session.ts";
import { aWolf } from "../../test/a-wolf.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import { startHost, type TestHost } from "../../test/host.ts";
import {
  dialAndLeave,
  dialled,
  dial as dialWith,
  holdWolves,
  raw,
  refusal as refusalWith,
  refusedEitherWay,
  runnerAuth,
  TUNNEL_PATH,
  until,
  wolfTarget,
} from "../../test/tunnel-requests.ts";
import { systemClock } from "../clock.ts";
import { problemHandler } from "../http/problem.ts";
import { createHttpServer } from "../http/server.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { type AdmissionOptions, createAdmission } from "./admission.ts";
import { type TunnelsOverHttp, tunnelsOverHttp } from "./over-http.ts";
import { createTurns } from "./turns.ts";
import { attachUpgrades } from "./upgrade.ts";

const TYPE = "application/vnd.revdial.v3";
const overHttp = { transport: "http" } as const;
const dial = (base: string, runnerId: string, credential: string) =>
  dialWith(base, runnerId, credential, overHttp);
const refusal = (base: string, runnerId: string, credential: string) =>
  refusalWith(base, runnerId, credential, overHttp);
const openFields = { host: "x", "content-type": TYPE, "content-length": "0", connection: "close" };

/** A POST with a connection of its own; resolves at the head. */
async function post(
  base: string,
  fields: Record<string, string>,
  body: Uint8Array = Buffer.alloc(0),
  target = wolfTarget,
): Promise<IncomingMessage> {
  const made = httpRequest(`${base}${target}`, {
    method: "POST",
    agent: false,
    headers: { "content-type": TYPE, "content-length": String(body.byteLength), ...fields },
  });
  made.on("error", () => undefined);
  made.end(body);
  const [response] = (await once(made, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  return response;
}

afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

describe("POST /api/v1/revdial", () => {
  let api: TestControlPlane;
  beforeAll(async () => {
    api = await startControlPlane({ tunnelLostAfterMs: 50, lobbySettleMs: 300 });
  });
  afterAll(() => api.stop());

  const call = (method: "get" | "post" | "delete", path: string) =>
    request(api.url)[method](`/api/v1/${path}`).set("authorization", `Bearer ${api.adminKey}`);
  const show = async (id: string) => (await call("get", `wolf-instances/${id}`)).body;

  async function withHost(run: (host: TestHost) => Promise<void>): Promise<void> {
    const host = await startHost(api, { name: `wolf-${newId("wlf")}`, ...overHttp });
    try {
      await run(host);
    } finally {
      await host.stop();
    }
  }

  it("carries all that a session needs, and its end is seen at once", () =>
    withHost(async (host) => {
      expect(host.tunnel.transport).toBe("http");
      expect(await show(host.wolfId)).toMatchObject({ status: "online", tunnel: { epoch: 1 } });
      const { body: session } = await call("post", "sessions").send({}).expect(201);
      expect((session as Session).status).toBe("running");
      const shot = await call("get", `sessions/${session.id}/screenshot`).expect(200);
      expect(shot.headers["content-type"]).toBe("image/png");
      await call("post", `sessions/${session.id}/clipboard`).send({ text: "hi" }).expect(204);
      await call("get", `sessions/${session.id}/clipboard`).expect(200, { text: "hi" });
      await call("delete", `sessions/${session.id}`).expect(204);
      host.tunnel.destroy();
      await until(async () => (await show(host.wolfId)).status === "offline");
    }));

  it("is taken over by a WebSocket of the same wolf: what is in flight goes on, and no request finds neither", () =>
    withHost(async (host) => {
      const { body: session } = await call("post", "sessions").send({}).expect(201);
      const screenshot = () => call("get", `sessions/${session.id}/screenshot`);
      const { tunnel: old } = host;
      const asked = Promise.withResolvers<void>();
      const answer = Promise.withResolvers<OutgoingResponse>();
      host.screen = () => {
        asked.resolve();
        return answer.promise as unknown as OutgoingResponse;
      };
      const inFlight = screenshot().then(({ status }) => status);
      await asked.promise;
      host.screen = undefined;
      let over = false;
      const statuses: number[] = [];
      const load = (async () => {
        while (!over) statuses.push((await screenshot()).status);
      })();
      await host.dial("websocket");
      await until(async () => (await show(host.wolfId)).tunnel?.epoch === 2);
      await screenshot().expect(200);
      over = true;
      await load;
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
      expect(old.draining).toBe(true);
      const png = await screenshot();
      answer.resolve({ status: 200, headers: [["content-type", "image/png"]], body: png.body as Buffer });
      expect(await inFlight).toBe(200);
      expect(await old.closed).toMatchObject({ code: "REPLACED" });
      expect(await show(host.wolfId)).toMatchObject({ status: "online", tunnel: { epoch: 2 } });
      await call("delete", `sessions/${session.id}`).expect(204);
    }));

  it("opens a sandbox's tunnel for its owner, and hides the session from others", async () => {
    const owner = await api.user("owner");
    const stranger = await api.user("stranger");
    const id = newId("ses");
    const now = new Date();
    const times = { created_at: now, updated_at: now };
    await api.database.prisma.session.create({
      data: {
        id,
        owner_id: owner.id,
        name: "s",
        status: "running",
        spec: aSpec(),
        placement: anExplanation(),
        slot_held: false,
        ...times,
      },
    });
    await dial(api.url, `sandbox-${id}`, owner.key);
    expect(await refusal(api.url, `sandbox-${id}`, stranger.key)).toBe("session-not-found");
    expect(await refusal(api.url, `sandbox-${id}`, RUNNER_TOKEN)).toBe("forbidden");
    expect(await refusal(api.url, "wolf-unknown", owner.key)).toBe("forbidden");
    expect(await refusal(api.url, "wolf-unknown", "wrong")).toBe("unauthenticated");
  });

  it.each(refusedEitherWay.map((row) => [row[0], row] as const))(
    "refuses %s as a documented problem",
    async (_what, [, code, target, headers]) => {
      const answer = await raw(api.url, target, { ...openFields, ...headers }, "POST");
      expect(answer.problem.code).toBe(code);
      expect(answer.status).toBe(problems[code].status);
      expect(answer.headers).toMatchObject({
        "content-type": "application/problem+json",
        "x-request-id": answer.problem.instance,
      });
      expect(problemsOf(operations.openTunnelOverHttp)).toContain(code);
    },
  );

  it.each<[string, string, string, Record<string, string>, ProblemCode]>([
    [
      "another content type",
      "POST",
      wolfTarget,
      { "content-type": "application/octet-stream" },
      "unsupported-media-type",
    ],
    ["JSON", "POST", wolfTarget, { "content-type": "application/json" }, "unsupported-media-type"],
    ["another path", "POST", "/api/v1/users", {}, "invalid-request"],
    [
      "another path with a tunnel key",
      "POST",
      "/api/v1/users",
      { "revdial-tunnel": "A".repeat(43) },
      "invalid-request",
    ],
    ["no path of ours", "POST", "/x", { "revdial-tunnel": "A".repeat(43) }, "not-found"],
    [
      "a path that is almost the tunnel's",
      "POST",
      `${TUNNEL_PATH}/`,
      { "revdial-tunnel": "A".repeat(43) },
      "not-found",
    ],
    ["GET", "GET", wolfTarget, { "revdial-tunnel": "A".repeat(43) }, "upgrade-required"],
    ["PUT", "PUT", wolfTarget, { "revdial-tunnel": "A".repeat(43) }, "method-not-allowed"],
  ])("leaves %s to the API", async (_what, method, target, headers, code) => {
    const auth = { authorization: `Bearer ${api.adminKey}` };
    const answer = await raw(api.url, target, { ...openFields, ...auth, ...headers }, method);
    expect(answer.problem.code).toBe(code);
  });

  it("takes POSTs up to 1 MiB whatever the limit of bodies elsewhere, and none of a key or a page it does not know", async () => {
    await request(api.url).post("/api/v1/wolf-instances/register").set(runnerAuth).send({ name: "wolf-1" });
    const opened = await post(api.url, runnerAuth);
    const key = String(opened.headers["revdial-tunnel"]);
    const say = async (sequence: number, body: Uint8Array, fields: Record<string, string> = {}) =>
      (await post(api.url, { "revdial-tunnel": key, "revdial-sequence": String(sequence), ...fields }, body))
        .statusCode;
    // A record of the longest length; its last bytes never come.
    const body = Buffer.alloc(1024 * 1024);
    body.writeUInt32BE(1024 * 1024);
    expect(await say(1, body)).toBe(204);
    expect(await say(2, Buffer.alloc(1024 * 1024 + 1))).toBe(413);
    expect(await say(2, Buffer.alloc(1), { origin: "https://evil.example" })).toBe(403);
    expect(await say(2, Buffer.alloc(1), { "revdial-tunnel": "A".repeat(43) })).toBe(404);
    opened.destroy();
  });

  it("shows no credential and no tunnel key in the log, and one line for each tunnel, not for each POST", async () => {
    await request(api.url).post("/api/v1/wolf-instances/register").set(runnerAuth).send({ name: "wolf-2" });
    const before = api.lines.length;
    const tunnel = await dial(api.url, "wolf-wolf-2", RUNNER_TOKEN);
    const opened = await post(api.url, runnerAuth, Buffer.alloc(0), `${TUNNEL_PATH}?runnerid=wolf-wolf-2`);
    const key = String(opened.headers["revdial-tunnel"]);
    expect(key).toHaveLength(43);
    opened.destroy();
    for (const sequence of ["1", "x", ""]) {
      await post(api.url, { "revdial-tunnel": key, "revdial-sequence": sequence }, Buffer.from("nonsense"));
    }
    for (let n = 0; n < 50; n += 1) tunnel.notify("heartbeat", Buffer.from('{"wolf":"ok"}'));
    await tunnel.close();
    const requests = () =>
      api.lines.slice(before).filter((line) => /"msg":"request"/.test(line) && line.includes("revdial"));
    await until(async () => requests().length === 2);
    expect(requests().map((line) => JSON.parse(line).req)).toEqual([
      { method: "POST", path: TUNNEL_PATH },
      { method: "POST", path: TUNNEL_PATH },
    ]);
    const secrets = [key, RUNNER_TOKEN, api.adminKey];
    expect(api.lines.filter((line) => secrets.some((secret) => line.includes(secret)))).toEqual([]);
  });
});

describe("a replica that stops", () => {
  it("finishes what is in flight over HTTP, tells the agent when to come back, and leaves nothing", async () => {
    const api = await startControlPlane({ lobbySettleMs: 300 });
    const host = await startHost(api, { name: "wolf-1", ...overHttp });
    const auth = { authorization: `Bearer ${api.adminKey}` };
    const { body: session } = await request(api.url).post("/api/v1/sessions").set(auth).send({});
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<OutgoingResponse>();
    host.screen = () => {
      asked.resolve();
      return answer.promise as unknown as OutgoingResponse;
    };
    const inFlight = request(api.url)
      .get(`/api/v1/sessions/${session.id}/clipboard`)
      .set(auth)
      .then(({ status, body }) => ({ status, body }));
    await asked.promise;
    // Its HELLO never comes, and its answer would never end.
    const silent = await post(api.url, runnerAuth);
    const stopped = api.stop();
    await until(async () => host.tunnel.draining);
    answer.resolve({ status: 200, body: Buffer.from('{"text":"late"}') });
    expect(await inFlight).toEqual({ status: 200, body: { text: "late" } });
    const end = await host.tunnel.closed;
    expect(end.code).toBe("DRAINING");
    expect(end.retryAfterMs).toBeGreaterThanOrEqual(100);
    if (!silent.closed) await once(silent.resume(), "close");
    await stopped;
    await host.stop();
  });
});

describe("a tunnel over HTTP", () => {
  let server: Server;
  let base: string;
  let options: AdmissionOptions;
  let accepted: Tunnel[];
  let ways: TunnelsOverHttp;

  beforeEach(async () => {
    accepted = [];
    const accept = async (tunnel: Tunnel) => void accepted.push(tunnel);
    const log = createLogger("silent");
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
        acceptWolf: (_wolf, tunnel) => accept(tunnel),
        acceptFurther: async () => {},
        acceptSandbox: (_id, tunnel) => accept(tunnel),
        acceptMoonlight: (_wolf, tunnel) => accept(tunnel),
        takeoverWaitMs: () => undefined,
      },
      doctors: { full: false, accept: (_name, tunnel) => void accept(tunnel) },
      log,
      publicHosts: [],
      mark: () => 0,
      draining: () => false,
      turns: createTurns({ clock: systemClock, max: 1 }),
    };
    // What a test changes later counts.
    const changeable = new Proxy(options, { get: (_target, name) => Reflect.get(options, name) });
    const admission = createAdmission(changeable);
    ways = tunnelsOverHttp(admission, { tunnelsMax: 2 });
    const app = express();
    app.use(ways.posts).use("/api/v1", ways.routes).use(problemHandler(log));
    server = createHttpServer(app, { headersTimeoutMs: 100, requestTimeoutMs: 100 });
    attachUpgrades(server, { admission, log });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const tunnel of [...dialled.splice(0), ...accepted]) tunnel.destroy();
    ways.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  it("outlives the time that the server gives requests", async () => {
    const tunnel = await dial(base, "wolf-a", "r");
    tunnel.serve(({ path }) => ({ status: 200, body: Buffer.from(path) }));
    const socket = connectTcp(Number(new URL(base).port), "127.0.0.1");
    socket.write(`POST ${TUNNEL_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nslow`);
    // Begun after the tunnel, and its time is over.
    expect(await readText(socket)).toMatch(/^HTTP\/1\.1 4(08|15) /);
    const reply = await (accepted[0] as Tunnel).request({ service: "wolf", method: "GET", path: "/still" });
    expect(reply.status).toBe(200);
    for await (const chunk of reply.body) expect(Buffer.from(chunk).toString()).toBe("/still");
  });

  it("is one of those that wait for an answer, like an upgrade", async () => {
    const { asked, release } = holdWolves(options);
    const first = dialWith(base, "wolf-a", "r");
    await asked;
    expect(await refusal(base, "wolf-b", "r")).toBe("draining");
    release();
    await first;
    await dial(base, "wolf-b", "r");
  });

  it("is refused while draining, with Retry-After, and nobody is asked", async () => {
    options.draining = () => true;
    options.identity.authenticate = async () => {
      throw new Error("must not be asked");
    };
    const error = await dial(base, "wolf-a", "r").catch((cause: RevdialError) => cause);
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 503, retryAfterMs: 5000 });
  });

  it("is refused when there are too many, and welcome again when one has ended", async () => {
    const first = await dial(base, "wolf-a", "r");
    await dial(base, "wolf-b", "r");
    options.audit.record = async ({ result }) => expect(result).not.toBe("allowed");
    expect(await refusal(base, "wolf-c", "r")).toBe("draining");
    options.audit.record = async () => undefined;
    first.destroy();
    await accepted[0]?.closed;
    await dial(base, "wolf-c", "r");
  });

  it("whose peer is gone when the answer is known ends, and harms nobody", async () => {
    const { release, gone } = await dialAndLeave(base, server, options, overHttp);
    await gone;
    release();
    await until(async () => accepted.length === 1);
    await accepted[0]?.closed;
    await dial(base, "wolf-b", "r");
  });
});
