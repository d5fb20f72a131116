/** Bodies that cannot be read: locked, read already, or broken from the start. None leaves its exchange open. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Body, RequestHandler } from "../src/index.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { collect, failure, get, signal, text, untilAborted } from "./support.ts";

let pair: TunnelPair;
let handlerErrors: unknown[];
let handler: RequestHandler;
let calls: number;

beforeEach(async () => {
  handlerErrors = [];
  calls = 0;
  handler = async ({ body }) => ({ status: 200, body: await collect(body) });
  pair = tunnelPair({ both: { onHandlerError: (error) => void handlerErrors.push(error) } });
  pair.right.serve((request, reply) => {
    calls += 1;
    return handler(request, reply);
  });
  await pair.ready;
});

afterEach(async () => {
  expect((await pair.left.request({ ...post, body: text.encode("x") })).status).toBe(200);
  expect([pair.left.load, pair.right.load]).toEqual([0, 0]);
  pair.left.destroy();
  await Promise.all([pair.left.closed, pair.right.closed]);
});

const post = { service: "wolf", method: "POST", path: "/" };

const stream = () => ReadableStream.from([text.encode("streamed")]) as ReadableStream<Uint8Array>;

function locked(): Body {
  const body = stream();
  body.getReader();
  return body;
}

/** Says that it can be iterated, and cannot. */
const broken: Body = {
  [Symbol.asyncIterator]() {
    throw new TypeError("cannot be iterated");
  },
};

async function readAlready(): Promise<Body> {
  const { body } = await pair.left.request({ ...post, body: text.encode("x") });
  await collect(body);
  calls = 0;
  return body;
}

/** What undici's handler hears of it. */
function dispatched(body: Body): Promise<unknown> {
  const told = signal<unknown>();
  pair.left
    .dispatcher("wolf")
    .dispatch({ ...post, body }, { onResponseError: (_controller, error) => told.give(error) });
  return told.seen;
}

describe.each<[string, () => Body | Promise<Body>]>([
  ["a locked stream", locked],
  ["the body of an answer that was read", readAlready],
])("%s as body", (_what, make) => {
  it("of a request is refused, and nothing is sent", async () => {
    const error = await failure(pair.left.request({ ...post, body: await make() }));
    expect(error).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(calls).toBe(0);
  });

  it("given to a dispatcher is refused, and nothing is sent", async () => {
    expect(await dispatched(await make())).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(calls).toBe(0);
  });

  it("of an answer fails its exchange, and its owner hears why", async () => {
    const body = await make();
    handler = () => ({ status: 200, body });
    expect((await failure(pair.left.request(get("/")))).code).toBe("HANDLER_FAILED");
    expect(handlerErrors).toMatchObject([{ code: "ARGUMENT" }]);
    handler = () => ({ status: 200 });
  });
});

describe("a body that breaks when it is to be iterated", () => {
  const told = { code: "ARGUMENT", sent: "may-have-run", cause: { message: "cannot be iterated" } };

  it.each([
    ["", {}],
    [", with a deadline and a signal", { deadlineMs: 50, signal: new AbortController().signal }],
  ])("ends its request on both sides%s", async (_how, more) => {
    const ended = signal<unknown>();
    handler = ({ signal: abort }) => untilAborted(abort).catch(ended.give) as Promise<void>;
    expect(await failure(pair.left.request({ ...post, ...more, body: broken }))).toMatchObject(told);
    expect(await ended.seen).toMatchObject({ code: "CANCELLED" });
    handler = () => ({ status: 200 });
  });

  it("ends the request of a dispatcher", async () => {
    expect(await dispatched(broken)).toMatchObject({ code: "CANCELLED", sent: "may-have-run", cause: told });
  });

  it("fails the exchange of a handler that answers with it", async () => {
    handler = () => ({ status: 200, body: broken });
    const asked = pair.left.request(get("/")).then(({ body }) => collect(body));
    expect((await failure(asked)).code).toBe("HANDLER_FAILED");
    expect(handlerErrors).toMatchObject([{ code: "ARGUMENT" }]);
    handler = () => ({ status: 200 });
  });
});

describe("a body whose request was not sent", () => {
  it.each([
    ["by request", (tunnel: TunnelPair["left"], body: Body) => failure(tunnel.request({ ...post, body }))],
    ["by a dispatcher", (_tunnel: TunnelPair["left"], body: Body) => dispatched(body)],
  ])("is as it was, %s", async (_how, send) => {
    const body = stream();
    const small = tunnelPair({ both: { limits: { channelsMax: 1 } } });
    small.right.serve(({ signal: abort }) => untilAborted(abort));
    await small.ready;
    const held = failure(small.left.request(get("/")));
    const swap = pair;
    pair = small;
    expect(await send(small.left, body)).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    pair = swap;
    small.left.destroy();
    await held;
    expect(body.locked).toBe(false);
    const { body: back } = await pair.left.request({ ...post, body });
    expect(String(await collect(back))).toBe("streamed");
  });
});
