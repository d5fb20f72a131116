/**
 * POSTs upwards in pieces that are no size for a piece: HTTP lets a peer cut a body into chunks of a byte. The acceptor is a
 * process of its own, whose memory is looked at while it waits for the rest.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { hello, write } from "./cores.ts";
import { type Child, startChild } from "./process/child.ts";

const MIB = 2 ** 20;
const type = "application/vnd.revdial.v3";
let acceptor: Child;
let port: number;
const sockets: Socket[] = [];

beforeEach(async () => {
  acceptor = startChild("acceptor.ts", ["--expose-gc"]);
  port = Number(new URL(await acceptor.ask<string>("listen")).port);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await acceptor.stop();
});

/** A connection that has sent this head. */
function say(...lines: string[]): Socket {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => undefined);
  socket.write(`${["POST / HTTP/1.1", "Host: a", `Content-Type: ${type}`, ...lines].join("\r\n")}\r\n\r\n`);
  return socket;
}

async function open(): Promise<string> {
  const [answer] = (await once(say("Content-Length: 0"), "data")) as [Buffer];
  return /^revdial-tunnel: (.*)\r$/im.exec(answer.toString())?.[1] ?? "";
}

const post = (key: string) =>
  say(`Revdial-Tunnel: ${key}`, "Revdial-Sequence: 1", "Transfer-Encoding: chunked");

/** Bytes of a body, each in a chunk of its own of so many bytes. */
const inChunks = (body: Uint8Array, bytes: number) => {
  const size = Buffer.from(`${bytes.toString(16)}\r\n`);
  const end = Buffer.from("\r\n");
  const parts: Uint8Array[] = [];
  for (let at = 0; at < body.byteLength; at += bytes) parts.push(size, body.subarray(at, at + bytes), end);
  return Buffer.concat(parts);
};

describe("a POST upwards", () => {
  it.each([
    [1, MIB / 8],
    [100, MIB],
    [1024, MIB],
  ])(
    "that does not end, in chunks of %i bytes, costs little more than its bytes (%i)",
    async (bytes, all) => {
      const socket = post(await open());
      const before = await acceptor.ask<number>("held");
      const wire = inChunks(Buffer.alloc(all), bytes);
      socket.write(wire);
      await acceptor.ask("heard", wire.byteLength);
      // As an array of chunks of one byte it would be 100 times as much.
      expect((await acceptor.ask<number>("held")) - before).toBeLessThan(all + MIB);
    },
  );

  it("above 1 MiB is refused at its first byte too many, however small its chunks", async () => {
    const socket = post(await open());
    socket.write(inChunks(Buffer.alloc(MIB - 1000), MIB - 1000));
    socket.write(inChunks(Buffer.alloc(1001), 1));
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /);
  });

  it("in chunks of one byte is put together as it was", async () => {
    const socket = post(await open());
    const message = write(
      hello,
      ...Array.from({ length: 500 }, () => ({ type: "ping", token: 5n }) as const),
      { type: "goaway", lastChannel: 0, code: 70, retryAfterMs: 0, reason: "whole" },
    );
    const length = Buffer.alloc(4);
    length.writeUInt32BE(message.byteLength);
    socket.write(Buffer.concat([inChunks(Buffer.concat([length, message]), 1), Buffer.from("0\r\n\r\n")]));
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 204 /);
    expect(await acceptor.ask("ended")).toBe("HEAD_INVALID");
  });
});
