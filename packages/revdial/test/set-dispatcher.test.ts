/** A tunnel set as a dispatcher: what its handlers hear, and which member they are sent over. */
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { request } from "undici";
import { httpFront } from "../src/http/index.ts";
import {
  createTunnelSet,
  type DispatchController,
  type DispatchHandler,
  type DispatchOptions,
  type RequestHandler,
  RevdialError,
  type TunnelSet,
  tunnelFetch,
} from "../src/index.ts";
import { ManualClock, type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { stopServer } from "./gateway.ts";
import { ask, listenLocally } from "./probes/chain.ts";
import { collect, failure, get, signal, text, until, untilAborted } from "./support.ts";

const WAITERS = 2;
let clock: ManualClock;
let set: TunnelSet;
let server: Server | undefined;

beforeEach(() => {
  clock = new ManualClock();
  set = createTunnelSet({ clock, waitersMax: WAITERS });
});

afterEach(async () => {
  set.destroy();
  await set.closed;
  await clock.advance(2000);
  expect(clock.pending).toBe(0);
  if (server) await stopServer(server);
  server = undefined;
});

async function join(handler: RequestHandler): Promise<TunnelPair> {
  const pair = tunnelPair({ both: { clock, onHandlerError: () => undefined } });
  pair.left.serve(handler);
  set.add(pair.right);
  await pair.ready;
  return pair;
}

const named =
  (name: string): RequestHandler =>
  async ({ body }) => ({ status: 200, body: Buffer.from(`${name} got ${await collect(body)}`) });

/** Does not look at the request, and says so. */
const refusing: RequestHandler = () => {
  throw new RevdialError("REFUSED", "busy");
};

/** The outcome of one exchange: everything its handler was told. */
function run(options: Partial<DispatchOptions>, more: DispatchHandler = {}): Promise<string[]> {
  const told: string[] = [];
  const over = signal<string[]>();
  set.dispatcher("web").dispatch(
    { method: "POST", path: "/", ...options },
    {
      onRequestStart(controller, context) {
        told.push("start");
        more.onRequestStart?.(controller, context);
      },
      onResponseStart(controller, status, headers) {
        told.push(String(status));
        more.onResponseStart?.(controller, status, headers);
      },
      ...(more.onResponseFields ? { onResponseFields: more.onResponseFields } : {}),
      onResponseData: (_controller, chunk) => void told.push(String(chunk)),
      onResponseEnd() {
        told.push("end");
        over.give(told);
      },
      onResponseError(_controller, error) {
        told.push(error instanceof RevdialError ? `${error.code} ${error.sent}` : error.message);
        over.give(told);
      },
    },
  );
  return over.seen;
}

async function* pieces(): AsyncIterable<Uint8Array> {
  yield text.encode("piece");
}

describe("a set's dispatcher", () => {
  it("tells a handler that takes fields of them as they came, and of the controller that is its own", async () => {
    await join(() => ({
      status: 200,
      headers: [
        ["x-b", "2"],
        ["x-a", "1"],
      ],
    }));
    const heads: unknown[] = [];
    let own: DispatchController | undefined;
    const told = await run(
      {},
      {
        onRequestStart(controller) {
          own = controller;
        },
        onResponseFields: (controller, status, fields) => void heads.push(controller === own, status, fields),
      },
    );
    expect(told).toEqual(["start", "end"]);
    expect(heads).toEqual([
      true,
      200,
      [
        ["x-b", "2"],
        ["x-a", "1"],
      ],
    ]);
  });

  it("asks the least loaded member", async () => {
    const busy = await join(({ signal: abort }) => untilAborted(abort));
    const held = failure(busy.right.request(get("/")));
    await join(named("idle"));
    for (let n = 0; n < 3; n += 1) expect(await run({})).toEqual(["start", "200", "idle got ", "end"]);
    set.destroy();
    await held;
  });

  it.each<[string, DispatchOptions["body"], string[]]>([
    ["without a body", null, ["start", "200", "second got ", "end"]],
    ["with a string", "text", ["start", "200", "second got text", "end"]],
    ["with bytes", text.encode("bytes"), ["start", "200", "second got bytes", "end"]],
    ["with a stream, which cannot be sent twice", pieces(), ["start", "REFUSED not-sent"]],
  ])("sends what was not sent over another member: a request %s", async (_what, body, outcome) => {
    await join(refusing);
    await join(named("second"));
    expect(await run(body === undefined ? {} : { body })).toEqual(outcome);
  });

  it("does not send again what may have run", async () => {
    let runs = 0;
    const lost = await join(() => {
      runs += 1;
      lost.link.cut();
      return { status: 200 };
    });
    await join(named("second"));
    expect(await run({})).toEqual(["start", "TRANSPORT_LOST may-have-run"]);
    expect(runs).toBe(1);
  });

  it("does not send again what has been answered, whatever the code says afterwards", async () => {
    await join(async (_request, reply) => {
      reply.head(200);
      reply.write(text.encode("half"));
      for (let turn = 0; turn < 10; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
      throw new RevdialError("REFUSED", "after all");
    });
    await join(named("second"));
    expect(await run({})).toEqual(["start", "200", "half", "REFUSED may-have-run"]);
  });

  it("gives up when every member has refused", async () => {
    await join(refusing);
    await join(refusing);
    expect(await run({ deadlineMs: 1000 })).toEqual(["start", "REFUSED not-sent"]);
  });

  it("fails at once without a member, and with a deadline waits for one", async () => {
    expect(await run({})).toEqual(["start", "CLOSED not-sent"]);
    const waiting = run({ deadlineMs: 5000 });
    await clock.advance(2000);
    await join(({ deadlineMs }) => ({ status: deadlineMs === 3000 ? 200 : 500 }));
    expect(await waiting).toEqual(["start", "200", "end"]);
  });

  it("ends waiting at the deadline, and by an abort, which makes room for another", async () => {
    const control = signal<DispatchController>();
    const aborted = run({ deadlineMs: 5000 }, { onRequestStart: control.give });
    const late = run({ deadlineMs: 5000 });
    expect(await run({ deadlineMs: 5000 })).toEqual(["start", "REFUSED not-sent"]);
    (await control.seen).abort(new Error("the client is gone"));
    expect(await aborted).toEqual(["start", "the client is gone"]);
    const closed = run({ deadlineMs: 50_000 });
    await clock.advance(5000);
    expect(await late).toEqual(["start", "DEADLINE not-sent"]);
    set.destroy();
    expect(await closed).toEqual(["start", "CLOSED not-sent"]);
  });

  it.each<[string, DispatchHandler, string[]]>([
    ["at the start", { onRequestStart: (control) => control.abort(new Error("enough")) }, ["start"]],
    ["at the head", { onResponseStart: (control) => control.abort(new Error("enough")) }, ["start", "200"]],
  ])("lets a handler abort %s", async (_when, more, told) => {
    const pair = await join(named("only"));
    expect(await run({}, more)).toEqual([...told, "enough"]);
    await until(() => pair.left.load === 0 && pair.right.load === 0);
  });

  it("lets a handler pause from the start, and go on", async () => {
    await join(named("only"));
    let control: DispatchController | undefined;
    const outcome = run(
      {},
      {
        onRequestStart(controller) {
          control = controller;
          controller.pause();
        },
      },
    );
    await clock.advance(0);
    expect(control?.paused).toBe(true);
    control?.resume();
    expect(await outcome).toEqual(["start", "200", "only got ", "end"]);
  });

  it("is as good as a tunnel's for undici, for a front and for a fetch function", async () => {
    await join(refusing);
    await join(async (incoming, reply) => {
      if (incoming.upgrade === undefined) {
        reply.head(200, [["x-a", "1"]]);
        return reply.end(text.encode(incoming.path), [["x-sum", "2"]]);
      }
      const socket = reply.accept();
      socket.end("switched");
      await collect(socket);
    });
    const dispatcher = set.dispatcher("web");
    const answer = await request("http://any/undici", { dispatcher });
    expect(await answer.body.text()).toBe("/undici");
    expect(answer).toMatchObject({ headers: { "x-a": "1" }, trailers: { "x-sum": "2" } });
    expect(await (await tunnelFetch(set, "web")("/fetch")).text()).toBe("/fetch");
    const front = httpFront(set.dispatcher("web"));
    server = createServer(front.request).on("upgrade", front.upgrade);
    const port = await listenLocally(server);
    const plain = ask(port, { path: "/front" });
    plain.sent.end();
    expect(String(await collect(await plain.response))).toBe("/front");
    const socket = connect({ host: "127.0.0.1", port });
    socket.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    expect(String(await collect(socket))).toMatch(/^HTTP\/1\.1 101 .*\r\n\r\nswitched$/s);
  });
});
