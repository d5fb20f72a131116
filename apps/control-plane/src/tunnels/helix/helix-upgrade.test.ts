import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { text as readText } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WEB_SESSION_COOKIE } from "@wolfpack/api-contract";
import express from "express";
import type { Tunnel } from "revdial";
import { aWolf } from "../../../test/a-wolf.ts";
import { dialLegacy, type LegacyAgent, legacyAgents, type Refused } from "../../../test/legacy-agent.ts";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { TUNNEL_PATH } from "../../../test/tunnel-requests.ts";
import { ApiError, problemHandler } from "../../http/problem.ts";
import { giveRequestId } from "../../http/request-id.ts";
import { createHttpServer } from "../../http/server.ts";
import { createLogger } from "../../logger.ts";
import { type AdmissionOptions, createAdmission } from "../admission.ts";
import { attachUpgrades, upgradeRoutes } from "../upgrade.ts";
import { createHelixUpgrades, type HelixUpgrades } from "./helix-upgrade.ts";

let server: Server;
let url: string;
let helix: HelixUpgrades;
let options: AdmissionOptions;
let clock: ManualClock;
let lines: string[];
let tunnels: Tunnel[];
/** Requests that limits have counted. */
let counted: string[];
/** A Wolf that answers everything with its lobbies, and what it was asked. */
let wolf: { server: ReturnType<typeof createTcpServer>; asked: string[]; sockets: Set<Socket> };

beforeEach(async () => {
  [lines, tunnels, counted] = [[], [], []];
  clock = manualClock();
  const log = createLogger("trace", { write: (line) => void lines.push(line) });
  const accept = async (tunnel: Tunnel) => void tunnels.push(tunnel);
  options = {
    identity: {
      authenticate: async ({ authorization }) =>
        authorization?.startsWith("Bearer r") ? { kind: "runner" } : undefined,
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
    publicHosts: [],
    mark: () => 0,
    log,
    draining: () => false,
  };
  const limits = {
    upgrade: () => void counted.push("address"),
    unknown: () => void counted.push("unknown"),
  };
  const admission = createAdmission(new Proxy(options, { get: (_t, name) => Reflect.get(options, name) }));
  helix = createHelixUpgrades({ admission, clock, log, limits });
  const app = express();
  app.use((request, response, next) => {
    giveRequestId(request, response);
    next();
  });
  app.use("/api/v1", upgradeRoutes(helix)).use(problemHandler(log));
  server = createHttpServer(app);
  attachUpgrades(server, { admission, log, helix });
  server.listen(0, "127.0.0.1");
  wolf = { server: createTcpServer(answer), asked: [], sockets: new Set() };
  wolf.server.listen(0, "127.0.0.1");
  await Promise.all([once(server, "listening"), once(wolf.server, "listening")]);
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const agent of legacyAgents.splice(0)) agent.drop();
  for (const tunnel of tunnels) tunnel.destroy();
  await Promise.all(tunnels.map(({ closed }) => closed));
  for (const socket of wolf.sockets) socket.destroy();
  server.closeAllConnections();
  await Promise.all([server, wolf.server].map((one) => new Promise((resolve) => one.close(resolve))));
  const { pending, connections, dialers } = helix.exchange;
  expect({ pending, connections, dialers }).toEqual({ pending: 0, connections: 0, dialers: 0 });
});

function answer(socket: Socket): void {
  wolf.sockets.add(socket);
  socket.on("close", () => wolf.sockets.delete(socket)).on("error", () => undefined);
  socket.once("data", (bytes: Buffer) => {
    wolf.asked.push(bytes.toString().split("\r\n")[0] ?? "");
    const body = '{"success":true,"lobbies":[]}';
    socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
}

const dial = (changes: Partial<Parameters<typeof dialLegacy>[0]> = {}) =>
  dialLegacy({
    url,
    runnerId: "wolf-a",
    token: "r",
    target: { host: "127.0.0.1", port: (wolf.server.address() as AddressInfo).port },
    ...changes,
  });

/** An agent that has been told of two dials, for a request and for the probe of its Wolf, and has brought neither. */
async function asked(): Promise<{ agent: LegacyAgent; connPath: string; both: string[] }> {
  const agent = await dial();
  const both: string[] = [];
  agent.onDial = (connPath) => void both.push(connPath);
  tunnels[0]?.request({ service: "wolf", method: "GET", path: "/api/v1/lobbies" }).catch(() => undefined);
  while (both.length < 2) await once(agent.webSocket as never, "message");
  return { agent, connPath: both[0] ?? "", both };
}

const refusal = (dialling: Promise<unknown>) =>
  dialling.then(
    () => "open",
    ({ status, body }: Refused) => `${status} ${JSON.parse(body).code}`,
  );
const linesWith = (word: string) => lines.filter((line) => line.includes(word));

const handshake = {
  host: "x",
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Writes one request and reads until the server closes. */
async function raw(target: string, headers: Record<string, string | undefined>, method = "GET") {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const fields = Object.entries({ ...handshake, ...headers }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  socket.write(`${method} ${target} HTTP/1.1\r\n${fields.join("")}\r\n`);
  const [head = "", body = ""] = (await readText(socket)).split("\r\n\r\n");
  return { status: Number(head.split(" ")[1]), head, body: body === "" ? undefined : JSON.parse(body) };
}

const r = { authorization: "Bearer r" };

describe("a control connection", () => {
  it("opens a tunnel whose other end is the Wolf behind the agent", async () => {
    const agent = await dial();
    const [tunnel] = tunnels;
    const reply = await tunnel?.request({ service: "wolf", method: "GET", path: "/api/v1/lobbies" });
    expect(reply?.status).toBe(200);
    for await (const _ of reply?.body ?? []);
    expect(wolf.asked).toContain("GET /api/v1/lobbies HTTP/1.1");
    expect([tunnel?.transport, tunnel?.peer?.agent]).toEqual(["helix", "helix"]);
    expect(agent.lines[0]).toEqual({ command: "keep-alive" });
  });

  it.each([
    ["a text frame", (agent: LegacyAgent) => agent.webSocket?.send("{}\n"), 1003, "text-frame"],
    ["a blank line", (agent: LegacyAgent) => agent.say("\n"), 1002, "line-invalid"],
    ["a line that is no JSON", (agent: LegacyAgent) => agent.say("x\n"), 1002, "line-invalid"],
    ["a line that is too long", (agent: LegacyAgent) => agent.say("x".repeat(5000)), 1009, "line-too-long"],
    ["an empty message", (agent: LegacyAgent) => agent.say(""), 1002, "empty-message"],
  ] as const)(
    "ends with its tunnel at %s, and the log says so once",
    async (_what, misbehave, code, fault) => {
      const agent = await dial();
      misbehave(agent);
      misbehave(agent);
      expect((await agent.closed).code).toBe(code);
      expect((await tunnels[0]?.closed)?.code).toBe("TRANSPORT_LOST");
      expect(linesWith(`"${fault}"`)).toHaveLength(1);
    },
  );

  it("stays at lines that nobody knows, and at what is said of dials that nobody made", async () => {
    const agent = await dial();
    agent.say('{"command":"unknown","x":[1]}\n{"command":"pickup-failed","connPath":"/x","err":"e"}\n');
    agent.say(`{"command":"pickup-failed","connPath":"/revdial?revdial.dialer=a&revdial.req=b"}\n{}\n`);
    const reply = await tunnels[0]?.request({ service: "wolf", method: "GET", path: "/api/v1/lobbies" });
    expect(reply?.status).toBe(200);
    for await (const _ of reply?.body ?? []);
    expect(agent.webSocket?.readyState).toBe(1);
  });

  it("that proves a key of its own is told to speak revdial: what it brings later could prove nothing", async () => {
    options.identity.authenticate = async () => ({ kind: "agent", wolfId: "w", credentialId: "k" });
    const refused = await raw(`${TUNNEL_PATH}?runnerid=wolf-a`, { authorization: "Wolfpack-Agent x" });
    expect([refused.status, refused.body.code]).toEqual([400, "tunnel-protocol-unsupported"]);
  });

  it("is refused while this replica shuts down", async () => {
    options.draining = () => true;
    expect(await refusal(dial())).toBe("503 draining");
    expect(await refusal(dial({ control: "stream" }))).toBe("503 draining");
  });

  it("logs what an agent cannot do, but not every time, and none of its ids", async () => {
    const agent = await dial();
    agent.onDial = (connPath) =>
      agent.say(`${JSON.stringify({ command: "pickup-failed", connPath, err: `bad ${connPath}` })}\n`);
    const ask = () => tunnels[0]?.request({ service: "wolf", method: "GET", path: "/api/v1/lobbies" });
    for (let i = 0; i < 40; i += 1) for await (const _ of (await ask())?.body ?? []);
    expect(linesWith('"pickup-failed"')).toHaveLength(20);
    clock.advance(10_000);
    for await (const _ of (await ask())?.body ?? []);
    expect(JSON.parse(linesWith('"pickup-failed"').at(-1) ?? "").not_logged).toBeGreaterThan(10);
    const dialer = /revdial\.dialer=([0-9a-f]{32})/.exec(JSON.stringify(agent.lines))?.[1] ?? "none";
    expect(linesWith(dialer)).toEqual([]);
  });
});

describe("a control connection on a bare stream", () => {
  it("is answered with a head and lines, and hears lines", async () => {
    const agent = await dial({ control: "stream" });
    const [tunnel] = tunnels;
    expect(tunnel?.transport).toBe("helix-stream");
    agent.say('{"command":"unknown"}\n');
    const reply = await tunnel?.request({ service: "wolf", method: "GET", path: "/api/v1/lobbies" });
    expect(reply?.status).toBe(200);
    for await (const _ of reply?.body ?? []);
  });

  it("ends with its tunnel at a blank line, and at its end", async () => {
    const agent = await dial({ control: "stream" });
    agent.say("\n");
    await agent.closed;
    expect((await tunnels[0]?.closed)?.code).toBe("TRANSPORT_LOST");
    const gone = await dial({ control: "stream" });
    gone.drop();
    expect((await tunnels[1]?.closed)?.code).toBe("TRANSPORT_LOST");
  });

  it("is none without Connection: Upgrade, with another method, or with Upgrade to something else", async () => {
    const plain = { ...r, upgrade: undefined };
    const none = await raw(`${TUNNEL_PATH}?runnerid=wolf-a`, { ...plain, connection: "close" });
    expect([none.status, none.body.code]).toEqual([426, "upgrade-required"]);
    const h2c = await raw(`${TUNNEL_PATH}?runnerid=wolf-a`, {
      ...r,
      upgrade: "h2c",
      connection: "Upgrade, close",
    });
    expect(h2c.status).toBe(426);
    const head = await raw(
      `${TUNNEL_PATH}?runnerid=wolf-a`,
      { ...plain, connection: "Upgrade, close" },
      "HEAD",
    );
    expect(head.status).toBe(426);
    expect(tunnels).toEqual([]);
  });

  it("whose peer is gone when the answer is known leaves no tunnel", async () => {
    const gate = Promise.withResolvers<void>();
    const looked = Promise.withResolvers<void>();
    options.wolves.getByName = async (name) => {
      looked.resolve();
      await gate.promise;
      return aWolf({ name });
    };
    const gone = new Promise<void>((resolve) => {
      server.once("connection", (socket) => socket.once("close", () => resolve()));
    });
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write(
      `GET ${TUNNEL_PATH}?runnerid=wolf-a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer r\r\nConnection: Upgrade\r\n\r\n`,
    );
    await looked.promise;
    socket.destroy();
    await gone;
    gate.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    expect(tunnels).toEqual([]);
  });
});

describe("a pick-up", () => {
  it("of a dialer that nobody knows is answered as Helix does, logged once, and counted", async () => {
    for (const path of ["/revdial", TUNNEL_PATH]) {
      lines.length = 0;
      counted.length = 0;
      const refused = await raw(`${path}?revdial.dialer=${"0".repeat(32)}&revdial.req=1`, r);
      expect(refused.status).toBe(500);
      expect(refused.head.toLowerCase()).toContain("content-type: application/json\r\n");
      expect(refused.body).toEqual({
        status_code: 500,
        code: "INTERNAL_SERVER_ERROR",
        message: "unknown dialer",
      });
      expect([lines.length, counted]).toEqual([1, ["address", "unknown"]]);
      expect(lines.join("")).not.toContain("0".repeat(32));
    }
  });

  it("with another credential, or none, brings nothing, and the one who was asked still can", async () => {
    const { agent, connPath } = await asked();
    expect(await refusal(agent.pickUp(connPath, "r2"))).toBe("403 forbidden");
    expect(await refusal(agent.pickUp(connPath, null))).toBe("401 unauthenticated");
    expect(linesWith("upgrade refused")).toHaveLength(2);
    expect(counted).toEqual(["address", "unknown", "address", "unknown"]);
    expect(await refusal(agent.pickUp(connPath))).toBe("open");
    expect(counted).toHaveLength(4);
  });

  it("after its dial was given up is told so, also by the second of two", async () => {
    const { agent, both } = await asked();
    const first = [...both];
    // The request's time is over, the probe's is not.
    clock.advance(10_000);
    expect(helix.exchange.pending).toBe(1);
    const outcomes = await Promise.all(first.map((connPath) => refusal(agent.pickUp(connPath))));
    expect(outcomes.sort()).toEqual(["410 GONE", "open"]);
    expect([linesWith("the dial was given up").length, counted]).toEqual([1, []]);
    for (const connPath of first) expect(await refusal(agent.pickUp(connPath))).toBe("410 GONE");
  });

  it("without an id of its dial is never waited for", async () => {
    const { agent, connPath } = await asked();
    expect(await refusal(agent.pickUp(connPath.replace(/&.*/, "")))).toBe("410 GONE");
  });

  it("after its control connection has ended is unknown", async () => {
    const { agent, connPath } = await asked();
    agent.drop();
    await tunnels[0]?.closed;
    expect(await refusal(agent.pickUp(connPath))).toBe("500 INTERNAL_SERVER_ERROR");
  });

  it("is taken also while this replica shuts down: what is in flight needs it", async () => {
    const { agent, connPath } = await asked();
    options.draining = () => true;
    expect(await refusal(agent.pickUp(connPath))).toBe("open");
  });

  const dialer = `revdial.dialer=${"0".repeat(32)}`;
  it.each([
    ["another parameter", `/revdial?${dialer}&x=1`, {}, "GET", "invalid-request"],
    ["a runnerid as well", `${TUNNEL_PATH}?${dialer}&runnerid=wolf-a`, {}, "GET", "invalid-request"],
    ["two dialers", `/revdial?${dialer}&${dialer}`, {}, "GET", "invalid-request"],
    ["two ids", `/revdial?${dialer}&revdial.req=1&revdial.req=2`, {}, "GET", "invalid-request"],
    ["an Origin", `/revdial?${dialer}`, { origin: "https://evil.example" }, "GET", "origin-refused"],
    ["a page's cookie", `/revdial?${dialer}`, { cookie: `${WEB_SESSION_COOKIE}=x` }, "GET", "origin-refused"],
    ["another method", `/revdial?${dialer}`, {}, "POST", "method-not-allowed"],
    [
      "WebSocket version 8",
      `/revdial?${dialer}`,
      { "sec-websocket-version": "8" },
      "GET",
      "upgrade-required",
    ],
    ["a key that is none", `/revdial?${dialer}`, { "sec-websocket-key": "x" }, "GET", "malformed-http"],
    ["two Hosts", `/revdial?${dialer}`, { Host: "y" }, "GET", "malformed-http"],
    ["no dialer", "/revdial?revdial.dialer=", {}, "GET", "not-found"],
    ["another path", `/api/revdial?${dialer}`, {}, "GET", "not-found"],
  ] as const)("with %s is refused as a problem", async (_what, target, headers, method, code) => {
    const refused = await raw(target, { ...r, ...headers }, method);
    expect([refused.status, refused.body.code]).toEqual([refused.body.status, code]);
    expect(linesWith("upgrade refused")).toHaveLength(1);
  });

  it("beyond the limits is told to come later", async () => {
    const limited = () => {
      throw new ApiError("rate-limited", "Too many.");
    };
    const admission = createAdmission(options);
    const strict = createHelixUpgrades({
      admission,
      clock,
      log: options.log,
      limits: { upgrade: () => undefined, unknown: limited },
    });
    server.removeAllListeners("upgrade");
    attachUpgrades(server, { admission, log: options.log, helix: strict });
    expect((await raw(`/revdial?${dialer}`, r)).status).toBe(429);
    expect((await raw(`/revdial?${dialer}`, {})).status).toBe(429);
  });

  it("that says text is cut, and the request on it fails", async () => {
    const { agent, connPath } = await asked();
    const data = await agent.pickUp(connPath);
    data.send("text");
    const [code] = await once(data, "close");
    expect(code).toBe(1003);
    expect(linesWith('"text-frame"')).toHaveLength(1);
    expect(agent.webSocket?.readyState).toBe(1);
  });
});
