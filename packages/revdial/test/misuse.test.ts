/**
 * Arguments of the wrong type, as a program in JavaScript may give them: each is refused by name, costs its own call, and
 * no other tunnel of the process notices.
 */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { frameWriter } from "../src/bytes.ts";
import { type Reply, type RequestHandler, RevdialError } from "../src/index.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { collect, failure, get, signal, text, until } from "./support.ts";

/** What the types do not allow. */
// biome-ignore lint/suspicious/noExplicitAny: the point of this file
type Untyped = any;

let pair: TunnelPair;
let bystander: TunnelPair;
let handlerErrors: unknown[];
let calls: number;

beforeEach(async () => {
  handlerErrors = [];
  calls = 0;
  pair = tunnelPair({ both: { onHandlerError: (error) => void handlerErrors.push(error) } });
  bystander = tunnelPair();
  await Promise.all([pair.ready, bystander.ready]);
  pair.left.serve(async ({ body }) => {
    calls += 1;
    return { status: 200, body: await collect(body) };
  });
  bystander.left.serve(() => ({ status: 204 }));
});

afterEach(async () => {
  const fresh = tunnelPair();
  fresh.left.serve(() => ({ status: 204 }));
  try {
    // The tunnel itself, one that was there, and one that is made now.
    expect(await collect((await pair.right.request({ ...post, body: text.encode("x") })).body)).toHaveLength(
      1,
    );
    expect((await bystander.right.request(get("/"))).status).toBe(204);
    expect((await fresh.right.request(get("/"))).status).toBe(204);
    expect([pair.left.load, pair.right.load]).toEqual([0, 0]);
  } finally {
    for (const { left, right } of [pair, bystander, fresh]) {
      left.destroy();
      await Promise.all([left.closed, right.closed]);
    }
  }
});

const post = { service: "wolf", method: "POST", path: "/" };

describe("a request is refused with ARGUMENT, and nothing is sent, when it", () => {
  it.each<[string, Untyped]>([
    ["is missing", undefined],
    ["is a text", "GET /"],
    ["has a service that is a number", { ...post, service: 5 }],
    ["has no service", { method: "GET", path: "/" }],
    ["has a method that is a number", { ...post, method: 5 }],
    ["has no path", { ...post, path: undefined }],
    ["has a path that is a number", { ...post, path: 5 }],
    ["has a path that is a list", { ...post, path: ["/"] }],
    ["has headers that are an object", { ...post, headers: { a: "b" } }],
    ["has headers that are null", { ...post, headers: null }],
    ["has headers that are a text", { ...post, headers: "a: b" }],
    ["has a header that is no pair", { ...post, headers: [null] }],
    ["has a header whose name is a number", { ...post, headers: [[5, "a"]] }],
    ["has a header whose value is a number", { ...post, headers: [["a", 5]] }],
    ["has a header without a value", { ...post, headers: [["a"]] }],
    ["has a body that is a text", { ...post, body: "text" }],
    ["has a body that is an object", { ...post, body: {} }],
    ["has a body that is null", { ...post, body: null }],
    ["has trailers that are a list", { ...post, body: new Uint8Array(1), trailers: [["a", "b"]] }],
    ["asks for an upgrade to a boolean", { ...get("/"), upgrade: true }],
    ["has a deadline that is a text", { ...post, deadlineMs: "soon" }],
    ["has a deadline that is a bigint", { ...post, deadlineMs: 5n }],
    ["has a traceparent that is a number", { ...post, traceparent: 5 }],
    ["has a signal that is none", { ...post, signal: {} }],
    ["has a signal that is null", { ...post, signal: null }],
    ["has a listener to interim heads that is none", { ...post, onInterim: "text" }],
  ])("%s", async (_what, request) => {
    expect(await failure(pair.right.request(request))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(calls).toBe(0);
  });
});

describe("connect is refused with ARGUMENT, and nothing is sent, when it is given", () => {
  it.each<[string, (tunnel: Untyped) => Promise<unknown>]>([
    ["a service that is a number", (tunnel) => tunnel.connect(5)],
    ["no service", (tunnel) => tunnel.connect()],
    ["a protocol that is a number", (tunnel) => tunnel.connect("a", { protocol: 5 })],
    ["a path that is a number", (tunnel) => tunnel.connect("a", { path: 5 })],
  ])("%s", async (_what, connect) => {
    expect(await failure(connect(pair.right))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(calls).toBe(0);
  });
});

describe("a call throws ARGUMENT at once:", () => {
  it.each<[string, (tunnel: Untyped) => unknown]>([
    ["notify with a type that is a number", (tunnel) => tunnel.notify(5, new Uint8Array(1))],
    ["notify with a text", (tunnel) => tunnel.notify("beat", "text")],
    ["notify with something that only looks like bytes", (tunnel) => tunnel.notify("b", { byteLength: 5 })],
    ["notify with nothing", (tunnel) => tunnel.notify("beat")],
    ["onNotice without a listener", (tunnel) => tunnel.onNotice()],
    ["serve without a handler", (tunnel) => tunnel.serve()],
  ])("%s", (_what, call) => {
    expect(() => call(pair.right)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("a handler's exchange fails, and its owner hears ARGUMENT, when it", () => {
  const say = (saying: (reply: Untyped) => unknown): RequestHandler => {
    return (_request, reply: Reply) => {
      reply.head(200);
      saying(reply);
    };
  };

  it.each<[string, RequestHandler]>([
    ["writes a text", say((reply) => reply.write("hello"))],
    ["writes nothing", say((reply) => reply.write())],
    ["ends with a text", say((reply) => reply.end("hello"))],
    ["ends with trailers that are an object", say((reply) => reply.end(undefined, { a: "b" }))],
    ["answers with a text", () => ({ status: 200, body: "hello" }) as Untyped],
    ["answers a HEAD request with a text", () => ({ status: 200, body: "hello" }) as Untyped],
    ["answers with headers that are an object", () => ({ status: 200, headers: { a: "b" } }) as Untyped],
    ["answers with a header that is a number", () => ({ status: 200, headers: [["a", 5]] }) as Untyped],
  ])("%s", async (what, handler) => {
    pair.right.serve(handler);
    const method = what.includes("HEAD") ? "HEAD" : "GET";
    const asked = pair.left.request({ ...get("/"), method }).then(({ body }) => collect(body));
    expect((await failure(asked)).code).toBe("HANDLER_FAILED");
    expect(handlerErrors).toMatchObject([{ code: "ARGUMENT" }]);
  });
});

describe("what a handler says after the end of its answer is CHANNEL_STATE, and the answer stands:", () => {
  const late: [string, (reply: Reply) => unknown][] = [
    ["bytes", (reply) => reply.write(text.encode("more"))],
    ["another end", (reply) => reply.end()],
    ["another end with bytes and trailers", (reply) => reply.end(text.encode("more"), [["x-sum", "2"]])],
  ];
  const ask = async () => {
    const { status, body, trailers } = await pair.left.request(get("/"));
    const bytes = await collect(body);
    return { status, body: bytes.toString(), trailers: await trailers };
  };

  it.each(late)("%s", async (_what, say) => {
    let thrown: unknown;
    const other = signal();
    pair.right.serve(async ({ path }, reply) => {
      // Somebody else to share a message with: the end does not leave at once.
      if (path === "/other") return await other.seen.then(() => ({ status: 204 }));
      reply.head(200);
      reply.write(text.encode("all"));
      reply.end(undefined, [["x-sum", "1"]]);
      try {
        say(reply);
      } catch (error) {
        thrown = error;
      }
      return undefined;
    });
    const beside = pair.left.request(get("/other"));
    await until(() => pair.right.load === 1);
    expect(await ask()).toEqual({ status: 200, body: "all", trailers: [["x-sum", "1"]] });
    expect(thrown).toMatchObject({ code: "CHANNEL_STATE" });
    other.give();
    expect((await beside).status).toBe(204);
  });

  it.each(late)("%s, after a head that ends the answer", async (_what, say) => {
    let thrown: unknown;
    pair.right.serve((_request, reply) => {
      void (async () => {
        // Still in the turn in which the head is said, and has not left.
        for (let step = 0; step < 20; step += 1) await undefined;
        try {
          say(reply);
        } catch (error) {
          thrown = error;
        }
      })();
      return { status: 204 };
    });
    expect(await ask()).toEqual({ status: 204, body: "", trailers: [] });
    expect(thrown).toMatchObject({ code: "CHANNEL_STATE" });
  });
});

describe("a mistake in writing a frame", () => {
  it.each<[string, () => unknown]>([
    ["begun with no number", () => frameWriter.begin(Number.NaN)],
    ["begun with a text", () => frameWriter.begin("5" as Untyped)],
    [
      "that holds no text",
      () =>
        frameWriter
          .begin(9)
          .latin1(5 as Untyped)
          .finish(1, 0, 1),
    ],
    [
      "that holds something with a length",
      () =>
        frameWriter
          .begin(9)
          .latin1({ length: "0" } as Untyped)
          .finish(1, 0, 1),
    ],
    ["longer than its page", () => frameWriter.begin(1).latin1("x".repeat(70_000)).finish(1, 0, 1)],
    [
      "followed by what has no length",
      () => frameWriter.begin(0).finish(1, 0, 1, (undefined as Untyped) + 1),
    ],
  ])("%s throws, and does not outlive its call", (_what, mistake) => {
    expect(mistake).toThrow(RevdialError);
    const frame = frameWriter.begin(3).latin1("abc").finish(4, 1, 7);
    expect(Buffer.from(frame).toString("hex")).toBe("0000030401000000" + "07616263");
  });
});
