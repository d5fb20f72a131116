/** undici's functions and interceptors through a tunnel, over a real WebSocket. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Writable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, test } from "@jest/globals";
import {
  FormData,
  interceptors,
  pipeline,
  RetryAgent,
  request,
  stream,
  WebSocket as UndiciWebSocket,
  connect as undiciConnect,
  fetch as undiciFetch,
  upgrade,
} from "undici";
import { type RequestHandler, RevdialError } from "../src/index.ts";
import { type Joined, joined } from "./http-gateway.ts";
import { collect, endless, signal, text, until, untilAborted } from "./support.ts";

let pair: Joined;
let handler: RequestHandler;

beforeEach(async () => {
  pair = await joined("websocket", { onHandlerError: () => undefined });
  handler = async ({ body }) => ({ status: 200, body: await collect(body) });
  pair.agent.serve((incoming, reply) => handler(incoming, reply));
});

afterEach(() => pair.stop());

const throughTunnel = () => pair.tunnel.dispatcher("web");

async function* pieces(): AsyncIterable<Uint8Array> {
  yield Buffer.from("he");
  yield Buffer.from("llo");
}

/** A sink that is slower than what is written into it. */
function slowly(into: Buffer[]): Writable {
  return new Writable({
    highWaterMark: 1024,
    write(chunk: Buffer, _encoding, done) {
      into.push(chunk);
      setImmediate(done);
    },
  });
}

const rejected = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error("expected a rejection");
    },
    (error: Error & { code?: unknown }) => error,
  );

test.each([
  ["a string", () => "hello"],
  ["a buffer", () => Buffer.from("hello")],
  ["an async iterable", () => pieces() as unknown as string],
])("request sends %s and brings head, body and trailers back", async (_kind, body) => {
  handler = async (incoming) => ({
    status: 201,
    headers: [
      ["x-a", "1"],
      ["x-a", "2"],
    ],
    body: await collect(incoming.body),
    trailers: [["x-sum", "5"]],
  });
  const answer = await request("http://web/", { method: "POST", body: body(), dispatcher: throughTunnel() });
  expect(answer).toMatchObject({ statusCode: 201, headers: { "x-a": ["1", "2"] } });
  expect(await answer.body.text()).toBe("hello");
  expect(answer.trailers).toEqual({ "x-sum": "5" });
});

test("request puts a query behind the path", async () => {
  handler = ({ path }) => ({ status: 200, body: text.encode(path) });
  const query = { a: "1", b: ["x", "y"] };
  const answer = await request("http://web/path", { query, dispatcher: throughTunnel() });
  expect(await answer.body.text()).toBe("/path?a=1&b=x&b=y");
});

test("a body that request does not read holds its producer, and no other request", async () => {
  let given = 0;
  async function* bulk(): AsyncIterable<Uint8Array> {
    for (; given < 16_000_000; given += 16_000) yield new Uint8Array(16_000);
  }
  handler = ({ path }) => ({ status: 200, body: path === "/bulk" ? bulk() : text.encode("ok") });
  const dispatcher = throughTunnel();
  const { body } = await request("http://web/bulk", { dispatcher });
  let before = -1;
  await until(() => {
    const still = given > 0 && given === before;
    before = given;
    return still;
  });
  expect(await (await request("http://web/", { dispatcher })).body.text()).toBe("ok");
  expect(given).toBeLessThan(2_000_000);
  expect((await collect(body)).byteLength).toBe(16_000_000);
});

test("stream writes into a slow sink, and resolves with the trailers", async () => {
  const size = 1_000_000;
  handler = () => ({ status: 200, body: Buffer.alloc(size, "x"), trailers: [["x-sum", "9"]] });
  const into: Buffer[] = [];
  const options = { dispatcher: throughTunnel(), method: "GET" as const, opaque: into };
  const { trailers } = await stream("http://web/", options, ({ opaque }) => slowly(opaque));
  expect(Buffer.concat(into)).toHaveLength(size);
  expect(trailers).toEqual({ "x-sum": "9" });
});

test.each([
  ["an empty answer", undefined],
  ["an answer that goes on", () => endless("x")],
])("stream rejects with what its factory throws at %s, and the far end stops", async (_what, body) => {
  handler = () => (body ? { status: 200, body: body() } : { status: 200 });
  const options = { dispatcher: throughTunnel(), method: "GET" as const };
  const streaming = stream("http://web/", options, () => {
    throw new Error("no sink");
  });
  expect((await rejected(streaming)).message).toBe("no sink");
  await until(() => pair.agent.load === 0);
});

test("pipeline is a duplex stream through the far end", async () => {
  const piped = pipeline("http://web/", { dispatcher: throughTunnel(), method: "POST" }, ({ body }) => body);
  const sent = Buffer.alloc(1_000_000, "0123456789abc");
  piped.end(sent);
  expect((await collect(piped)).equals(sent)).toBe(true);
});

test("upgrade and connect bring a socket", async () => {
  handler = async (_request, reply) => {
    const socket = reply.accept([["x-by", "echo"]]);
    socket.pipe(socket);
    await once(socket, "close");
  };
  const dispatcher = throughTunnel();
  const upgraded = await upgrade("http://web/", { dispatcher, protocol: "echo" });
  expect(upgraded.headers).toEqual({ connection: "upgrade", upgrade: "echo", "x-by": "echo" });
  const connected = await undiciConnect("http://web/", { dispatcher });
  expect(connected).toMatchObject({ statusCode: 101, headers: { "x-by": "echo" } });
  for (const { socket } of [upgraded, connected]) {
    socket.end("there and back");
    expect(String(await collect(socket))).toBe("there and back");
  }
});

/** Accepts a WebSocket, greets it, and answers its close. */
const webSocketServer: RequestHandler = async ({ headers }, reply) => {
  const { "sec-websocket-key": key } = Object.fromEntries(headers);
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const socket = reply.accept([["sec-websocket-accept", accept]]);
  socket.write(Buffer.from([0x81, 5, ...Buffer.from("hello")]));
  for await (const [opcode] of socket) {
    if (opcode !== 0x88) continue;
    socket.end(Buffer.from([0x88, 2, 0x03, 0xe8]));
    break;
  }
};

describe.each([
  ["undici's WebSocket", UndiciWebSocket],
  ["Node's own WebSocket", globalThis.WebSocket as unknown as typeof UndiciWebSocket],
])("%s", (_name, Socket) => {
  it("opens, hears and closes", async () => {
    handler = webSocketServer;
    const socket = new Socket("ws://web/live", { dispatcher: throughTunnel() });
    const heard = signal<unknown>();
    socket.onmessage = ({ data }) => heard.give(data);
    socket.onerror = ({ error }) => heard.give(error);
    expect(await heard.seen).toBe("hello");
    const closed = signal<number>();
    socket.onclose = ({ code }) => closed.give(code);
    socket.close(1000);
    expect(await closed.seen).toBe(1000);
    await until(() => pair.agent.load === 0);
  });

  it("fails when the far end does not prove that it has understood, and costs nobody anything", async () => {
    handler = async (_request, reply) => {
      const socket = reply.accept();
      await new Promise((resolve) => socket.resume().once("close", resolve));
    };
    const failed = signal();
    new Socket("ws://web/live", { dispatcher: throughTunnel() }).onerror = () => failed.give();
    await failed.seen;
    await until(() => pair.agent.load === 0 && pair.tunnel.load === 0);
    handler = () => ({ status: 204 });
    expect((await request("http://web/", { dispatcher: throughTunnel() })).statusCode).toBe(204);
  });
});

test("upgrade rejects when the far end answers with something else", async () => {
  handler = () => ({ status: 403 });
  const upgrading = upgrade("http://web/", { dispatcher: throughTunnel(), protocol: "echo" });
  expect(await rejected(upgrading)).toMatchObject({ code: "UND_ERR_SOCKET", message: "bad upgrade" });
});

/** Types of two undicis differ; what they do is the same. */
const nodeFetch = globalThis.fetch as unknown as typeof undiciFetch;

describe.each([
  ["undici's fetch", undiciFetch],
  ["Node's own fetch", nodeFetch],
])("%s", (_name, fetchBy) => {
  it("streams an upload and a download", async () => {
    const answer = await fetchBy("http://web/", {
      method: "POST",
      body: pieces(),
      duplex: "half",
      dispatcher: throughTunnel(),
    });
    expect(await answer.text()).toBe("hello");
  });

  it("sends a form", async () => {
    const body = new (fetchBy === nodeFetch ? globalThis.FormData : FormData)() as FormData;
    body.set("field", "value");
    const answer = await fetchBy("http://web/", { method: "POST", body, dispatcher: throughTunnel() });
    expect(await answer.text()).toContain('name="field"\r\n\r\nvalue\r\n');
  });

  it("follows a redirect within the service", async () => {
    handler = ({ path }) =>
      path === "/"
        ? { status: 302, headers: [["location", "/there?a=1"]] }
        : { status: 200, body: text.encode(path) };
    const answer = await fetchBy("http://web/", { dispatcher: throughTunnel() });
    expect(answer.url).toBe("http://web/there?a=1");
    expect(await answer.text()).toBe("/there?a=1");
  });

  it("rejects when its signal aborts before the head, and ends the request at the far end", async () => {
    const begun = signal();
    const ended = signal();
    handler = (_request, reply) => {
      reply.onClose(() => ended.give());
      begun.give();
      return new Promise(() => undefined);
    };
    const controller = new AbortController();
    const asked = rejected(
      fetchBy("http://web/", { signal: controller.signal, dispatcher: throughTunnel() }),
    );
    await begun.seen;
    controller.abort();
    expect((await asked).name).toBe("AbortError");
    await ended.seen;
  });

  it("breaks a body off when its signal aborts, and the far end stops", async () => {
    const stopped = signal();
    handler = () => ({ status: 200, body: endless("x", stopped.give) });
    const controller = new AbortController();
    const answer = await fetchBy("http://web/", {
      signal: controller.signal,
      dispatcher: throughTunnel(),
    });
    const reading = rejected(answer.text());
    controller.abort();
    expect((await reading).name).toBe("AbortError");
    await stopped.seen;
  });

  it("rejects with the tunnel's error as the cause", async () => {
    const dispatcher = throughTunnel();
    pair.tunnel.destroy();
    await pair.tunnel.closed;
    const error = await rejected(fetchBy("http://web/", { dispatcher }));
    expect(error.name).toBe("TypeError");
    expect(String(error.cause)).toContain("CLOSED: the tunnel has ended");
  });
});

describe("signals given to request", () => {
  it("reject it before the head with their reason, and the far end hears", async () => {
    const begun = signal();
    const heard = signal<unknown>();
    handler = async ({ signal: abort }) => {
      begun.give();
      await untilAborted(abort).catch(heard.give);
      return { status: 200 };
    };
    const controller = new AbortController();
    const asked = rejected(
      request("http://web/", { signal: controller.signal, dispatcher: throughTunnel() }),
    );
    await begun.seen;
    controller.abort(new Error("the user left"));
    expect((await asked).message).toBe("the user left");
    expect(await heard.seen).toMatchObject({ code: "CANCELLED" });
  });

  it("break the body off afterwards, even one that has come whole", async () => {
    handler = () => ({ status: 200, body: new Uint8Array(60_000) });
    const controller = new AbortController();
    const { body } = await request("http://web/", {
      signal: controller.signal,
      dispatcher: throughTunnel(),
    });
    await until(() => pair.agent.load === 0);
    controller.abort(new Error("the user left"));
    expect((await rejected(collect(body))).message).toBe("the user left");
  });

  it("do not send it when they have aborted before", async () => {
    let calls = 0;
    handler = () => {
      calls += 1;
      return { status: 200 };
    };
    const dispatcher = throughTunnel();
    await rejected(request("http://web/", { signal: AbortSignal.abort(), dispatcher }));
    expect((await request("http://web/", { dispatcher })).statusCode).toBe(200);
    expect(calls).toBe(1);
  });
});

describe("undici's interceptors", () => {
  const answerIn = (failures: number, status: number): RequestHandler => {
    let calls = 0;
    return async ({ body }) => {
      const sent = await collect(body);
      calls += 1;
      return calls <= failures ? { status } : { status: 200, body: Buffer.from(`${calls}: ${sent}`) };
    };
  };
  const soon = { minTimeout: 1, timeoutFactor: 1 };

  it("retry a status, with the same body", async () => {
    handler = answerIn(2, 503);
    const dispatcher = throughTunnel().compose(interceptors.retry(soon));
    const answer = await request("http://web/", { method: "PUT", body: "again", dispatcher });
    expect(await answer.body.text()).toBe("3: again");
  });

  it("retry a status as RetryAgent, and give up after so many times", async () => {
    handler = answerIn(9, 503);
    const dispatcher = new RetryAgent(throughTunnel(), { ...soon, maxRetries: 2 });
    expect(await rejected(request("http://web/", { dispatcher }))).toMatchObject({ statusCode: 503 });
  });

  it("retry an error of the tunnel whose code they are told", async () => {
    let calls = 0;
    handler = () => {
      calls += 1;
      if (calls < 3) throw new RevdialError("REFUSED", "busy");
      return { status: 204 };
    };
    const plain = throughTunnel().compose(interceptors.retry(soon));
    expect(await rejected(request("http://web/", { dispatcher: plain }))).toMatchObject({ code: "REFUSED" });
    const told = throughTunnel().compose(interceptors.retry({ ...soon, errorCodes: ["REFUSED"] }));
    expect((await request("http://web/", { dispatcher: told })).statusCode).toBe(204);
    expect(calls).toBe(3);
  });

  it.each([
    ["a path", "/there", 307, "POST /there body"],
    ["a path, as GET", "/there", 303, "GET /there "],
    ["another host's URL, which stays with the service", "http://elsewhere/there", 307, "POST /there body"],
  ])("follow a redirect to %s", async (_what, location, status, outcome) => {
    handler = async ({ method, path, body }) =>
      path === "/"
        ? { status, headers: [["location", location]] }
        : { status: 200, body: Buffer.from(`${method} ${path} ${await collect(body)}`) };
    const dispatcher = throughTunnel().compose(interceptors.redirect({ maxRedirections: 2 }));
    const answer = await request("http://web/", { method: "POST", body: "body", dispatcher });
    expect(await answer.body.text()).toBe(outcome);
  });

  it("stop after so many redirects", async () => {
    handler = () => ({ status: 302, headers: [["location", "/"]] });
    const dispatcher = throughTunnel().compose(
      interceptors.redirect({ maxRedirections: 3, throwOnMaxRedirect: true }),
    );
    const error = await rejected(request("http://web/", { dispatcher }));
    expect(error.message).toMatch(/redirect/i);
  });

  it("cache an answer, and ask whether it still holds", async () => {
    const asked: string[] = [];
    handler = ({ path, headers }) => {
      const known = headers.some(([name]) => name === "if-none-match");
      asked.push(known ? `${path} known` : path);
      if (known) return { status: 304, headers: [["etag", '"1"']] };
      return {
        status: 200,
        headers: [
          ["cache-control", path === "/fresh" ? "public, max-age=60" : "public, max-age=0"],
          ["date", new Date().toUTCString()],
          ["etag", '"1"'],
        ],
        body: text.encode("kept"),
      };
    };
    const dispatcher = throughTunnel().compose(interceptors.cache());
    for (const path of ["/fresh", "/fresh", "/stale", "/stale"])
      expect(await (await request(`http://web${path}`, { dispatcher })).body.text()).toBe("kept");
    expect(asked).toEqual(["/fresh", "/stale", "/stale known"]);
  });

  it("turn a status into an error", async () => {
    handler = () => ({ status: 404, body: text.encode("nothing here") });
    const dispatcher = throughTunnel().compose(interceptors.responseError());
    expect(await rejected(request("http://web/", { dispatcher }))).toMatchObject({ statusCode: 404 });
  });

  it("work together, the last one first", async () => {
    let calls = 0;
    handler = ({ path }) => {
      calls += 1;
      if (calls === 1) return { status: 503 };
      return path === "/" ? { status: 302, headers: [["location", "/there"]] } : { status: 204 };
    };
    const dispatcher = throughTunnel().compose(
      interceptors.retry(soon),
      interceptors.redirect({ maxRedirections: 1 }),
    );
    expect((await request("http://web/", { dispatcher })).statusCode).toBe(204);
    expect(calls).toBe(3);
  });
});
