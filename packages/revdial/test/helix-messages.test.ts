/** What leaves for an agent in which message and which write, since the oldest agents lose what does not come in one of their reads. */
import type { IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { WebSocketServer } from "ws";
import { createHelixExchange, helixWebSocketServerOptions } from "../src/helix/index.ts";
import type { Tunnel } from "../src/index.ts";
import { afterwards, maskedFrame } from "./helix-support.ts";
import { ok } from "./raw-http.ts";
import { failure, text, until } from "./support.ts";

const KIB = 1024;
/** What the oldest agent reads at a time. */
const READ_BYTES = 4096;

/** A server's end of a TCP connection: each write as it left, behind the answer to the upgrade. */
class Wire extends Duplex {
  readonly writes: Buffer[] = [];
  /** The turn of the event loop of each. */
  readonly turns: number[] = [];
  private turn = 0;

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.wrote(bytes);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.wrote(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    done();
  }

  private wrote(bytes: Buffer): void {
    this.writes.push(bytes);
    this.turns.push(this.turn);
    setImmediate(() => {
      this.turn += 1;
    });
  }

  // Of a socket.
  setTimeout(): void {}
  setNoDelay(): void {}

  get frames(): Buffer[] {
    const bytes = Buffer.concat(this.writes.slice(1));
    const frames: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const short = (bytes[at + 1] as number) & 0x7f;
      expect(short).toBeLessThan(127);
      const length = short < 126 ? 2 + short : 4 + bytes.readUInt16BE(at + 2);
      frames.push(bytes.subarray(at, at + length));
      at += length;
    }
    return frames;
  }

  get payload(): Buffer {
    return Buffer.concat(this.frames.map((frame) => frame.subarray((frame[1] as number) < 126 ? 2 : 4)));
  }
}

interface Made {
  tunnel: Tunnel;
  /** Of data connections, in the order in which they were announced. */
  wires: Wire[];
}

/** A tunnel whose agent brings connections that the test looks at. */
async function made(): Promise<Made> {
  const exchange = createHelixExchange();
  const server = new WebSocketServer({ ...helixWebSocketServerOptions, noServer: true });
  const upgrade = (wire: Wire, then: Parameters<WebSocketServer["handleUpgrade"]>[3]) => {
    const headers = {
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": `${"A".repeat(22)}==`,
    };
    server.handleUpgrade({ method: "GET", headers } as IncomingMessage, wire, Buffer.alloc(0), then);
  };
  const wires: Wire[] = [];
  const control = new Wire();
  let tunnel: Tunnel | undefined;
  upgrade(control, (socket) => {
    tunnel = exchange.accept(socket, { credential: "" });
    const send = socket.send.bind(socket);
    socket.send = ((line: string, ...rest: []) => {
      const { connPath } = JSON.parse(line);
      if (connPath !== undefined) setImmediate(() => bring(connPath));
      send(line, ...rest);
    }) as typeof socket.send;
  });
  const bring = (connPath: string) => {
    const query = new URLSearchParams(connPath.split("?")[1]);
    const wire = new Wire();
    wires.push(wire);
    upgrade(wire, (socket) =>
      exchange.pickUp(query.get("revdial.dialer") ?? "", query.get("revdial.req") ?? "", socket),
    );
  };
  if (tunnel === undefined) throw new Error("no tunnel");
  const { ready, closed, destroy } = tunnel as Tunnel;
  control.push(maskedFrame(0x8a, Buffer.from("1")));
  afterwards(async () => {
    destroy.call(tunnel);
    await closed;
  });
  await ready;
  return { tunnel, wires };
}

const post = (body: Uint8Array | AsyncIterable<Uint8Array>) => ({
  service: "wolf",
  method: "POST",
  path: "/",
  body,
});

/** Asked on the next data connection, once all of it has left. */
async function sent({ tunnel, wires }: Made, body: Buffer): Promise<Wire> {
  tunnel.request(post(body)).catch(() => undefined);
  await until(() => wires[0]?.payload.toString().endsWith(`\r\n\r\n${body}`) ?? false);
  return wires[0] as Wire;
}

/** What the oldest agent makes of bytes that come in these pieces: of a message it takes what one read of its socket gives it. */
function readByOldest(pieces: readonly Buffer[]): Buffer {
  const got: Buffer[] = [];
  const queue = [...pieces];
  let buffer = Buffer.alloc(0);
  const fill = () => {
    const next = queue.shift() as Buffer;
    const room = READ_BYTES - buffer.length;
    if (next.length > room) queue.unshift(next.subarray(room));
    buffer = Buffer.concat([buffer, next.subarray(0, room)]);
  };
  while (buffer.length > 0 || queue.length > 0) {
    while (buffer.length < 4) fill();
    const short = (buffer[1] as number) & 0x7f;
    const head = short < 126 ? 2 : 4;
    let left = short < 126 ? short : buffer.readUInt16BE(2);
    buffer = buffer.subarray(head);
    for (let first = true; left > 0; first = false) {
      if (buffer.length === 0) fill();
      const bytes = buffer.subarray(0, left);
      if (first) got.push(bytes);
      left -= bytes.length;
      buffer = buffer.subarray(bytes.length);
    }
  }
  return Buffer.concat(got);
}

const bodyOf = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, at) => 97 + (at % 23)));

describe("a request to an agent", () => {
  it.each([0, 1, 500, 1020, 1021, 3000, 3900, 8 * KIB, 16_000])(
    "with a body of %i bytes leaves in messages of at most 1,020 bytes, each in a write and a turn of its own",
    async (bytes) => {
      const wire = await sent(await made(), bodyOf(bytes));
      const writes = wire.writes.slice(1);
      expect(writes).toEqual(wire.frames);
      expect(new Set(wire.turns).size).toBe(wire.turns.length);
      expect(Math.max(...writes.map(({ length }) => length))).toBeLessThanOrEqual(KIB);
      expect(wire.payload.toString()).toMatch(new RegExp(`content-length: ${bytes}\r\n\r\n[a-w]{${bytes}}$`));
    },
  );

  it.each([500, 3900, 8 * KIB, 16_000])(
    "with a body of %i bytes is whole at the oldest agent, in segments of what was written or all at once",
    async (bytes) => {
      const wire = await sent(await made(), bodyOf(bytes));
      const writes = wire.writes.slice(1);
      expect(readByOldest(writes).equals(wire.payload)).toBe(true);
      expect(readByOldest([Buffer.concat(writes)]).equals(wire.payload)).toBe(true);
    },
  );

  it("whose body comes in small pieces has them together, as far as they are there", async () => {
    const agent = await made();
    async function* pieces() {
      for (let at = 0; at < 40; at += 1) yield text.encode(`piece ${at} `.repeat(5));
    }
    agent.tunnel.request(post(pieces())).catch(() => undefined);
    await until(() => agent.wires[0]?.payload.toString().endsWith("\r\n0\r\n\r\n") ?? false);
    const [wire] = agent.wires as [Wire];
    expect(wire.writes.slice(1)).toEqual(wire.frames);
    expect(wire.frames.length).toBeLessThan(20);
  });

  it("that is large goes in full reads behind its first 16 KiB, and several of them in a write", async () => {
    const wire = await sent(await made(), bodyOf(512 * KIB));
    const sizes = wire.frames.map(({ length }) => length);
    expect(Math.max(...sizes.slice(0, 16))).toBeLessThanOrEqual(KIB);
    expect(Math.max(...sizes)).toBe(READ_BYTES);
    expect(wire.writes.length).toBeLessThan(60);
  });

  it("on a connection that is kept begins with small messages again", async () => {
    const agent = await made();
    const large = bodyOf(512 * KIB);
    const first = agent.tunnel.request(post(large));
    await until(() => (agent.wires[0]?.payload.length ?? 0) > large.length);
    const [wire] = agent.wires as [Wire];
    wire.push(maskedFrame(0x82, Buffer.from(ok())));
    const { body } = await first;
    for await (const _chunk of body);
    const before = wire.frames.length;
    const small = bodyOf(5000);
    agent.tunnel.request(post(small)).catch(() => undefined);
    await until(() => wire.payload.subarray(-small.length).equals(small));
    const frames = wire.frames.slice(before);
    expect(agent.wires).toHaveLength(1);
    expect(Math.max(...frames.map(({ length }) => length))).toBe(KIB);
    expect(wire.writes.slice(-frames.length)).toEqual(frames);
  });

  it("that is given up between its messages leaves nothing behind, and the others go on", async () => {
    const agent = await made();
    const abort = new AbortController();
    const given = failure(agent.tunnel.request({ ...post(bodyOf(16_000)), signal: abort.signal }));
    await until(() => (agent.wires[0]?.frames.length ?? 0) > 2);
    abort.abort();
    expect(await given).toMatchObject({ code: "CANCELLED" });
    const [first] = agent.wires as [Wire];
    await until(() => first.destroyed);
    const left = first.frames.length;
    agent.tunnel.request(post(bodyOf(3000))).catch(() => undefined);
    await until(() => agent.wires[1]?.payload.toString().endsWith(`${bodyOf(3000)}`) ?? false);
    expect(first.frames).toHaveLength(left);
  });
});
