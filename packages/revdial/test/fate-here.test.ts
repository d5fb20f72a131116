/**
 * What goes wrong on our own side once a request is under way: the far end's handler has run, so whichever way the request
 * was made, its error must not say that it is safe to send again.
 */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { fetch } from "undici";
import type { Frame } from "../src/frame.ts";
import { createTunnelSet, RevdialError, type Tunnel, type TunnelSet, tunnelFetch } from "../src/index.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { open, write } from "./cores.ts";
import { Feed, turns } from "./process/feed.ts";
import { collect, failure, get, signal, text } from "./support.ts";

type Caller = Pick<Tunnel & TunnelSet, "request" | "dispatcher" | "connect">;

interface Call {
  headers?: [string, string][];
  body?: AsyncIterable<Uint8Array>;
  trailers?: () => [string, string][];
}

/** What a handler of undici's kind does instead of taking what it is told. */
type Told = Partial<Record<"onResponseStart" | "onResponseData" | "onResponseEnd", () => void>>;

let pair: TunnelPair;
let set: TunnelSet;
let runs: number;
let ran: ReturnType<typeof signal<void>>;

beforeEach(async () => {
  runs = 0;
  ran = signal();
  pair = tunnelPair({ both: { onHandlerError: () => undefined } });
  pair.right.serve(async (request, reply) => {
    runs += 1;
    ran.give();
    if (request.upgrade !== undefined && request.path === "/accepts") return void reply.accept();
    if (request.upgrade !== undefined) return { status: 403 };
    if (request.path === "/fails") throw new Error("a handler failed");
    await collect(request.body);
    return { status: 200, body: text.encode("done") };
  });
  await pair.ready;
  set = createTunnelSet();
  set.add(pair.left);
  await set.ready;
});

afterEach(async () => {
  pair.left.destroy();
  await Promise.all([pair.left.closed, pair.right.closed]);
  set.destroy();
  await set.closed;
});

/** Another exchange's error, which says the truth about that one. */
const foreign = () => new RevdialError("REFUSED", "another tunnel was full", { sent: "not-sent" });

async function* afterItRan(...chunks: unknown[]): AsyncIterable<Uint8Array> {
  yield text.encode("abc");
  await ran.seen;
  for (const chunk of chunks) {
    if (chunk instanceof Error) throw chunk;
    yield chunk as Uint8Array;
  }
}

const faults: [name: string, call: () => Call, cause: string][] = [
  [
    "is longer than its content-length",
    () => ({ headers: [["content-length", "3"]], body: afterItRan(text.encode("d")) }),
    "BODY_LENGTH",
  ],
  [
    "is shorter than its content-length",
    () => ({ headers: [["content-length", "9"]], body: afterItRan() }),
    "BODY_LENGTH",
  ],
  ["gives a number", () => ({ body: afterItRan(5) }), "ARGUMENT"],
  ["fails with the error of a request that was not sent", () => ({ body: afterItRan(foreign()) }), "REFUSED"],
  [
    "ends with a trailer that may not travel",
    () => ({ body: afterItRan(), trailers: () => [["x a", "1"]] }),
    "HEAD_INVALID",
  ],
];

const request = async (caller: Caller, call: Call) =>
  collect((await caller.request({ ...get("/"), method: "POST", ...call })).body);

const dispatched = (caller: Caller, call: Call & { upgrade?: string; path?: string }, told: Told = {}) =>
  new Promise<void>((resolve, reject) => {
    caller.dispatcher("wolf").dispatch(
      { path: "/", method: "POST", ...call },
      {
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd: () => resolve(),
        onResponseError: (_controller, error) => reject(error),
        ...told,
      },
    );
  });

const fetched = async (caller: Caller, { headers, body }: Call) =>
  (await tunnelFetch(caller, "wolf")("/", { method: "POST", headers, body })).text();

const ways: [name: string, send: (call: Call) => Promise<unknown>][] = [
  ["request", (call) => request(pair.left, call)],
  ["a dispatcher", (call) => dispatched(pair.left, call)],
  ["tunnelFetch", (call) => fetched(pair.left, call)],
  ["a set's request", (call) => request(set, call)],
  ["a set's dispatcher", (call) => dispatched(set, call)],
];

describe("a request that has run may have run, says its error, when its body", () => {
  const table = faults.flatMap(([fault, call, cause]) =>
    ways
      // It takes no trailers.
      .filter(([way]) => way !== "tunnelFetch" || cause !== "HEAD_INVALID")
      .map(([way, send]) => [fault, way, call, send, cause] as const),
  );
  it.each(table)("%s (%s)", async (_fault, _way, call, send, cause) => {
    expect(await failure(send(call()))).toMatchObject({
      code: "CANCELLED",
      sent: "may-have-run",
      cause: { code: cause },
    });
    expect(runs).toBe(1);
  });
});

describe.each([
  ["a tunnel", () => pair.left as Caller],
  ["a set", () => set as Caller],
])("the dispatcher of %s", (_name, caller) => {
  it.each(["onResponseStart", "onResponseData", "onResponseEnd"])(
    "does not pass on what an error thrown by %s says of another request",
    async (name) => {
      const told = {
        [name]: () => {
          throw foreign();
        },
      };
      expect(await failure(dispatched(caller(), {}, told))).toMatchObject({
        sent: "may-have-run",
        cause: { code: "REFUSED" },
      });
      expect(runs).toBe(1);
    },
  );

  it("says that an upgrade may have run which was accepted, and which its handler does not take", async () => {
    expect(await failure(dispatched(caller(), { path: "/accepts", upgrade: "echo" }))).toMatchObject({
      code: "CANCELLED",
      sent: "may-have-run",
      cause: { code: "ARGUMENT" },
    });
    expect(runs).toBe(1);
  });

  it("hands an error of the caller's own over as it is", async () => {
    const own = new Error("mine");
    const told = {
      onResponseStart() {
        throw own;
      },
    };
    await expect(dispatched(caller(), {}, told)).rejects.toBe(own);
  });

  it("tells fetch that a request may have run whose handler has failed", async () => {
    const dispatcher = caller().dispatcher("wolf");
    await expect(fetch("http://any.host/fails", { dispatcher })).rejects.toMatchObject({
      cause: { code: "HANDLER_FAILED", sent: "may-have-run" },
    });
    expect(runs).toBe(1);
  });

  it("says that a socket may have run which was refused", async () => {
    expect(await failure(caller().connect("wolf"))).toMatchObject({
      code: "SOCKET_REFUSED",
      sent: "may-have-run",
    });
    expect(runs).toBe(1);
  });
});

describe("an error that is not about sending says nothing of it", () => {
  it("when a body is read a second time", async () => {
    const { body } = await pair.left.request({ ...get("/"), method: "POST", body: text.encode("x") });
    await collect(body);
    expect(await failure(collect(body))).toMatchObject({ code: "ARGUMENT", sent: undefined });
    expect(runs).toBe(1);
  });

  it("when a tunnel is given a second handler", () => {
    expect(() => pair.right.serve(() => ({ status: 200 }))).toThrow(
      expect.objectContaining({ code: "ARGUMENT", sent: undefined }),
    );
  });
});

it("a request whose own opening ends the tunnel was not sent, and says so", async () => {
  const feed = new Feed({ controlQueuedBytesMax: 65_536, channelsMax: 2, opensPerSecondMax: 1 });
  feed.tunnel.serve(() => ({ status: 204 }));
  feed.queuedBytes = 1e9; // From now on nothing is written.
  for (const channel of [1, 3])
    feed.hear(write(open(channel, { end: true }), { type: "reset", channel, code: 2, reason: "" }));
  await turns();
  // Besides the first GRANT; the second is due a second later, and there is no room for it.
  const pongs = Math.floor((65_536 - 13) / 17);
  feed.hear(write(...Array.from({ length: pongs }, (): Frame => ({ type: "ping", token: 1n }))));
  expect(feed.tunnel.draining).toBe(false);
  const now = feed.clock.now();
  jest.spyOn(feed.clock, "now").mockReturnValue(now + 1000);
  const error = await failure(feed.tunnel.request(get("/")));
  expect(error).toMatchObject({ code: "CLOSED", sent: "not-sent" });
  expect(feed.end?.code).toBe("CONTROL_FLOOD");
  expect(feed.tunnel.load).toBe(0);
});
