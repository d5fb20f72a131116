/** The dispatcher as handlers of both generations see it, over a real WebSocket. */
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type {
  DispatchController,
  DispatchHandler,
  DispatchOptions,
  HeaderList,
  RequestHandler,
  TunnelDispatcher,
} from "../src/index.ts";
import { type Joined, joined } from "./http-gateway.ts";
import { collect, endless, get, signal, text, until } from "./support.ts";

let pair: Joined;
let dispatcher: TunnelDispatcher;
let handler: RequestHandler;
let reported: unknown[];

beforeEach(async () => {
  reported = [];
  pair = await joined("websocket", { onHandlerError: (error) => void reported.push(error) });
  dispatcher = pair.tunnel.dispatcher("web");
  handler = async ({ body }) => ({ status: 200, body: await collect(body) });
  pair.agent.serve((request, reply) => handler(request, reply));
});

afterEach(() => pair.stop());

const plain: DispatchOptions = { method: "GET", path: "/" };

/** Writes down what a handler is told; `over` when it has heard the last of it. */
function recorder(more: DispatchHandler = {}) {
  const told: string[] = [];
  const over = signal();
  const last = (word: string) => {
    told.push(word);
    over.give();
  };
  const handle: DispatchHandler = {
    onRequestStart(controller, context) {
      told.push("start");
      more.onRequestStart?.(controller, context);
    },
    onRequestUpgrade(controller, status, headers, socket) {
      told.push(`upgrade ${status}`);
      more.onRequestUpgrade?.(controller, status, headers, socket);
    },
    onResponseStart(controller, status, headers) {
      told.push(`head ${status}`);
      more.onResponseStart?.(controller, status, headers);
    },
    onResponseData(controller, chunk) {
      if (told.at(-1) !== "data") told.push("data");
      more.onResponseData?.(controller, chunk);
    },
    onResponseEnd(controller, trailers) {
      last("end");
      more.onResponseEnd?.(controller, trailers);
    },
    onResponseError(controller, error) {
      last(`error ${error.message}`);
      more.onResponseError?.(controller, error);
    },
  };
  if (more.onResponseFields) handle.onResponseFields = more.onResponseFields;
  return { handle, told, over: over.seen };
}

const fault = () => {
  throw new Error("my own mistake");
};

it("a handler that takes fields hears of each head once, with its fields in the order in which they came", async () => {
  handler = (_request, reply) => {
    reply.interim(103, [["link", "</a>"]]);
    reply.head(200, [
      ["set-cookie", "b=2"],
      ["x-between", "1"],
      ["set-cookie", "a=1"],
    ]);
    reply.end();
  };
  const heads: [number, HeaderList][] = [];
  const record = recorder({
    onResponseFields: (_controller, status, fields) => void heads.push([status, fields]),
  });
  dispatcher.dispatch(plain, record.handle);
  await record.over;
  expect(record.told).toEqual(["start", "end"]);
  expect(heads).toEqual([
    [103, [["link", "</a>"]]],
    [
      200,
      [
        ["set-cookie", "b=2"],
        ["x-between", "1"],
        ["set-cookie", "a=1"],
      ],
    ],
  ]);
});

describe("a handler that throws", () => {
  const answer: RequestHandler = (_request, reply) => {
    reply.interim(103);
    reply.head(200);
    reply.end(text.encode("body"));
  };
  const accepting: RequestHandler = async (_request, reply) => void (await collect(reply.accept()));

  it.each<[string, DispatchHandler, RequestHandler, string[], DispatchOptions]>([
    ["at the start", { onRequestStart: fault }, answer, ["start"], plain],
    ["at an interim head", { onResponseStart: fault }, answer, ["start", "head 103"], plain],
    ["at the fields of a head", { onResponseFields: fault }, answer, ["start"], plain],
    [
      "at the head",
      { onResponseStart: (_controller, status) => (status === 200 ? fault() : undefined) },
      answer,
      ["start", "head 103", "head 200"],
      plain,
    ],
    ["at a chunk", { onResponseData: fault }, answer, ["start", "head 103", "head 200", "data"], plain],
    [
      "at a chunk of an answer that goes on",
      { onResponseData: fault },
      () => ({ status: 200, body: endless("x") }),
      ["start", "head 200", "data"],
      plain,
    ],
    ["at the end", { onResponseEnd: fault }, answer, ["start", "head 103", "head 200", "data", "end"], plain],
    [
      "at an upgrade",
      { onRequestUpgrade: fault },
      accepting,
      ["start", "upgrade 101"],
      { ...plain, upgrade: "echo" },
    ],
  ])(
    "%s hears of it once and nothing else, and the tunnel goes on",
    async (_when, more, far, told, options) => {
      handler = far;
      const record = recorder(more);
      dispatcher.dispatch(options, record.handle);
      await record.over;
      await until(() => pair.agent.load === 0 && pair.tunnel.load === 0);
      expect(record.told).toEqual([...told, "error my own mistake"]);
      handler = () => ({ status: 204 });
      expect((await pair.tunnel.request(get("/"))).status).toBe(204);
    },
  );

  it("even when it is told of an error costs nobody else anything", async () => {
    handler = () => {
      throw new Error("refused");
    };
    dispatcher.dispatch(plain, { onResponseError: fault });
    await until(() => reported.length > 1);
    // What the handler of the request threw at the far end, and what was thrown here.
    expect(reported).toMatchObject([{ message: "refused" }, { message: "my own mistake" }]);
    handler = () => ({ status: 204 });
    expect((await pair.tunnel.request(get("/"))).status).toBe(204);
  });
});

it("a field by a name that every object has reaches a handler, among headers and trailers", async () => {
  const fields: HeaderList = [
    ["constructor", "1"],
    ["__proto__", "2"],
    ["__proto__", "3"],
    ["tostring", "4"],
    ["tostring", "5"],
    ["valueof", "6"],
  ];
  handler = (_request, reply) => {
    reply.interim(103, fields);
    reply.head(200, fields);
    reply.end(text.encode("body"), fields);
  };
  const told: unknown[] = [];
  const record = recorder({
    onResponseStart: (_controller, _status, headers) => void told.push(Object.entries(headers)),
    onResponseEnd: (_controller, trailers) => void told.push(Object.entries(trailers)),
  });
  dispatcher.dispatch(plain, record.handle);
  await record.over;
  expect(record.told).toEqual(["start", "head 103", "head 200", "data", "end"]);
  const entries = [
    ["constructor", "1"],
    ["__proto__", ["2", "3"]],
    ["tostring", ["4", "5"]],
    ["valueof", "6"],
  ];
  expect(told).toEqual([entries, entries, entries]);
});

describe("a controller", () => {
  it("that has paused holds the far end's producer, and goes on where it was", async () => {
    let given = 0;
    handler = () => ({
      status: 200,
      body: (async function* () {
        for (; given < 4_000_000; given += 16_000) yield new Uint8Array(16_000);
      })(),
    });
    let received = 0;
    const control = signal<DispatchController>();
    const record = recorder({
      onResponseStart(controller) {
        controller.pause();
        control.give(controller);
      },
      onResponseData(_controller, chunk) {
        received += chunk.byteLength;
      },
    });
    dispatcher.dispatch(plain, record.handle);
    const controller = await control.seen;
    let before = -1;
    await until(() => {
      const still = given > 0 && given === before;
      before = given;
      return still;
    });
    expect({ received, paused: controller.paused }).toEqual({ received: 0, paused: true });
    expect(given).toBeLessThan(1_000_000);
    controller.resume();
    await record.over;
    expect({ received, told: record.told }).toEqual({
      received: 4_000_000,
      told: ["start", "head 200", "data", "end"],
    });
  });

  it.each<[string, DispatchHandler, string[]]>([
    ["at the start", { onRequestStart: (controller) => controller.abort(new Error("enough")) }, ["start"]],
    [
      "at a head whose answer has come whole",
      { onResponseStart: (controller) => controller.abort(new Error("enough")) },
      ["start", "head 200"],
    ],
    [
      "at the last chunk",
      { onResponseData: (controller) => controller.abort(new Error("enough")) },
      ["start", "head 200", "data"],
    ],
  ])("that aborts %s tells the handler, and nothing else after it", async (_when, more, told) => {
    handler = () => ({ status: 200, body: text.encode("whole") });
    const record = recorder(more);
    dispatcher.dispatch(plain, record.handle);
    await record.over;
    await until(() => pair.agent.load === 0 && pair.tunnel.load === 0);
    expect(record.told).toEqual([...told, "error enough"]);
  });

  it("that aborts while paused, after the answer has come whole, tells the handler too", async () => {
    handler = () => ({ status: 200, body: text.encode("whole") });
    const control = signal<DispatchController>();
    const record = recorder({
      onResponseStart(controller) {
        controller.pause();
        control.give(controller);
      },
    });
    dispatcher.dispatch(plain, record.handle);
    const controller = await control.seen;
    await until(() => pair.tunnel.load === 0);
    controller.abort(new Error("enough"));
    controller.resume();
    expect(record.told).toEqual(["start", "head 200", "error enough"]);
  });

  it("that aborts at the end has nothing left to end", async () => {
    const record = recorder({ onResponseEnd: (controller) => controller.abort(new Error("too late")) });
    dispatcher.dispatch(plain, record.handle);
    await record.over;
    await until(() => pair.tunnel.load === 0);
    expect(record.told).toEqual(["start", "head 200", "end"]);
  });
});

describe("a handler of the older generation", () => {
  it("hears raw heads, interim ones too, pauses by returning false, and gets raw trailers", async () => {
    handler = (_request, reply) => {
      reply.interim(103, [["link", "</a>"]]);
      reply.head(200, [
        ["x-a", "1"],
        ["x-a", "2"],
      ]);
      reply.end(text.encode("body"), [["x-sum", "4"]]);
    };
    const told: unknown[] = [];
    const raw = (headers: Buffer[]) => headers.map(String);
    const paused = signal<() => void>();
    const over = signal();
    const older = {
      onConnect: () => void told.push("connect"),
      onHeaders(status: number, headers: Buffer[], resume: () => void) {
        told.push(status, raw(headers));
        if (status < 200) return true;
        paused.give(resume);
        return false;
      },
      onData: (chunk: Buffer) => told.push(String(chunk)) > 0,
      onComplete(trailers: Buffer[]) {
        told.push(raw(trailers));
        over.give();
      },
      onError: (error: Error) => void told.push(error),
    };
    dispatcher.dispatch(plain, older as DispatchHandler);
    const resume = await paused.seen;
    await until(() => pair.tunnel.load === 0);
    const heads = ["connect", 103, ["link", "</a>"], 200, ["x-a", "1", "x-a", "2"]];
    expect(told).toEqual(heads);
    resume();
    await over.seen;
    expect(told).toEqual([...heads, "body", ["x-sum", "4"]]);
  });

  it("aborts by what it was given when it was connected", async () => {
    handler = () => ({ status: 200, body: endless("x") });
    const failed = signal<Error>();
    let abort = (_reason?: Error) => {};
    const older = {
      onConnect(given: typeof abort) {
        abort = given;
      },
      onHeaders: () => true,
      onData() {
        abort(new Error("enough"));
        return true;
      },
      onError: failed.give,
    };
    dispatcher.dispatch(plain, older as DispatchHandler);
    expect((await failed.seen).message).toBe("enough");
    await until(() => pair.agent.load === 0);
  });

  it("gets a socket", async () => {
    handler = async (_request, reply) => {
      const accepted = reply.accept([["x-a", "1"]]);
      accepted.end("hello");
      await collect(accepted);
    };
    const switched = signal<[number, Buffer[], Duplex]>();
    const older = {
      onConnect: () => undefined,
      onUpgrade: (status: number, headers: Buffer[], socket: Duplex) =>
        switched.give([status, headers, socket]),
    };
    dispatcher.dispatch({ ...plain, method: "CONNECT" }, older as DispatchHandler);
    const [status, headers, socket] = await switched.seen;
    expect([status, headers.map(String)]).toEqual([101, ["x-a", "1"]]);
    expect(String(await collect(socket))).toBe("hello");
    socket.end();
  });
});

it.each(["close", "destroy"] as const)(
  "a dispatcher after %s takes no requests, composed or not, and the tunnel goes on",
  async (how) => {
    const composed = dispatcher.compose((dispatch) => (options, handle) => dispatch(options, handle));
    const before = recorder();
    expect(composed.dispatch(plain, before.handle)).toBe(true);
    await composed[how]();
    for (const one of [dispatcher, composed]) {
      const record = recorder();
      expect(one.dispatch(plain, record.handle)).toBe(false);
      expect(record.told).toEqual(["error CLOSED: the dispatcher is closed"]);
    }
    await before.over;
    expect(before.told.at(-1)).toBe("end");
    expect((await pair.tunnel.request(get("/"))).status).toBe(200);
  },
);
