/** Dialling and accepting over real sockets: refusals, time-outs, foreign peers. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import { decodeMessage } from "../src/decode.ts";
import { wireCodes } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import {
  acceptTunnel,
  dialTunnel,
  REVDIAL_SUBPROTOCOL,
  type Tunnel,
  webSocketServerOptions,
} from "../src/index.ts";
import { defaultLimits } from "../src/limits.ts";
import { ManualClock } from "../src/testing/index.ts";
import { hello, open, write } from "./cores.ts";
import { gateway, listen, stopServer } from "./gateway.ts";
import { failure, get, signal, text, until } from "./support.ts";

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
      });
    },
  );

  it("serves a request that comes in the same message as the peer's HELLO", async () => {
    server = createServer();
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    const heads = signal<string[]>();
    server.on("upgrade", (request, socket, head) => {
      upgrades.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.send(write(hello, open(2, { end: true })));
        const types: string[] = [];
        webSocket.on("message", (message: Buffer) => {
          types.push(...decodeMessage(message, defaultLimits).map(({ type }) => type));
          if (types.length > 1) heads.give(types);
        });
      });
    });
    const tunnel = await dialTunnel(await listen(server), { handler: () => ({ status: 204 }) });
    expect(await heads.seen).toEqual(["hello", "head"]);
    tunnel.destroy();
    await tunnel.closed;
  });

  it("reports the Retry-After of a refusal and bounds its body", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(503, { "retry-after": "7" });
      response.end("x".repeat(100_000));
    });
    const error = await failure(dialTunnel(url));
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 503, retryAfterMs: 7000 });
    expect(error.detail).toHaveLength(4096);
  });

  it.each([
    ["a date, against the server's own clock", "Mon, 23 Nov 2026 10:00:30 GMT", 30_000],
    ["a date that has passed", "Mon, 23 Nov 2026 09:00:00 GMT", undefined],
    ["nonsense", "soon", undefined],
    ["a negative number", "-5", undefined],
    ["more than a day", "9999999", 86_400_000],
  ])("reads a Retry-After that is %s", async (_name, value, retryAfterMs) => {
    const url = await answering((_request, response) => {
      response.writeHead(503, { "retry-after": value, date: "Mon, 23 Nov 2026 10:00:00 GMT" }).end();
    });
    expect((await failure(dialTunnel(url))).retryAfterMs).toBe(retryAfterMs);
  });

  it.each([
    ["websocket", 403],
    ["http", 403],
    ["auto", 401],
  ] as const)(
    "waits a second for the rest of a refusal, and knows its status then, whatever its own time is (%s, %i)",
    async (transport, status) => {
      const clock = new ManualClock();
      let asked = 0;
      const url = await answering((_request, response) => {
        asked += 1;
        response.writeHead(status, { "retry-after": "7" });
        response.write("and then nothing");
      });
      let settled = false;
      const refused = failure(dialTunnel(url, { transport, handshakeTimeoutMs: 50, clock })).finally(() => {
        settled = true;
      });
      await until(() => clock.pending === 2);
      await clock.advance(999);
      expect(settled).toBe(false);
      await clock.advance(1);
      expect(await refused).toMatchObject({
        code: "DIAL_REFUSED",
        status,
        retryAfterMs: 7000,
        detail: "and then nothing",
      });
      expect([asked, clock.pending]).toEqual([1, 0]);
    },
  );

  it("knows the status of a refusal that comes just before its time is over", async () => {
    const clock = new ManualClock();
    const url = await answering((_request, response) => void response.writeHead(403).flushHeaders());
    const refused = failure(dialTunnel(url, { clock }));
    await clock.advance(9990);
    await until(() => clock.pending === 2);
    await clock.advance(1000);
    expect(await refused).toMatchObject({ code: "DIAL_REFUSED", status: 403, detail: "" });
  });

  it("reports a refusal whose body is cut short", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(401, { "content-length": "100" });
      response.write("half", () => response.destroy());
    });
    expect(await failure(dialTunnel(url))).toMatchObject({
      code: "DIAL_REFUSED",
      status: 401,
      detail: "half",
    });
  });

  it("sends its headers and the subprotocol, and no Origin", async () => {
    const seen = signal<IncomingMessage>();
    const url = await answering((request, response) => {
      seen.give(request);
      response.writeHead(401).end();
    });
    await failure(dialTunnel(url, { headers: { authorization: "Bearer x" } }));
    const { headers } = await seen.seen;
    expect(headers).toMatchObject({ authorization: "Bearer x", "sec-websocket-protocol": "revdial.v3" });
    expect(headers.origin).toBeUndefined();
    expect(headers["sec-websocket-extensions"]).toBeUndefined();
  });

  it("asks a function for its headers before every dial, and rejects with what it throws", async () => {
    const seen: unknown[] = [];
    const url = await answering((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(401).end();
    });
    let made = 0;
    const headers = async () => ({ authorization: `Proof ${++made}` });
    await failure(dialTunnel(url, { headers }));
    await failure(dialTunnel(url, { headers, transport: "http" }));
    expect(seen).toEqual(["Proof 1", "Proof 2"]);
    const own = new Error("no proof to be had");
    for (const transport of ["websocket", "http", "auto"] as const) {
      const failing = dialTunnel(url, { transport, headers: () => Promise.reject(own) });
      expect(await failing.catch((error: unknown) => error)).toBe(own);
      const forged = dialTunnel(url, { transport, headers: () => ({ authorization: "a\r\nx: y" }) });
      expect((await failure(forged)).code).toBe("ARGUMENT");
    }
    expect(seen).toHaveLength(2);
  });

  it("gives up at once when it is cancelled while its headers are being made", async () => {
    const cancel = new AbortController();
    const headers = () => {
      cancel.abort();
      return new Promise<Record<string, string>>(() => undefined);
    };
    const dialled = dialTunnel("ws://127.0.0.1:9/", { headers, signal: cancel.signal });
    expect((await failure(dialled)).code).toBe("CANCELLED");
    const again = dialTunnel("ws://127.0.0.1:9/", {
      headers: () => Promise.reject(new Error("asked in vain")),
      signal: cancel.signal,
    });
    expect((await failure(again)).code).toBe("CANCELLED");
  });

  it.each([
    ["zero by default on loopback", {}, true, "127.0.0.1"],
    ["zero by default on the loopback of its name", {}, true, "localhost"],
    ["random when it is told so", { zeroMask: false }, false, "127.0.0.1"],
    // This host by an address that is not loopback: SPEC §2.3 allows no zero key there.
    ["random by default at any other address", {}, false, "0.0.0.0"],
    ["zero at any other address when it is told so", { zeroMask: true }, true, "0.0.0.0"],
  ])("masks with a key that is %s", async (_name, options, zero, host) => {
    const firstFrame = signal<Buffer>();
    server = createServer();
    server.on("upgrade", (request, socket) => {
      sockets.add(socket as Socket);
      const hash = createHash("sha1").update(
        `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`,
      );
      socket.on("data", (bytes: Buffer) => firstFrame.give(bytes));
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: revdial.v3\r\nSec-WebSocket-Accept: ${hash.digest("base64")}\r\n\r\n`,
      );
    });
    const cancel = new AbortController();
    const url = (await listen(server)).replace("127.0.0.1", host);
    const dialling = failure(dialTunnel(url, { ...options, signal: cancel.signal }));
    const frame = await firstFrame.seen;
    // HELLO is longer than nothing and shorter than 126 bytes: two header bytes, four of the key.
    expect(frame.subarray(2, 6).equals(Buffer.alloc(4))).toBe(zero);
    cancel.abort();
    expect((await dialling).code).toBe("CANCELLED");
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
    for (const url of ["http://127.0.0.1/", "nonsense", "", "wss://"]) {
      expect((await failure(dialTunnel(url))).code).toBe("ARGUMENT");
    }
    const headers = { authorization: "Bearer a\r\nx: y" };
    for (const transport of ["websocket", "http", "auto"] as const)
      expect((await failure(dialTunnel("ws://127.0.0.1:9/", { headers, transport }))).code).toBe("ARGUMENT");
  });

  it("refuses a transport that does not exist, and a URL that is missing", async () => {
    const transport = "tcp" as "auto";
    expect((await failure(dialTunnel("ws://127.0.0.1:9/", { transport }))).code).toBe("ARGUMENT");
    expect((await failure(dialTunnel(undefined as never))).code).toBe("ARGUMENT");
  });

  it("accepts nothing but a WebSocket of ws", () => {
    for (const none of [undefined, null, "ws://127.0.0.1:9/", {}, new EventTarget()])
      expect(() => acceptTunnel(none as never)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
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
  ] as const)(
    "is told with GOAWAY, and closed with a code, after %s",
    async (_name, message, code, closeCode) => {
      const accepted = Promise.withResolvers<Tunnel>();
      const { url, server } = await gateway(accepted.resolve);
      const socket = new WebSocket(url, REVDIAL_SUBPROTOCOL);
      const heard: Frame[] = [];
      socket.on("message", (bytes: Buffer) =>
        heard.push(...decodeMessage(new Uint8Array(bytes), defaultLimits)),
      );
      await once(socket, "open");
      socket.send(message);
      const [closedWith] = (await once(socket, "close")) as [number];
      expect(closedWith).toBe(closeCode);
      expect(heard).toMatchObject([
        { type: "hello", version: 3 },
        { type: "goaway", code: wireCodes[code], lastChannel: 0, retryAfterMs: 0 },
      ]);
      const tunnel = await accepted.promise;
      expect((await tunnel.closed).code).toBe(code);
      expect((await failure(tunnel.ready)).code).toBe(code);
      await stopServer(server);
    },
  );

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

  it("is cut off when it was let in without the subprotocol", async () => {
    const accepted = signal<Tunnel>();
    const { url, server } = await gateway(accepted.give);
    const socket = new WebSocket(url);
    const [closedWith] = (await once(socket, "close")) as [number];
    expect(closedWith).toBe(1002);
    expect((await (await accepted.seen).closed).code).toBe("PROTOCOL_VERSION");
    await stopServer(server);
  });

  it("gets the answers to 20 requests of one message in few messages", async () => {
    const accepted = signal<Tunnel>();
    const { url, server } = await gateway(accepted.give);
    const socket = new WebSocket(url, REVDIAL_SUBPROTOCOL);
    await once(socket, "open");
    const messages: Buffer[] = [];
    const answers = signal();
    const frames = () => messages.flatMap((message) => decodeMessage(new Uint8Array(message), defaultLimits));
    socket.on("message", (message: Buffer) => {
      messages.push(message);
      if (frames().filter((frame) => frame.type === "head").length === 20) answers.give();
    });
    const tunnel = await accepted.seen;
    tunnel.serve(() => ({ status: 200, body: text.encode("ok") }));
    const opens = Array.from({ length: 20 }, (_, index) => open(2 * index + 1, { end: true }));
    socket.send(write(hello, ...opens));
    await answers.seen;
    const heads = messages.filter((message) =>
      decodeMessage(new Uint8Array(message), defaultLimits).some((frame) => frame.type === "head"),
    );
    expect(heads.length).toBeLessThanOrEqual(3);
    expect(frames().filter((frame) => frame.type === "data" && frame.end)).toHaveLength(20);
    socket.terminate();
    expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
    await stopServer(server);
  });

  it("does not keep a tunnel waiting that closes while it says nothing", async () => {
    const accepted = signal<Tunnel>();
    const { url, server } = await gateway(accepted.give);
    const socket = new WebSocket(url, REVDIAL_SUBPROTOCOL);
    await once(socket, "open");
    const tunnel = await accepted.seen;
    const early = failure(tunnel.request(get("/")));
    const end = tunnel.close({ reason: "never mind" });
    expect(await early).toMatchObject({ code: "DRAINING", sent: "not-sent" });
    expect(await end).toEqual({ code: "CLOSED", reason: "never mind" });
    expect((await failure(tunnel.ready)).code).toBe("CLOSED");
    await stopServer(server);
  });
});
