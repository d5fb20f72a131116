import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { type Challenges, createChallenges } from "../identity/challenge.ts";
import { createLogger } from "../logger.ts";
import type { Admission } from "../tunnels/admission.ts";
import { createEchoUpgrades, ECHO_PURPOSE, type EchoUpgrades } from "../tunnels/echo-upgrade.ts";
import { attachUpgrades } from "../tunnels/upgrade.ts";
import { type EchoOutcome, echoFinding, echoThrough } from "./public-echo.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const TIMEOUT_MS = 400;

let clock: ManualClock;
let challenges: Challenges;
let echo: EchoUpgrades;
let servers: (Server | TcpServer)[];

beforeEach(() => {
  clock = manualClock();
  challenges = createChallenges(SECRET, ECHO_PURPOSE);
  echo = createEchoUpgrades({ challenges, clock });
  servers = [];
});
afterEach(async () => {
  echo.close();
  for (const server of servers) {
    if ("closeAllConnections" in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listening(server: Server | TcpServer, host = "127.0.0.1"): Promise<string> {
  servers.push(server);
  server.listen(0, host);
  await once(server, "listening");
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

/** A control plane as far as it takes upgrades; no tunnel is admitted. */
async function controlPlane(): Promise<string> {
  const server = createServer((_req, res) => res.writeHead(404).end());
  const admission: Admission = { admit: () => Promise.reject(new Error("not asked")) };
  attachUpgrades(server, { admission, log: createLogger("silent"), echo });
  return listening(server);
}

const fresh = () => Buffer.from(challenges.issue(clock.now()).nonce).toString("base64url");
const now = () => performance.now();
const through = (url: string, token = fresh()): Promise<EchoOutcome> =>
  echoThrough(url, { token, now, timeoutMs: TIMEOUT_MS });

/** What opens a WebSocket on any path and does this with it. */
async function webSocketServer(run: (webSocket: WebSocket) => void): Promise<string> {
  const server = createServer();
  const webSockets = new WebSocketServer({ server });
  webSockets.on("connection", run);
  return listening(server);
}

describe("the WebSocket to ourselves", () => {
  it("comes back with what it said, and leaves nothing open", async () => {
    const url = await controlPlane();
    const outcome = await through(url);
    expect(outcome).toEqual({ outcome: "echoed", ms: expect.any(Number) });
    expect(echoFinding("wolfpack.example", { outcome: "echoed", ms: 3.4 })).toEqual({
      status: "ok",
      detail: "wolfpack.example said it back after 3 ms.",
    });
  });

  it("is taken by another replica with the same secret, and keeps the path of a public URL", async () => {
    const twin = createChallenges(SECRET, ECHO_PURPOSE);
    const url = await controlPlane();
    const token = Buffer.from(twin.issue(clock.now()).nonce).toString("base64url");
    expect(await through(`${url}/?utm=1#x`, token)).toMatchObject({ outcome: "echoed" });
    expect(await through(`${url}/below/`)).toEqual({ outcome: "answered", status: 404 });
  });
});

describe("what the echo does not take", () => {
  it("is a word of nobody, of another secret, of another purpose, or of more than a minute ago", async () => {
    const url = await controlPlane();
    const of = (made: Challenges) => Buffer.from(made.issue(clock.now()).nonce).toString("base64url");
    const foreign = of(createChallenges(`${SECRET}!`, ECHO_PURPOSE));
    const agents = of(createChallenges(SECRET));
    const old = fresh();
    clock.advance(60_000);
    for (const token of ["x", "AAAA", foreign, agents, old])
      expect([token, await through(url, token)]).toEqual([token, { outcome: "answered", status: 401 }]);
  });

  it("is a message that is too long, and silence for more than ten seconds", async () => {
    const url = await controlPlane();
    const open = async () => {
      const target = `${url.replace("http", "ws")}/api/v1/revdial`;
      const client = new WebSocket(target, ["wolfpack.echo"], { headers: { "x-wolfpack-echo": fresh() } });
      client.on("error", () => undefined);
      await once(client, "open");
      return client;
    };
    const long = await open();
    long.send(Buffer.alloc(65));
    const [code] = await once(long, "close");
    expect(code).toBe(1009);
    const silent = await open();
    clock.advance(10_000);
    await once(silent, "close");
    expect(clock.pending).toBe(0);
  });
});

describe("what may stand in the way", () => {
  const answering = (listener: RequestListener) => listening(createServer(listener));

  it("is a proxy that does not pass upgrades on", async () => {
    const page = await answering((_req, res) => res.writeHead(200).end("a page"));
    expect(await through(page)).toEqual({ outcome: "answered", status: 200 });
    const redirect = await answering((_req, res) => res.writeHead(302, { location: "https://x/" }).end());
    expect(await through(redirect)).toEqual({ outcome: "answered", status: 302 });
  });

  it("is something that opens WebSockets of its own and says nothing, something else, or good-bye", async () => {
    const silent = await webSocketServer(() => undefined);
    expect(await through(silent)).toEqual({ outcome: "silent" });
    const other = await webSocketServer((webSocket) => webSocket.on("message", () => webSocket.send("x")));
    expect(await through(other)).toEqual({ outcome: "altered" });
    const curt = await webSocketServer((webSocket) => webSocket.close());
    expect(await through(curt)).toEqual({ outcome: "silent" });
    const long = await webSocketServer((webSocket) => webSocket.send(Buffer.alloc(1000)));
    expect(await through(long)).toEqual({ outcome: "silent" });
  });

  it("is a port where nobody listens, a name that nobody knows, and a peer that never answers", async () => {
    const gone = createTcpServer();
    const url = await listening(gone);
    await new Promise((resolve) => gone.close(resolve));
    servers = [];
    expect(await through(url)).toEqual({ outcome: "unreachable", code: "ECONNREFUSED" });
    expect(await through("http://no-such-name.invalid")).toMatchObject({ outcome: "unreachable" });
    const sockets: { destroy(): void }[] = [];
    const mute = await listening(createTcpServer((socket) => sockets.push(socket)));
    expect(await through(mute)).toEqual({ outcome: "unreachable", code: "ETIMEDOUT" });
    for (const socket of sockets) socket.destroy();
  });

  it("is a warning where we cannot get there at all, and a failure where something answers wrongly", () => {
    const status = (outcome: EchoOutcome) => echoFinding("x", outcome).status;
    expect(status({ outcome: "unreachable", code: "ENOTFOUND" })).toBe("warning");
    expect(status({ outcome: "answered", status: 426 })).toBe("failed");
    expect([status({ outcome: "silent" }), status({ outcome: "altered" })]).toEqual(["failed", "failed"]);
  });
});
