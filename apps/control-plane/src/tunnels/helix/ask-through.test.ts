import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { UpstreamError } from "@wolfpack/wolf-api";
import type { RequestHandler } from "revdial";
import { forwardTo } from "revdial/http";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { askThrough, type Question } from "./ask-through.ts";

let server: Server;
let sockets: Socket[];
/** What a connection is answered with once its request is there. */
let answer: (socket: Socket, request: string) => void;
let handler: RequestHandler;
let clock: ManualClock;

beforeEach(async () => {
  sockets = [];
  clock = manualClock();
  server = createServer((socket) => {
    sockets.push(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const [head = "", body = ""] = text.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (text.includes("\r\n\r\n") && Buffer.byteLength(body) >= length) answer(socket, text);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  handler = forwardTo(
    { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    { idleConnectionsMax: 0 },
  );
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  expect(clock.pending).toBe(0);
});

const ask = (changes: Partial<Question> = {}) =>
  askThrough(handler, { method: "GET", path: "/x", timeoutMs: 1000, replyBytesMax: 100, ...changes }, clock);
/** Code and status of the error. */
const failure = (changes: Partial<Question> = {}) =>
  ask(changes).then(
    () => "answered",
    ({ code, status }: UpstreamError) => [code, status],
  );

describe("an exchange", () => {
  it("has the whole answer, and sends a body with its length in bytes", async () => {
    let sent = "";
    answer = (socket, request) => {
      sent = request;
      socket.end("HTTP/1.0 418 OK\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nbody");
    };
    const { status, contentType, body } = await ask({ method: "POST", body: '{"a":"ü"}' });
    expect([status, contentType, body.toString()]).toEqual([418, "text/x", "body"]);
    expect(sent).toMatch(/^POST \/x HTTP\/1\.1\r\n/);
    expect(sent).toContain("content-type: application/json\r\ncontent-length: 10\r\n");
    expect(sent).not.toMatch(/transfer-encoding/i);
  });

  it("of a POST without a body says that it has none", async () => {
    answer = (socket, request) => {
      expect(request).toContain("content-length: 0\r\n");
      socket.end("HTTP/1.0 204 OK\r\n\r\n");
    };
    expect((await ask({ method: "POST", body: "" })).body).toHaveLength(0);
  });

  it("takes an answer that ends with its connection", async () => {
    answer = (socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nall");
    expect((await ask()).body.toString()).toBe("all");
  });
});

describe("an exchange that fails", () => {
  it("is unreachable when nothing listens there", async () => {
    await new Promise((resolve) => server.close(resolve));
    expect(await failure()).toEqual(["upstream-unreachable", undefined]);
    expect(await failure({ method: "POST", body: "{}" })).toEqual(["upstream-unreachable", undefined]);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });

  it("is unreachable for a GET when the connection ends without a word, and of unknown effect for a POST", async () => {
    answer = (socket) => socket.destroy();
    expect(await failure()).toEqual(["upstream-unreachable", undefined]);
    expect(await failure({ method: "POST", body: "{}" })).toEqual(["upstream-reply-broken", undefined]);
  });

  it("is broken when the answer is cut, and tells whether its body had begun", async () => {
    answer = (socket) => socket.end("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nbody");
    expect(await failure()).toEqual(["upstream-reply-broken", 200]);
    answer = (socket) => socket.end("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n");
    expect(await failure()).toEqual(["upstream-reply-broken", undefined]);
  });

  it("is broken when what answers speaks no HTTP, or sends what no reply has", async () => {
    for (const text of ["SSH-2.0-x\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Type: caf\xe9\r\n\r\n"]) {
      answer = (socket) => socket.end(text, "latin1");
      expect(await failure()).toEqual(["upstream-reply-broken", undefined]);
    }
  });

  it("is broken when the answer is larger than allowed, announced or not, and the connection ends", async () => {
    const ended: Promise<unknown>[] = [];
    answer = (socket) => {
      ended.push(once(socket, "close"));
      socket.write("HTTP/1.0 200 OK\r\nContent-Length: 101\r\n\r\n");
    };
    expect(await failure()).toEqual(["upstream-reply-broken", undefined]);
    answer = (socket) => {
      ended.push(once(socket, "close"));
      socket.write(`HTTP/1.0 200 OK\r\n\r\n${"x".repeat(101)}`);
    };
    expect(await failure()).toEqual(["upstream-reply-broken", 200]);
    await Promise.all(ended);
  });

  it("has timed out at its limit, by the clock, and its connection ends", async () => {
    const asked = Promise.withResolvers<Socket>();
    answer = (socket) => asked.resolve(socket);
    const failed = failure();
    const closed = once(await asked.promise, "close");
    clock.advance(1000);
    expect(await failed).toEqual(["upstream-timeout", undefined]);
    await closed;
  });

  it("is cancelled when its caller gives up, before or meanwhile", async () => {
    const asked = Promise.withResolvers<Socket>();
    answer = (socket) => asked.resolve(socket);
    const abort = new AbortController();
    const failed = failure({ signal: abort.signal });
    const closed = once(await asked.promise, "close");
    abort.abort();
    expect(await failed).toEqual(["cancelled", undefined]);
    await closed;
    expect(await failure({ signal: AbortSignal.abort() })).toEqual(["cancelled", undefined]);
    expect(sockets).toHaveLength(1);
  });

  it("is broken when its handler says nothing, and not lost when it throws at once", async () => {
    handler = () => undefined;
    expect(await failure()).toEqual(["upstream-reply-broken", undefined]);
    handler = () => {
      throw new Error("a mistake");
    };
    expect(await failure()).toEqual(["upstream-unreachable", undefined]);
  });
});
