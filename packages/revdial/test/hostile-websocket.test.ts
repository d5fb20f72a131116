/**
 * Peers that misuse the WebSocket itself: compression nobody agreed to, fragments without end, answers never read. While each does,
 * another tunnel to the same process has exchanges in flight, which end whole.
 */
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { deflateRawSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { dialTunnel, type Tunnel, webSocketServerOptions } from "../src/index.ts";
import { hello, open, write } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { type Bystander, bystander, unharmed } from "./process/bystander.ts";
import { type Child, startChild } from "./process/child.ts";
import { FIN, opcodes, RSV1, rawWebSocket, webSocketFrame } from "./raw-websocket.ts";
import { failure } from "./support.ts";

const MIB = 2 ** 20;
/** Measured: up to 4 MiB, of the garbage that small fragments are. The bomb would be 256. */
const PEAK_BYTES_MAX = 16 * MIB;
const DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

describe("an acceptor in a process of its own", () => {
  let acceptor: Child;
  let url: string;
  const honest: Tunnel[] = [];
  let finish: () => Promise<Bystander>;

  async function dialHonest(): Promise<() => Promise<Bystander>> {
    const tunnel = await dialTunnel(url);
    honest.push(tunnel);
    return bystander(tunnel);
  }

  beforeEach(async () => {
    acceptor = startChild("acceptor.ts", ["--expose-gc"]);
    url = await acceptor.ask<string>("listen");
    finish = await dialHonest();
  });

  afterEach(async () => {
    try {
      // Whatever the peer did has ended its own tunnel, and nothing else.
      expect(await finish()).toEqual(unharmed);
      expect(await (await dialHonest())()).toEqual(unharmed);
      const { ends, mistakes } = await acceptor.ask<{ ends: string[]; mistakes: string[] }>("state");
      expect({ ended: ends.length, mistakes }).toEqual({ ended: 1, mistakes: [] });
    } finally {
      for (const tunnel of honest.splice(0)) tunnel.destroy();
      await acceptor.stop();
    }
  });

  /** A WebSocket to it that has said HELLO, and how much the acceptor has grown since. */
  async function joined(fields: readonly string[] = []) {
    const raw = await rawWebSocket(url, fields);
    raw.socket.write(webSocketFrame(FIN | opcodes.binary, write(hello)));
    const held = await acceptor.ask<number>("held");
    const resident = await acceptor.ask<number>("forgetPeak");
    return {
      ...raw,
      /** By what it holds once all that can be collected is. */
      grown: async () => (await acceptor.ask<number>("held")) - held,
      /** By what it had at once in between, garbage included. */
      peaked: async () => (await acceptor.ask<number>("peak")) - resident,
    };
  }

  it("refuses an upgrade with an Origin, as any browser sends it", async () => {
    const origin = "Origin: https://evil.example";
    expect((await rawWebSocket(url, [origin])).answer).toMatch(/^HTTP\/1.1 403 /);
    const { socket } = await joined();
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it("answers as many pings at once as there may be", async () => {
    const { socket } = await joined();
    const { maxPendingAutoPongs } = webSocketServerOptions;
    let pongs = 0;
    const answered = new Promise<void>((resolve) => {
      socket.on("data", (bytes: Buffer) => {
        pongs += bytes.toString("latin1").split("\x8a\x04ping").length - 1;
        if (pongs === maxPendingAutoPongs) resolve();
      });
    });
    const ping = webSocketFrame(FIN | opcodes.ping, Buffer.from("ping"));
    socket.write(Buffer.concat(Array.from({ length: maxPendingAutoPongs }, () => ping)));
    await answered;
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it("cuts who pings and leaves more answers unread than may wait", async () => {
    const { socket, grown, peaked } = await joined();
    const ended = acceptor.ask("ended");
    socket.on("error", () => undefined);
    socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 5000 }, () => webSocketFrame(FIN | opcodes.ping, new Uint8Array(125))),
    );
    for (let round = 0; round < 20; round += 1) socket.write(pings);
    expect(await ended).toBe("TRANSPORT_LOST");
    expect(await peaked()).toBeLessThan(PEAK_BYTES_MAX);
    expect(await grown()).toBeLessThan(2 * MIB);
  });

  it("does not accept compression that a client offers", async () => {
    const { answer, socket } = await joined([DEFLATE]);
    expect(answer).toMatch(/^HTTP\/1.1 101 /);
    expect(answer.toLowerCase()).not.toContain("sec-websocket-extensions");
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it("closes with 1002 at a compressed message, and never unpacks the bomb in it", async () => {
    const { socket, closed, grown, peaked } = await joined([DEFLATE]);
    // 1 MiB on the wire would be 1 GiB.
    const bomb = deflateRawSync(Buffer.alloc(256 * MIB));
    expect(bomb.byteLength).toBeLessThan(MIB);
    socket.write(webSocketFrame(FIN | RSV1 | opcodes.binary, bomb));
    expect(await closed).toBe(1002);
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
    expect(await peaked()).toBeLessThan(PEAK_BYTES_MAX);
    expect(await grown()).toBeLessThan(2 * MIB);
  });

  /** The beginning of a message, in so many fragments of so many bytes each. */
  const inFragments = (count: number, bytes: number) =>
    Buffer.concat(
      Array.from({ length: count }, (_, index) =>
        webSocketFrame(index === 0 ? opcodes.binary : opcodes.continuation, new Uint8Array(bytes)),
      ),
    );

  it("is not filled by 20,000 empty fragments of one message", async () => {
    const { socket, closed, grown, peaked } = await joined();
    socket.write(inFragments(20_000, 0));
    expect(await closed).toBe(1008);
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
    expect(await peaked()).toBeLessThan(PEAK_BYTES_MAX);
    expect(await grown()).toBeLessThan(2 * MIB);
  });

  it.each([
    ["16,000 empty ones", 16_000, 0, MIB],
    ["as many of one byte as there may be", 16_384, 1, 4 * MIB],
  ])("is not filled by fragments of a message that never ends: %s", async (_name, count, bytes, grownMax) => {
    const { socket, grown, peaked } = await joined();
    socket.write(inFragments(count, bytes));
    // A ping between fragments is answered once all before it is read.
    const answered = new Promise<void>((resolve) => void socket.once("data", () => resolve()));
    socket.write(webSocketFrame(FIN | opcodes.ping, new Uint8Array(1)));
    await answered;
    expect(await grown()).toBeLessThan(grownMax);
    expect(await peaked()).toBeLessThan(PEAK_BYTES_MAX);
    socket.destroy();
    expect(await acceptor.ask("ended")).toBe("TRANSPORT_LOST");
  });

  it("closes with 1008 at the first fragment that is too many", async () => {
    const { socket, closed } = await joined();
    socket.write(inFragments(webSocketServerOptions.maxFragments + 1, 0));
    expect(await closed).toBe(1008);
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
    const { socket, closed, grown, peaked } = await joined();
    socket.write(bytes);
    expect(await closed).toBe(code);
    await acceptor.ask("ended");
    expect(await peaked()).toBeLessThan(PEAK_BYTES_MAX);
    expect(await grown()).toBeLessThan(2 * MIB);
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

  it("ends at a message in more fragments than there may be", async () => {
    const { maxFragments } = webSocketServerOptions;
    const fragments = Array.from({ length: maxFragments + 1 }, (_, index) =>
      Buffer.from([index === 0 ? opcodes.binary : opcodes.continuation, 0]),
    );
    const error = await failure(dialTunnel(await answering("", Buffer.concat(fragments))));
    expect(error.code).toBe("TRANSPORT_LOST");
    expect(error.message).toContain("fragments");
  });
});
