/** Attacks on the way a connection becomes a tunnel: what hides behind a refused upgrade, and who sends one. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { WebSocketServer } from "ws";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { SMUGGLED } from "./http-cases.ts";
import { faultOf } from "./run.ts";
import { type Exchange, exchange } from "./wire.ts";

let plane: TestControlPlane;
let port: number;
const servers: Server[] = [];

beforeAll(async () => {
  plane = await startControlPlane();
  port = Number(new URL(plane.url).port);
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await plane.stop();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const TUNNEL = "/api/v1/revdial?runnerid=wolf-a";
const second = `GET ${SMUGGLED} HTTP/1.1\r\nHost: x\r\n\r\n`;

function upgrade(
  fields: readonly string[],
  { target = TUNNEL, method = "GET", after = second } = {},
): Buffer {
  const lines = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", ...fields];
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${after}`, "latin1");
}

const key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
const version = "Sec-WebSocket-Version: 13";
const protocol = "Sec-WebSocket-Protocol: revdial.v3";
const whole = [key, version, protocol];
const runner = `Authorization: Bearer ${RUNNER_TOKEN}`;

/** Each ends in a refusal, and each has a second request behind it. */
const refused: readonly (readonly [name: string, bytes: Buffer])[] = [
  ["without a credential", upgrade(whole)],
  ["with a wrong one", upgrade([...whole, "Authorization: Bearer x"])],
  ["of a wolf that is not there", upgrade([...whole, runner])],
  ["of no runnerid", upgrade([...whole, runner], { target: "/api/v1/revdial" })],
  ["on another route", upgrade([...whole, runner], { target: "/api/v1/me" })],
  ["on another route as its admin", upgrade([...whole, "X: y"], { target: "/healthz" })],
  ["by absolute URL", upgrade([...whole, runner], { target: `http://y${TUNNEL}` })],
  ["with two Hosts", upgrade([...whole, runner, "Host: y"])],
  ["with two credentials", upgrade([...whole, runner, `${runner}x`])],
  ["with POST", upgrade([...whole, runner], { method: "POST" })],
  ["with PUT", upgrade([...whole, runner], { method: "PUT" })],
  ["with a body", upgrade([...whole, "Content-Length: 5"], { after: `hello${second}` })],
  [
    "with chunks",
    upgrade([...whole, "Transfer-Encoding: chunked"], { after: `5\r\nhello\r\n0\r\n\r\n${second}` }),
  ],
  [
    "with a length and chunks",
    upgrade([...whole, "Content-Length: 5", "Transfer-Encoding: chunked"], { after: `0\r\n\r\n${second}` }),
  ],
  ["of version 12", upgrade([key, "Sec-WebSocket-Version: 12", protocol, runner])],
  ["of version 13 and 8", upgrade([key, "Sec-WebSocket-Version: 13, 8", protocol, runner])],
  ["of two versions", upgrade([key, version, "Sec-WebSocket-Version: 8", protocol, runner])],
  ["of no version", upgrade([key, protocol, runner])],
  ["of another protocol", upgrade([key, version, "Sec-WebSocket-Protocol: mqtt", runner])],
  ["of a protocol that is none", upgrade([key, version, "Sec-WebSocket-Protocol: ,,;", runner])],
  ["without a key", upgrade([version, protocol, runner])],
  ["with a short key", upgrade(["Sec-WebSocket-Key: AAAA", version, protocol, runner])],
  ["with two keys", upgrade([key, key, version, protocol, runner])],
  ["with 2,100 fields", upgrade([...whole, runner, ...Array.from({ length: 2100 }, () => "a:")])],
  [
    "with 2,100 long fields",
    upgrade([...whole, runner, ...Array.from({ length: 2100 }, (_, index) => `X-${index}: y`)]),
  ],
  ["named behind 2,100 fields", upgrade([...Array.from({ length: 2100 }, () => "a:"), ...whole, runner])],
  ["with frames behind it", upgrade(whole, { after: `\u0082\u0085\u0000\u0000\u0000\u0000hello${second}` })],
];

const asCase = (name: string, bytes: Buffer) => ({ kind: "upgrades", name, bytes });

describe("a refused upgrade", () => {
  it.each(refused)("%s is one problem and the end of its connection", async (name, bytes) => {
    const result = await exchange(port, bytes);
    expect(faultOf(asCase(name, bytes), result)).toBeUndefined();
    expect(result.answers[0]?.headers.get("connection")).toEqual(["close"]);
  });

  it("has let no request through that was sent behind it", () => {
    expect(plane.lines.filter((line) => line.includes(SMUGGLED))).toEqual([]);
    expect(plane.lines.filter((line) => (JSON.parse(line) as { level: number }).level >= 50)).toEqual([]);
  });

  it("lets one through at a proxy that pipes whatever came of it", async () => {
    const smuggled = Promise.withResolvers<void>();
    const backend = await listening(
      createServer((request, response) => {
        if (request.url === SMUGGLED) smuggled.resolve();
        response.writeHead(404).end();
      }),
    );
    const proxy = createServer();
    proxy.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const upstream = connect(backend, "127.0.0.1");
      upstream.on("error", () => socket.destroy());
      socket.on("error", () => upstream.destroy());
      upstream.write(`GET ${request.url} HTTP/1.1\r\nHost: x\r\nX-Proxy-User: admin\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(socket);
      socket.pipe(upstream);
    });
    const [, bytes = Buffer.alloc(0)] = refused[0] ?? [];
    await exchange(await listening(proxy), bytes);
    await smuggled.promise;
  });
});

describe("an upgrade from a web page", () => {
  const origins = [
    "https://evil.example",
    "null",
    "",
    "http://x",
    "https://x",
    "http://x.evil.example",
    "file://",
  ];
  const cookies = ["__Host-wolfpack=stolen", `__Host-wolfpack=${RUNNER_TOKEN}`, "a=b"];
  const status = ({ answers }: Exchange) => answers[0]?.status;

  it.each(origins)("of the origin %j opens no tunnel, whatever it carries", async (origin) => {
    for (const cookie of cookies) {
      for (const credential of [[], [runner], [`Authorization: Bearer ${plane.adminKey}`]]) {
        const fields = [...whole, `Origin: ${origin}`, `Cookie: ${cookie}`, ...credential];
        expect(status(await exchange(port, upgrade(fields, { after: "" })))).toBe(403);
      }
    }
  });

  it("without an Origin opens none by a cookie alone, nor by a credential in the query or the protocol", async () => {
    // A page's own cookie says that it is a page that asks.
    for (const cookie of cookies)
      expect(status(await exchange(port, upgrade([...whole, `Cookie: ${cookie}`], { after: "" })))).toBe(
        cookie.startsWith("__Host-wolfpack=") ? 403 : 401,
      );
    const target = `${TUNNEL}&access_token=${RUNNER_TOKEN}`;
    expect(status(await exchange(port, upgrade(whole, { after: "", target })))).toBe(401);
    const offered = `Sec-WebSocket-Protocol: revdial.v3, bearer.${RUNNER_TOKEN}`;
    expect(status(await exchange(port, upgrade([key, version, offered], { after: "" })))).toBe(401);
  });

  it("opens one at a server that trusts its cookie", async () => {
    const naive = createServer();
    const webSockets = new WebSocketServer({ noServer: true });
    naive.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (request.headers.cookie?.includes("stolen"))
        webSockets.handleUpgrade(request, socket, head, (webSocket) => webSocket.close());
    });
    const fields = [key, version, "Origin: https://evil.example", `Cookie: ${cookies[0]}`];
    const result = await exchange(await listening(naive), upgrade(fields, { after: "" }));
    expect(status(result)).toBe(101);
  });
});
