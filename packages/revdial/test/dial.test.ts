/** Dialling and accepting over real sockets: refusals, time-outs, foreign peers. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import { dialTunnel, REVDIAL_SUBPROTOCOL, type Tunnel, webSocketServerOptions } from "../src/index.ts";
import { gateway, listen, stopServer } from "./gateway.ts";
import { failure } from "./support.ts";

describe("dialTunnel", () => {
  let server: Server | undefined;
  const sockets = new Set<Socket>();

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    if (server) await stopServer(server);
    server = undefined;
  });

  async function answering(
    respond: (request: IncomingMessage, response: ServerResponse) => void,
  ): Promise<string> {
    server = createServer(respond);
    return listen(server);
  }

  it.each([401, 403, 404, 500])(
    "reports an upgrade that is answered with %i, with its body",
    async (status) => {
      const url = await answering((_request, response) => {
        response.writeHead(status, { "content-type": "application/problem+json" });
        response.end('{"code":"no"}');
      });
      expect(await failure(dialTunnel(url))).toMatchObject({
        code: "DIAL_REFUSED",
        status,
        detail: '{"code":"no"}',
        sent: "not-sent",
      });
    },
  );

  it("reports the Retry-After of a refusal and bounds its body", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(503, { "retry-after": "7" });
      response.end("x".repeat(100_000));
    });
    const error = await failure(dialTunnel(url));
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 503, retryAfterMs: 7000 });
    expect(error.detail).toHaveLength(4096);
  });

  it("does not follow a redirect", async () => {
    const url = await answering((_request, response) =>
      response.writeHead(302, { location: "http://127.0.0.1:9/" }).end(),
    );
    expect(await failure(dialTunnel(url))).toMatchObject({ code: "DIAL_REFUSED", status: 302 });
  });

  it("gives up on a server that accepts the connection and says nothing", async () => {
    server = createServer();
    server.on("upgrade", (_request, socket) => sockets.add(socket as Socket));
    expect((await failure(dialTunnel(await listen(server), { handshakeTimeoutMs: 50 }))).code).toBe(
      "DIAL_TIMEOUT",
    );
  });

  it("gives up on a server that upgrades and never says HELLO", async () => {
    server = createServer();
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    server.on("upgrade", (request, socket, head) => {
      sockets.add(socket as Socket);
      upgrades.handleUpgrade(request, socket, head, () => undefined);
    });
    expect((await failure(dialTunnel(await listen(server), { handshakeTimeoutMs: 50 }))).code).toBe(
      "DIAL_TIMEOUT",
    );
  });

  it("refuses a server that upgrades without the subprotocol", async () => {
    server = createServer();
    const upgrades = new WebSocketServer({ noServer: true, handleProtocols: () => false });
    server.on("upgrade", (request, socket, head) =>
      upgrades.handleUpgrade(request, socket, head, (ws) => ws.on("error", () => undefined)),
    );
    expect((await failure(dialTunnel(await listen(server)))).code).toBe("DIAL_FAILED");
  });

  it("says that nobody listens", async () => {
    server = createServer();
    const url = await listen(server);
    await stopServer(server);
    server = undefined;
    expect((await failure(dialTunnel(url))).code).toBe("DIAL_FAILED");
  });

  it("stops dialling when it is told to", async () => {
    server = createServer();
    const cancel = new AbortController();
    server.on("upgrade", (_request, socket) => {
      sockets.add(socket as Socket);
      cancel.abort();
    });
    expect((await failure(dialTunnel(await listen(server), { signal: cancel.signal }))).code).toBe(
      "CANCELLED",
    );
    expect((await failure(dialTunnel("ws://127.0.0.1:1/", { signal: cancel.signal }))).code).toBe(
      "CANCELLED",
    );
  });

  it("refuses a URL that is no WebSocket's", async () => {
    expect((await failure(dialTunnel("http://127.0.0.1/"))).code).toBe("ARGUMENT");
  });
});

describe("a peer that speaks WebSocket but not this protocol", () => {
  it.each([
    ["a text message", "hello", "MESSAGE_NOT_BINARY", 1003],
    ["an empty message", Buffer.alloc(0), "FRAME_TRUNCATED", 1002],
    [
      "a frame before HELLO",
      Buffer.from("000000" + "07" + "00" + "00000000", "hex"),
      "FRAME_MALFORMED",
      1002,
    ],
    ["random bytes", Buffer.from("ffffffffffffffffffff", "hex"), "FRAME_TOO_LARGE", 1002],
  ])("is closed with a code after %s", async (_name, message, code, closeCode) => {
    const accepted = Promise.withResolvers<Tunnel>();
    const { url, server } = await gateway(accepted.resolve);
    const socket = new WebSocket(url, REVDIAL_SUBPROTOCOL);
    await once(socket, "open");
    socket.send(message);
    const [closedWith] = (await once(socket, "close")) as [number];
    expect(closedWith).toBe(closeCode);
    const tunnel = await accepted.promise;
    expect((await tunnel.closed).code).toBe(code);
    expect((await failure(tunnel.ready)).code).toBe(code);
    await stopServer(server);
  });

  it("is cut off when a message is larger than the limit", async () => {
    const accepted = Promise.withResolvers<Tunnel>();
    const { url, server } = await gateway(accepted.resolve);
    const socket = new WebSocket(url, REVDIAL_SUBPROTOCOL);
    socket.on("error", () => undefined);
    await once(socket, "open");
    socket.send(Buffer.alloc(1024 * 1024 + 1));
    await once(socket, "close");
    expect((await (await accepted.promise).closed).code).toBe("TRANSPORT_LOST");
    await stopServer(server);
  });
});
