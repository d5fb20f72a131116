/** One forwarded exchange on its connection: what may be written to an origin, and what becomes of the connection. */
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { describe, expect, it } from "@jest/globals";
import type { HeaderList } from "../src/head.ts";
import { AnswerError } from "../src/http/origin-head.ts";
import type { IncomingRequest, Reply } from "../src/index.ts";
import { type Asking, asking, type Between } from "./origin-support.ts";
import { client, start } from "./raw-chain.ts";
import { get, ok } from "./raw-http.ts";
import { collect, endless, failure, signal, text, until } from "./support.ts";

const answering = (socket: Socket) => void socket.write(ok());

/** A request as a handler between tunnel and forwarder would change it. */
function changed(change: Partial<IncomingRequest>): Between {
  return (request, reply) => [
    {
      service: request.service,
      method: request.method,
      path: request.path,
      headers: request.headers,
      hasBody: request.hasBody,
      body: request.body,
      trailers: request.trailers,
      signal: request.signal,
      ...change,
    },
    reply,
  ];
}

async function* chunks(...parts: string[]): AsyncIterable<Uint8Array> {
  for (const part of parts) yield text.encode(part);
}

const smuggled = "x\r\nHost: b\r\n\r\nGET /admin HTTP/1.1";
const field = (name: string, value: string) => ({ headers: [[name, value]] as HeaderList });

describe("a request that a handler has changed", () => {
  it.each<[string, Partial<IncomingRequest>]>([
    ["a line in its method", { method: `GET / HTTP/1.1\r\n${smuggled}` }],
    ["a blank in its method", { method: "GET /admin" }],
    ["no method", { method: "" }],
    ["a line in its path", { path: `/ HTTP/1.1\r\n${smuggled}` }],
    ["a blank in its path", { path: "/ HTTP/1.1" }],
    ["no path", { path: "" }],
    ["a line in a name", field(`x: 1\r\n${smuggled}`, "1")],
    ["a colon in a name", field("x:y", "1")],
    ["an empty name", field("", "1")],
    ["a line in a value", field("x", smuggled)],
    ["an LF in a value", field("x", "a\nb")],
    ["a CR in a value", field("x", "a\rb")],
    ["a NUL in a value", field("x", "a\0b")],
    ["characters whose low bytes are CR and LF in a value", field("x", "a\u010d\u010ab")],
    ["a coding of its own", field("transfer-encoding", "chunked")],
    ["another host", field("host", "b")],
    ["a length without a body", field("content-length", "5")],
    ["a length that is no number", field("content-length", "5x")],
    ["a line in its length", field("content-length", `0\r\n${smuggled}`)],
    ["two lengths", { headers: [["content-length", "0"], ["content-length", "0"]] }], // biome-ignore format: one line
    ["a line in its trace", { traceparent: smuggled }],
    ["a line in its protocol", { upgrade: smuggled }],
  ])("so that it has %s is not sent", async (_what, change) => {
    const { ask, failures, connections } = await asking(answering, {}, changed(change));
    await failure(ask());
    expect(failures).toMatchObject([{ code: "HEAD_INVALID" }]);
    expect(connections).toEqual([]);
  });

  it.each<[string, string, AsyncIterable<Uint8Array>]>([
    ["longer than its length", "4", chunks("hello")],
    ["longer than its length in a second part", "4", chunks("he", "llo")],
    ["shorter than its length", "6", chunks("hello")],
  ])("so that its body is %s ends its exchange and its connection", async (_what, length, body) => {
    const change = { ...field("content-length", length), method: "POST", hasBody: true, body };
    const heard: string[] = [];
    const { ask, connections, pool, origin } = await asking(() => undefined, {}, changed(change));
    origin.on("connection", (socket) => socket.on("data", (chunk) => heard.push(String(chunk))));
    await failure(ask());
    await until(() => connections[0]?.readableEnded === true || connections[0]?.destroyed === true);
    const [head, sent = ""] = heard.join("").split("\r\n\r\n");
    expect(head).toMatch(/^POST /);
    expect(sent.length).toBeLessThanOrEqual(Number(length));
    expect(pool.idleConnections).toBe(0);
  });

  it("so that a trailer has a line in it ends its exchange, and the trailer is not sent", async () => {
    const trailers = Promise.resolve([["x", smuggled]] as HeaderList);
    const change = { method: "POST", hasBody: true, body: chunks("hi"), trailers };
    const { ask, asked, failures } = await asking(() => undefined, {}, changed(change));
    await failure(ask());
    expect(failures).toMatchObject([{ code: "HEAD_INVALID" }]);
    expect(asked).not.toContain("GET /admin");
  });
});

describe("a forwarded request", () => {
  it("with a length loses its trailers, and nothing else", async () => {
    const seen: unknown[] = [];
    const { tunnel } = await start(
      createServer(async (request, response) => {
        const body = (await collect(request)).toString("latin1");
        seen.push([request.headers["content-length"], body, request.rawTrailers]);
        response.end();
      }),
    );
    const trailers = () => [["x-a", "1"]] as HeaderList;
    const headers: HeaderList = [["content-length", "2"]];
    for (const body of [chunks("hi"), chunks("ho")]) {
      const request = { service: "web", method: "POST", path: "/", headers, body, trailers };
      await collect((await tunnel.request(request)).body);
    }
    expect(seen).toEqual([
      ["2", "hi", []],
      ["2", "ho", []],
    ]);
  });

  it("whose trailers have no body before them sends them all the same", async () => {
    const seen: unknown[] = [];
    const { tunnel } = await start(
      createServer(async (request, response) => {
        seen.push((await collect(request)).length);
        seen.push(request.rawTrailers);
        response.end();
      }),
    );
    const trailers = () => [["x-a", "1"]] as HeaderList;
    await tunnel.request({ service: "web", method: "POST", path: "/", body: chunks(), trailers });
    expect(seen).toEqual([0, ["x-a", "1"]]);
  });

  it("whose answer is whole before its upload leaves no connection behind", async () => {
    const stopped = signal();
    const { tunnel, pool, ask, connections } = await asking((socket, _head, connection) =>
      socket.write(ok(`on ${connection}`)),
    );
    const body = endless("a part", () => stopped.give());
    const { status, body: answer } = await tunnel.request({
      service: "web",
      method: "POST",
      path: "/",
      body,
    });
    expect([status, String(await collect(answer))]).toEqual([200, "on 0"]);
    await stopped.seen;
    await until(() => tunnel.load === 0);
    expect(pool.idleConnections).toBe(0);
    expect(await ask()).toBe("200 on 1");
    expect(connections).toHaveLength(2);
  });

  it("waits with its upload for an origin that does not read, and has it whole in the end", async () => {
    // Ends as a head does: the origin forgets what it has looked at.
    const part = Buffer.from(`${"a".repeat(65_532)}\r\n\r\n`);
    const CHUNKS = 1024;
    const bytes = CHUNKS * part.length;
    let taken = 0;
    async function* body(): AsyncIterable<Uint8Array> {
      for (; taken < CHUNKS; taken += 1) yield part;
    }
    const paused = signal<Socket>();
    const length = { headers: [["content-length", String(bytes)]] as HeaderList };
    const { ask } = await asking(
      (socket, head) => {
        const whole = head.length + "\r\n\r\n".length + bytes;
        socket.on("data", () => {
          if (socket.bytesRead === whole) socket.write(ok("all"));
        });
        paused.give(socket.pause());
      },
      {},
      changed({ ...length, method: "POST", hasBody: true, body: body() }),
    );
    const answer = ask();
    const origin = await paused.seen;
    for (let before = -1; before < taken; ) {
      before = taken;
      for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(taken).toBeLessThan(CHUNKS / 2);
    origin.resume();
    expect(await answer).toBe("200 all");
  });

  it("whose upload still waits for its origin when the answer is whole leaves no connection behind", async () => {
    const body = Buffer.alloc(16 * 1024 * 1024);
    const change = {
      headers: [["content-length", String(body.length)]] as HeaderList,
      method: "POST",
      hasBody: true,
      body: (async function* () {
        yield body;
      })(),
    };
    const { ask, pool } = await asking((socket) => void socket.pause().write(ok()), {}, changed(change));
    expect(await ask()).toBe("200 ok");
    expect(pool.idleConnections).toBe(0);
  });

  it("that is given up before its answer cuts its connection", async () => {
    const asked = signal<Socket>();
    const { tunnel, pool } = await asking((socket) => asked.give(socket));
    const abort = new AbortController();
    const answer = tunnel.request({ service: "web", method: "GET", path: "/", signal: abort.signal });
    const socket = await asked.seen;
    abort.abort();
    expect(await failure(answer)).toMatchObject({ code: "CANCELLED" });
    await until(() => socket.readableEnded || socket.destroyed);
    expect(pool.idleConnections).toBe(0);
  });

  it.each([
    ["what is not HTTP", "SSH-2.0-OpenSSH\r\n", "ANSWER_MALFORMED"],
    [
      "a length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "ANSWER_MALFORMED",
    ],
    ["a head without end", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}`, "ANSWER_TOO_LARGE"],
  ])("fails at once where its origin says %s and waits", async (_what, said, code) => {
    const { ask, failures, pool } = await asking((socket) => void socket.write(said));
    expect(await failure(ask())).toMatchObject({ code: "HANDLER_FAILED", sent: "may-have-run" });
    expect(failures[0]).toBeInstanceOf(AnswerError);
    expect(failures).toMatchObject([{ code }]);
    expect(pool.idleConnections).toBe(0);
  });

  it.each([
    ["behind half a head", "HTTP/1.1 200 OK\r\nX-"],
    ["behind half a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"],
    ["within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"],
    ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"],
  ])("fails where its origin ends %s", async (_what, said) => {
    const { ask, failures } = await asking((socket) => void socket.end(said));
    await failure(ask());
    expect(failures).toMatchObject([{ code: "ANSWER_CUT", message: "the target broke off its answer" }]);
  });

  it("has all of an answer that ends with its connection", async () => {
    const { ask } = await asking(
      (socket) => void socket.end(`HTTP/1.0 200 OK\r\n\r\n${"a".repeat(100_000)}`),
    );
    expect(await ask()).toBe(`200 ${"a".repeat(100_000)}`);
  });

  it("is sent once more on a new connection only, and once only", async () => {
    const { ask, asked, connections, pool } = await asking((socket, _head, connection) => {
      if (connection < 2 && asked.length < 3) socket.write(ok());
      else socket.destroy();
    });
    await Promise.all([ask("/first"), ask("/second")]);
    await until(() => pool.idleConnections === 2);
    expect(await failure(ask("/again"))).toMatchObject({ sent: "may-have-run" });
    expect(asked.filter((one) => one === "GET /again")).toHaveLength(2);
    expect(connections).toHaveLength(3);
    expect(pool.idleConnections).toBe(1);
  });
});

describe("a forwarded request that has left this host", () => {
  it("is not called unsent when its second try finds nobody", async () => {
    const { ask, asked, origin } = await asking((socket) => {
      if (asked.length === 1) return void socket.write(ok());
      origin.close();
      socket.destroy();
    });
    await ask("/first");
    expect(await failure(ask("/again"))).toMatchObject({ code: "HANDLER_FAILED", sent: "may-have-run" });
    expect(asked).toEqual(["GET /first", "GET /again"]);
  });
});

/** A reply that has no room, and what it was given. */
function full(reply: Reply): { reply: Reply; given: () => number; drain: () => void } {
  let bytes = 0;
  let room = false;
  let drain: () => void = () => undefined;
  const made: Reply = {
    get over() {
      return reply.over;
    },
    interim: (...args) => reply.interim(...args),
    head: (...args) => reply.head(...args),
    write(chunk) {
      bytes += chunk.byteLength;
      reply.write(chunk);
      return room;
    },
    end: (...args) => reply.end(...args),
    accept: (...args) => reply.accept(...args),
    onClose: (listener) => reply.onClose(listener),
    onDrain(listener) {
      drain = listener;
    },
  };
  return {
    reply: made,
    given: () => bytes,
    drain() {
      room = true;
      drain();
    },
  };
}

describe("an answer for which there is no room", () => {
  const MIB = 1024 * 1024;
  const READ_BYTES_MAX = 64 * 1024;

  async function toFull(
    answer: (socket: Socket) => void,
  ): Promise<Asking & { replies: ReturnType<typeof full>[] }> {
    const replies: ReturnType<typeof full>[] = [];
    const made = await asking(answer, {}, (request, reply) => {
      const slow = full(reply);
      replies.push(slow);
      return [request, slow.reply];
    });
    return { ...made, replies };
  }

  it("is left with its origin after one read, and comes whole once there is room", async () => {
    const { ask, replies } = await toFull((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${8 * MIB}\r\n\r\n`);
      socket.write(Buffer.alloc(8 * MIB, "a"));
    });
    const answer = ask();
    await until(() => (replies[0]?.given() ?? 0) > 0);
    for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(replies[0]?.given()).toBeLessThanOrEqual(READ_BYTES_MAX);
    replies[0]?.drain();
    expect((await answer).length).toBe("200 ".length + 8 * MIB);
  });

  it("and that is whole leaves a connection on which the next is read", async () => {
    const { ask, connections } = await toFull(answering);
    expect([await ask(), await ask()]).toEqual(["200 ok", "200 ok"]);
    expect(connections).toHaveLength(1);
  });
});

describe("a forwarded upgrade", () => {
  const upgrading = get("/", "Connection: Upgrade", "Upgrade: x");

  it("to an origin that names no protocol fails", async () => {
    const { ask, tunnel, failures } = await asking((socket) => void socket.write("HTTP/1.1 101 S\r\n\r\n"));
    const upgrade = tunnel.request({ service: "web", method: "GET", path: "/", upgrade: "x" });
    expect(await failure(upgrade)).toMatchObject({ code: "HANDLER_FAILED" });
    await failure(ask());
    expect(failures).toMatchObject([{ code: "ANSWER_MALFORMED" }, { code: "ANSWER_MALFORMED" }]);
  });

  it("has a connection of its own, and none of those that are kept", async () => {
    const { ask, tunnel, connections, pool } = await asking((socket, head) => {
      socket.write(/upgrade: x/.test(head) ? "HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\nno" : ok());
    });
    await ask();
    const refused = await tunnel.request({ service: "web", method: "GET", path: "/", upgrade: "x" });
    expect(String(await collect(refused.body))).toBe("no");
    await ask();
    expect(connections).toHaveLength(2);
    expect(pool.idleConnections).toBe(1);
  });

  it("has every byte that came with its 101, cut anywhere", async () => {
    const said =
      "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nfirst\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    const { idle } = await start(
      createServer().on("upgrade", async (_request, socket) => {
        for (const character of said) {
          socket.write(character);
          await new Promise((resolve) => setImmediate(resolve));
        }
        socket.end();
      }),
    );
    const upgraded = client(upgrading);
    expect((await upgraded.rest()).split(/\r\n\r\n(.*)/s)[1]).toBe("first\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    upgraded.socket.end();
    await idle();
  });
});
