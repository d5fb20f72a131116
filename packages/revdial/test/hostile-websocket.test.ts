/** Peers that misuse the WebSocket itself: compression nobody agreed to, fragments without end, answers never read. */
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { deflateRawSync } from "node:zlib";
import { afterEach, describe, expect, it } from "@jest/globals";
import { dialTunnel } from "../src/index.ts";
import { hello, open, write } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { type Child, startChild } from "./process/child.ts";
import { FIN, opcodes, RSV1, rawWebSocket, webSocketFrame } from "./raw-websocket.ts";
import { failure } from "./support.ts";

const MIB = 2 ** 20;
const DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

describe("an acceptor in a process of its own", () => {
  let acceptor: Child;

  afterEach(() => acceptor.stop());

  /** A WebSocket to it that has said HELLO, and what the acceptor held then. */
  async function joined(fields: readonly string[] = []) {
    acceptor = startChild("acceptor.ts", ["--expose-gc"]);
    const url = await acceptor.ask<string>("listen");
    const raw = await rawWebSocket(url, fields);
    raw.socket.write(webSocketFrame(FIN | opcodes.binary, write(hello)));
    return { ...raw, url, held: await acceptor.ask<number>("held") };
  }

  const grown = async (held: number) => (await acceptor.ask<number>("held")) - held;

  it("does not accept compression that a client offers", async () => {
    const { answer, socket } = await joined([DEFLATE]);
    expect(answer).toMatch(/^HTTP\/1.1 101 /);
    expect(answer.toLowerCase()).not.toContain("sec-websocket-extensions");
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it("closes with 1002 at a compressed message, and never unpacks the bomb in it", async () => {
    const { socket, closed, held } = await joined([DEFLATE]);
    // 1 MiB on the wire would be 1 GiB.
    const bomb = deflateRawSync(Buffer.alloc(512 * MIB));
    expect(bomb.byteLength).toBeLessThan(MIB);
    socket.write(webSocketFrame(FIN | RSV1 | opcodes.binary, bomb));
    expect(await closed).toBe(1002);
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
    expect(await grown(held)).toBeLessThan(2 * MIB);
  });

  it("is not filled by 20,000 empty fragments of one message", async () => {
    const { socket, closed, held } = await joined();
    const fragments = Array.from({ length: 20_000 }, () =>
      webSocketFrame(opcodes.continuation, new Uint8Array()),
    );
    socket.write(Buffer.concat([webSocketFrame(opcodes.binary, new Uint8Array()), ...fragments]));
    expect(await closed).toBe(1008);
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
    expect(await grown(held)).toBeLessThan(2 * MIB);
  });

  it("is not filled by a message of one-byte fragments, nor by one that never ends", async () => {
    const { socket, held } = await joined();
    const fragments = Array.from({ length: 10_000 }, () =>
      webSocketFrame(opcodes.continuation, new Uint8Array(1)),
    );
    socket.write(Buffer.concat([webSocketFrame(opcodes.binary, new Uint8Array(1)), ...fragments]));
    // A ping between fragments is answered once all before it is read.
    socket.write(webSocketFrame(FIN | opcodes.ping, new Uint8Array(1)));
    await new Promise<void>((resolve) => void socket.once("data", () => resolve()));
    expect(await grown(held)).toBeLessThan(4 * MIB);
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it.each([
    ["of 2^40 bytes", webSocketFrame(FIN | opcodes.binary, new Uint8Array(10), 2 ** 40), 1009],
    ["of one byte more than may be", webSocketFrame(FIN | opcodes.binary, new Uint8Array(10), MIB + 1), 1009],
    [
      "in fragments that are too much together",
      Buffer.concat([
        webSocketFrame(opcodes.binary, new Uint8Array(MIB)),
        webSocketFrame(FIN | opcodes.continuation, new Uint8Array(1)),
      ]),
      1009,
    ],
    ["that is not masked", Buffer.from([FIN | opcodes.binary, 1, 0]), 1002],
    [
      "with a fragment that continues nothing",
      webSocketFrame(FIN | opcodes.continuation, new Uint8Array(1)),
      1002,
    ],
    ["with an opcode that does not exist", webSocketFrame(FIN | 0x3, new Uint8Array(1)), 1002],
    ["as text", webSocketFrame(FIN | opcodes.text, Buffer.from('{"hello":3}')), 1003],
    ["as text that is no UTF-8", webSocketFrame(FIN | opcodes.text, write(hello)), 1007],
    ["that is empty", webSocketFrame(FIN | opcodes.binary, new Uint8Array()), 1002],
  ])("closes with a code at a message %s", async (_name, bytes, code) => {
    const { socket, closed, held } = await joined();
    socket.write(bytes);
    expect(await closed).toBe(code);
    await acceptor.ask("ended");
    expect(await grown(held)).toBeLessThan(2 * MIB);
  });

  it("serves a request that comes byte by byte, each in a fragment of its own", async () => {
    const { socket } = await joined();
    const message = write(open(1, { path: "/call/1", end: true }));
    const heard = new Promise<Buffer>(
      (resolve) =>
        void socket.on("data", (bytes: Buffer) => {
          if (bytes.includes("/call/1")) resolve(bytes);
        }),
    );
    for (const [index, byte] of message.entries()) {
      const first =
        (index === 0 ? opcodes.binary : opcodes.continuation) | (index === message.byteLength - 1 ? FIN : 0);
      socket.write(webSocketFrame(first, new Uint8Array([byte])));
    }
    expect((await heard).includes("x-path")).toBe(true);
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });
});

describe("a dialler", () => {
  let server: Server;
  const sockets = new Set<Socket>();

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await stopServer(server);
  });

  /** A server that upgrades with these fields and then sends these bytes. */
  async function answering(fields: string, bytes: Uint8Array = new Uint8Array()): Promise<string> {
    server = createServer();
    server.on("upgrade", (request, socket) => {
      sockets.add(socket as Socket);
      socket.on("error", () => undefined);
      const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash("sha1").update(key).digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: revdial.v3\r\nSec-WebSocket-Accept: ${accept}\r\n${fields}\r\n`,
      );
      socket.write(bytes);
    });
    return listen(server);
  }

  it("refuses a server that insists on compression", async () => {
    const url = await answering("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    expect((await failure(dialTunnel(url))).code).toBe("DIAL_FAILED");
  });

  it("ends at a compressed message, without unpacking it", async () => {
    const bomb = deflateRawSync(Buffer.alloc(MIB));
    // A server does not mask.
    const head = Buffer.from([
      FIN | RSV1 | opcodes.binary,
      126,
      bomb.byteLength >> 8,
      bomb.byteLength & 0xff,
    ]);
    const error = await failure(dialTunnel(await answering("", Buffer.concat([head, bomb]))));
    expect(["TRANSPORT_LOST", "DIAL_FAILED"]).toContain(error.code);
  });
});
