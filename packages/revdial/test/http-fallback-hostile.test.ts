/** What an acceptor over HTTP makes of illegal POSTs, and a dialler of illegal answers. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import {
  createHttpAcceptor,
  createTunnelSet,
  type DialOptions,
  dialTunnel,
  type RevdialError,
  type Tunnel,
} from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { hello, write } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { type HttpGateway, httpGateway } from "./http-gateway.ts";
import { failure, signal, until } from "./support.ts";

const type = "application/vnd.revdial.v3";
const MIB = 1024 * 1024;
let gateway: HttpGateway;

beforeEach(async () => {
  gateway = await httpGateway({}, { tunnelsMax: 2 });
});

afterEach(() => gateway.stop());

interface Answer {
  status: number;
  response: IncomingMessage;
}

/** One request with a connection of its own; its answer's body is not waited for. */
async function send(fields: Record<string, string>, body: Uint8Array, method = "POST"): Promise<Answer> {
  const made = request(gateway.url.replace("ws:", "http:"), {
    method,
    agent: false,
    headers: { "content-type": type, "content-length": String(body.byteLength), ...fields },
  });
  made.on("error", () => undefined);
  made.end(body);
  const [response] = (await once(made, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  response.resume();
  return { status: response.statusCode ?? 0, response };
}

async function open(): Promise<{ key: string; tunnel: Tunnel; response: IncomingMessage }> {
  const { status, response } = await send({}, Buffer.alloc(0));
  expect(status).toBe(200);
  const tunnel = gateway.tunnels.at(-1) as Tunnel;
  return { key: String(response.headers["revdial-tunnel"]), tunnel, response };
}

const record = (message: Uint8Array) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.byteLength);
  return Buffer.concat([length, message]);
};

async function post(key: string, sequence: string | number, body: Uint8Array): Promise<number> {
  return (await send({ "revdial-tunnel": key, "revdial-sequence": String(sequence) }, body)).status;
}

describe("an acceptor over HTTP", () => {
  it("gives every tunnel an unguessable key, and answers so that nobody keeps or buffers it", async () => {
    const first = await open();
    const second = await open();
    expect(first.key).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(second.key).not.toBe(first.key);
    expect(first.response.headers).toMatchObject({
      "content-type": type,
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
  });

  it("opens no tunnel for a browser, whose requests have an Origin", async () => {
    const refused = await send({ origin: "https://evil.example" }, Buffer.alloc(0));
    expect(refused.status).toBe(403);
    expect(refused.response.headers["revdial-tunnel"]).toBeUndefined();
    expect(gateway.tunnels).toHaveLength(0);
    expect(JSON.stringify(gateway.acceptor)).toBe('{"tunnels":0,"tunnelsMax":2}');
  });

  it("refuses a tunnel too many, and forgets those that have ended", async () => {
    const first = await open();
    await open();
    const refused = await send({}, Buffer.alloc(0));
    expect(refused.status).toBe(503);
    expect(refused.response.headers["retry-after"]).toBe("5");
    first.response.destroy();
    await first.tunnel.closed;
    await open();
  });

  it.each(["", "x", "A".repeat(43), "A".repeat(100_0)])("knows no tunnel of the key %j", async (key) => {
    await open();
    expect(await post(key, 1, record(write(hello)))).toBe(404);
  });

  it("takes a number once: a repeated one is answered and has no effect", async () => {
    const { key, tunnel } = await open();
    const body = record(write(hello));
    expect(await post(key, 1, body)).toBe(204);
    await tunnel.ready;
    // A second HELLO would be a violation.
    expect(await post(key, 1, body)).toBe(204);
    expect(await post(key, 3, body)).toBe(409);
    expect(await post(key, 2, body)).toBe(204);
    expect((await tunnel.closed).code).toBe("HELLO_REPEATED");
  });

  it.each(["0", "-1", "1.5", "01", "x", "", "9".repeat(20)])(
    "does not read %j as a number",
    async (number) => {
      const { key } = await open();
      expect(await post(key, number, record(write(hello)))).toBe(400);
    },
  );

  it("leaves other methods, other types and browsers out", async () => {
    const { key } = await open();
    const fields = { "revdial-tunnel": key, "revdial-sequence": "1" };
    expect((await send(fields, Buffer.alloc(0), "GET")).status).toBe(405);
    expect((await send({ ...fields, "content-type": "text/plain" }, Buffer.alloc(0))).status).toBe(415);
    expect((await send({ ...fields, origin: "https://evil.example" }, Buffer.alloc(0))).status).toBe(403);
  });

  it("knows a tunnel no more once it has ended", async () => {
    const { key, tunnel } = await open();
    tunnel.destroy();
    await tunnel.closed;
    expect(await post(key, 1, record(write(hello)))).toBe(404);
  });

  it("ends in order when the dialler says so, and takes nothing after", async () => {
    const { key, tunnel, response } = await open();
    const closing = Buffer.from("0000000003e800", "hex");
    expect(await post(key, 1, Buffer.concat([record(write(hello)), closing, Buffer.from("garbage")]))).toBe(
      204,
    );
    expect(await tunnel.closed).toMatchObject({ reason: "the peer closed with code 1000" });
    if (!response.readableEnded) await once(response, "end");
    expect(await post(key, 2, record(write(hello)))).toBe(404);
  });

  it.each<[string, Buffer, string]>([
    ["a record above messageBytesMax", Buffer.from("00100001", "hex"), "TRANSPORT_LOST"],
    ["a length beyond all limits", Buffer.from("ffffffff", "hex"), "TRANSPORT_LOST"],
    ["garbage in a record", record(Buffer.from("garbage and more of it")), "FRAME_TOO_LARGE"],
  ])("ends a tunnel for %s", async (_name, body, code) => {
    const { key, tunnel } = await open();
    expect(await post(key, 1, body)).toBe(204);
    expect((await tunnel.closed).code).toBe(code);
  });

  it("waits for the rest of a record that was cut", async () => {
    const { key, tunnel } = await open();
    const body = record(write(hello));
    for (let at = 0; at < body.byteLength; at += 1) {
      expect(await post(key, at + 1, body.subarray(at, at + 1))).toBe(204);
    }
    await tunnel.ready;
  });

  it("does not take a POST that breaks off, and lets its repetition in", async () => {
    const { key, tunnel } = await open();
    const body = record(write(hello));
    const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nRevdial-Tunnel: ${key}\r\nRevdial-Sequence: 1\r\nContent-Length: ${body.byteLength}\r\n\r\n`;
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    const seen = once(gateway.server, "request");
    socket.write(head);
    socket.write(body.subarray(0, 9));
    await seen;
    // The first is still being read: its connection may be dead without saying so.
    expect(await post(key, 1, body)).toBe(204);
    await tunnel.ready;
    if (!socket.destroyed) await once(socket, "close");
  });

  it("refuses a body above its limit before it reads it", async () => {
    const { key } = await open();
    const fields = `Content-Type: ${type}\r\nRevdial-Tunnel: ${key}\r\nRevdial-Sequence: 1\r\n`;
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: ${MIB + 1}\r\n\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
  });

  it("keeps no more than its limit of a body without a stated length", async () => {
    const { key } = await open();
    const made = request(gateway.url.replace("ws:", "http:"), {
      method: "POST",
      agent: false,
      headers: { "content-type": type, "revdial-tunnel": key, "revdial-sequence": "1" },
    });
    made.on("error", () => undefined);
    const piece = Buffer.alloc(MIB / 4);
    for (let n = 0; n < 5; n += 1) made.write(piece);
    const [response] = (await once(made, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(413);
    made.destroy();
  });

  it("reads one POST of a tunnel at a time, however many come", async () => {
    const { key, tunnel } = await open();
    const sockets = Array.from({ length: 50 }, () => connect(Number(new URL(gateway.url).port), "127.0.0.1"));
    let closed = 0;
    for (const socket of sockets) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        closed += 1;
      });
      const fields = `Content-Type: ${type}\r\nRevdial-Tunnel: ${key}\r\nRevdial-Sequence: 1\r\n`;
      socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: ${MIB}\r\n\r\n`);
      socket.write(Buffer.alloc(1000));
    }
    await until(() => closed === 49);
    tunnel.destroy();
    await until(() => closed === 50);
  });
});

describe("a dialler over HTTP", () => {
  async function answered(respond: (response: ServerResponse) => void): Promise<ReturnType<typeof failure>> {
    const server = createServer((incoming, response) => {
      incoming.resume();
      respond(response);
    });
    const url = await listen(server);
    try {
      return await failure(dialTunnel(url, { transport: "http" }));
    } finally {
      await stopServer(server);
    }
  }
  const fields = { "content-type": type, "revdial-tunnel": "A".repeat(43) };

  it.each<[string, Record<string, string>]>([
    ["of another type", { ...fields, "content-type": "text/html" }],
    ["without a key", { "content-type": type }],
    ["with a key that is none", { ...fields, "revdial-tunnel": "short" }],
    ["that was compressed", { ...fields, "content-encoding": "gzip" }],
  ])("takes no answer %s for a tunnel", async (_name, headers) => {
    const error = await answered((response) => response.writeHead(200, headers).end("<html>"));
    expect(error.code).toBe("DIAL_FAILED");
  });

  it.each([302, 401, 503])("reports an open request that is answered with %i", async (status) => {
    const error = await answered((response) =>
      response.writeHead(status, { location: "/elsewhere", "retry-after": "3" }).end("no"),
    );
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status, retryAfterMs: 3000, detail: "no" });
  });

  it.each([409, 413, 200])("ends when a POST is answered with %i", async (status) => {
    const server = createServer((incoming, response) => {
      incoming.resume();
      if (incoming.headers["revdial-tunnel"] !== undefined) return void response.writeHead(status).end();
      response.writeHead(200, fields).flushHeaders();
    });
    const error = await failure(dialTunnel(await listen(server), { transport: "http" }));
    expect(error.code).toBe("TRANSPORT_LOST");
    await stopServer(server);
  });

  /** A tunnel whose acceptor forgets it; resolves when the dialler has heard so from its next POST. */
  async function forgotten(options: DialOptions = {}, meanwhile = async (_tunnel: Tunnel) => {}) {
    const heard = signal();
    const busy = signal();
    const acceptor = createHttpAcceptor();
    let there = true;
    let accepted: Tunnel | undefined;
    const server = createServer((incoming, response) => {
      if (acceptor.kindOf(incoming) === "open") accepted = acceptor.open(incoming, response);
      else if (there) acceptor.receive(incoming, response);
      else {
        // The dialler leaves a connection on which it heard no.
        incoming.resume().socket.once("close", () => heard.give());
        void busy.seen.then(() => response.writeHead(404).end());
      }
    });
    const tunnel = await dialTunnel(await listen(server), { ...options, transport: "http" });
    await accepted?.ready;
    there = false;
    tunnel.notify("news", Buffer.alloc(16 * 1024));
    // The POST is on its way after this turn.
    await new Promise<void>((resolve) => setImmediate(resolve));
    await meanwhile(tunnel);
    busy.give();
    await heard.seen;
    const stop = async () => {
      acceptor.close();
      await tunnel.closed;
      await stopServer(server);
    };
    return { tunnel, accepted: accepted as Tunnel, stop };
  }

  it("hears out why an acceptor has forgotten it: that may still be on its way downwards", async () => {
    const { tunnel, accepted, stop } = await forgotten();
    void accepted.close({ code: "REPLACED", reason: "a newer one", drainMs: 0 });
    expect(await tunnel.closed).toMatchObject({ code: "REPLACED", reason: "a newer one" });
    await stop();
  });

  it("ends 5 s after a POST was answered with 404 when nothing comes downwards", async () => {
    const clock = new ManualClock();
    const { tunnel, stop } = await forgotten({ clock });
    const ended = signal();
    void tunnel.closed.then(() => ended.give());
    await clock.advance(4999);
    expect(await Promise.race([ended.seen.then(() => "ended"), "hears"])).toBe("hears");
    await clock.advance(1);
    expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
    expect(clock.pending).toBe(0);
    await stop();
  });

  it("takes no new request from the moment of the 404, and says so", async () => {
    const { tunnel, stop } = await forgotten();
    expect(await tunnel.goingAway).toMatchObject({ code: "TRANSPORT_LOST" });
    expect([tunnel.draining, tunnel.notify("news", Buffer.from("x"))]).toEqual([true, false]);
    expect(await failure(tunnel.request({ service: "a", method: "GET", path: "/" }))).toMatchObject({
      code: "DRAINING",
      sent: "not-sent",
    });
    await stop();
  });

  it("fails what has not left at once, as not sent", async () => {
    const asked: Promise<RevdialError>[] = [];
    const options = { clock: new ManualClock(), limits: { socketQueueBytes: 16 * 1024 } };
    const { tunnel, accepted, stop } = await forgotten(options, async (young) => {
      const ask = () => asked.push(failure(young.request({ service: "a", method: "GET", path: "/" })));
      ask();
      ask();
    });
    for (const error of asked)
      expect(await error).toMatchObject({ code: "TRANSPORT_LOST", sent: "not-sent" });
    expect(tunnel.load).toBe(0);
    accepted.destroy();
    await stop();
  });

  it("still hears the answers to what has left", async () => {
    const answer = signal();
    const acceptor = createHttpAcceptor();
    let there = true;
    const server = createServer((incoming, response) => {
      if (acceptor.kindOf(incoming) === "open")
        acceptor.open(incoming, response)?.serve(async () => {
          await answer.seen;
          return { status: 204 };
        });
      else if (there) acceptor.receive(incoming, response);
      else response.writeHead(404).end();
    });
    const tunnel = await dialTunnel(await listen(server), { transport: "http" });
    const asked = tunnel.request({ service: "a", method: "GET", path: "/" });
    await tunnel.reached; // The ping went after the request.
    there = false;
    tunnel.notify("news", Buffer.from("x"));
    await tunnel.goingAway;
    answer.give();
    expect((await asked).status).toBe(204);
    tunnel.destroy();
    await tunnel.closed;
    acceptor.close();
    await stopServer(server);
  });

  it("costs a set no request but those that had left: the other members are asked at once", async () => {
    const other = await httpGateway({}, {}, (tunnel) => tunnel.serve(() => ({ status: 204 })));
    const { tunnel, stop } = await forgotten();
    const set = createTunnelSet();
    set.add(tunnel);
    set.add(await dialTunnel(other.url, { transport: "http" }));
    await set.ready;
    for (let n = 0; n < 20; n += 1)
      expect((await set.request({ service: "a", method: "GET", path: "/" })).status).toBe(204);
    set.destroy();
    await set.closed;
    await stop();
    await other.stop();
  });

  it("ends at once when it is closed by its own side after that", async () => {
    const clock = new ManualClock();
    const { tunnel, stop } = await forgotten({ clock });
    expect(await tunnel.close({ reason: "enough" })).toMatchObject({ code: "CLOSED", reason: "enough" });
    expect(clock.pending).toBe(0);
    await stop();
  });

  it("ends for a record above messageBytesMax, for garbage, and for a stream that ends inside a record", async () => {
    const bodies = ["00100001", "0000000461626364", "000000ff61"];
    const codes = ["TRANSPORT_LOST", "FRAME_TRUNCATED", "TRANSPORT_LOST"];
    for (const [index, hex] of bodies.entries()) {
      const error = await answered((response) => {
        if (response.req.headers["revdial-tunnel"] !== undefined) return void response.writeHead(204).end();
        response.writeHead(200, fields).end(Buffer.from(hex, "hex"));
      });
      expect(error.code).toBe(codes[index]);
    }
  });
});
