/** The watch beside a Wolf that this test plays: what is said of it, when, and over how many event streams. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { wolfGenerations, wolfSchemaText } from "@wolfpack/wolf-api/emulator";
import { ManualClock } from "revdial/testing";
import { systemClock } from "./clock.ts";
import { createLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { type WolfWatch, type WolfWatchOptions, watchWolf } from "./wolf-watch.ts";

type Notice = { type: string; payload: Record<string, unknown> };
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const LOBBIES = '{"success":true,"lobbies":[]}';
const lists: Answer = (_request, response) => void response.end(LOBBIES);
const silent: Answer = () => undefined;
const streams: Answer = (_request, response) =>
  void response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();

let server: Server;
let stop: AbortController;
let watch: WolfWatch | undefined;
let notices: Notice[];
let onNotice: () => void;
/** A tunnel is up. */
let takes: boolean;
/** Event streams open now, the most at once, and all of them. */
let open: ServerResponse[];
let openMax: number;
let subscriptions: number;
let lobbies: Answer;
let events: Answer;

beforeEach(async () => {
  [stop, watch, notices, onNotice] = [new AbortController(), undefined, [], () => undefined];
  takes = true;
  [open, openMax, subscriptions, lobbies, events] = [[], 0, 0, lists, streams];
  server = createServer((request, response) => {
    if (request.url !== "/api/v1/events") return lobbies(request, response);
    open.push(response);
    openMax = Math.max(openMax, open.length);
    subscriptions += 1;
    response.on("close", () => open.splice(open.indexOf(response), 1));
    events(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  stop.abort();
  await watch?.done;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function start(
  more: Partial<Pick<WolfWatchOptions, "eventsFree" | "onEventsWait" | "clock" | "log">> = {},
): void {
  watch = watchWolf({
    wolf: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    log: createLogger("silent"),
    metrics: createMetrics(),
    random: () => 0,
    clock: systemClock,
    ...more,
    signal: stop.signal,
    notify(type, payload) {
      notices.push({ type, payload: payload as Record<string, unknown> });
      onNotice();
      return takes;
    },
  });
}

const until = (holds: () => boolean) =>
  new Promise<void>((resolve) => {
    const look = () => (holds() ? resolve() : void setImmediate(look));
    look();
  });
const beats = () => notices.filter(({ type }) => type === "heartbeat").map(({ payload }) => payload.wolf);
const told = () => notices.filter(({ type }) => type === "wolf-event").map(({ payload }) => payload);
const say = (data: unknown, event = "wolf::core::events::StopLobbyEvent") =>
  open[0]?.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);

describe("what the agent says of Wolf's state", () => {
  it("is nothing before Wolf was asked, even when a tunnel comes up", async () => {
    lobbies = silent;
    start();
    watch?.announce();
    await until(() => open.length > 0);
    watch?.announce();
    expect(beats()).toEqual([]);
  });

  it.each([
    ["something else listens there", 404],
    ["Wolf is out of order", 500],
  ])("is unreachable when %s", async (_name, status) => {
    lobbies = (_request, response) => void response.writeHead(status).end("{}");
    const lines: Record<string, unknown>[] = [];
    start({ log: createLogger("warn", { write: (line) => void lines.push(JSON.parse(line)) }) });
    await until(() => beats().length > 0);
    // It was never seen well.
    expect(lines).toEqual([expect.not.objectContaining({ before: expect.anything() })]);
    expect(notices[0]?.payload).toMatchObject({
      wolf: "unreachable",
      detail: expect.stringContaining(`${status}`),
    });
  });

  it("is ok for a Wolf from before lobbies, which has no list of them, once it has described itself", async () => {
    lobbies = (request, response) =>
      void response
        .writeHead(request.url === "/api/v1/openapi-schema" ? 200 : 404)
        .end(request.url === "/api/v1/openapi-schema" ? wolfSchemaText("2025-07-25") : "");
    start();
    await until(() => beats().at(-1) === "ok");
    lobbies = (_request, response) => void response.writeHead(500).end();
    open[0]?.destroy();
    await until(() => beats().at(-1) === "unreachable");
  });

  describe("when Wolf takes the question and does not answer", () => {
    let clock: ManualClock;
    let asked: ServerResponse[];
    let waiting: number;
    const holds: Answer = (_request, response) => {
      asked.push(response);
      waiting += 1;
      response.on("close", () => (waiting -= 1));
    };
    const details = () => notices.flatMap(({ payload }) => payload.detail ?? []);

    beforeEach(() => {
      [clock, asked, waiting] = [new ManualClock(), [], 0];
      lobbies = (request, response) =>
        request.url === "/api/v1/lobbies" ? holds(request, response) : lists(request, response);
      start({ clock });
    });

    it("is slow after 3 s and stuck after 25 s, until it answers in time; and it is asked once at a time", async () => {
      await until(() => asked.length === 1 && open.length === 1);
      await clock.advance(2999);
      expect(beats()).toEqual([]);
      await clock.advance(1);
      expect(beats()).toEqual(["slow"]);
      await clock.advance(21_999);
      expect(beats()).toEqual(["slow"]);
      await clock.advance(1);
      expect(beats()).toEqual(["slow", "stuck"]);
      for (let again = 2; again < 5; again += 1) {
        await clock.advance(10_000);
        await until(() => asked.length >= again && waiting === 1);
        await clock.advance(25_000);
      }
      expect(new Set(beats().slice(1))).toEqual(new Set(["stuck"]));
      // Each answer was waited for before the next question.
      expect(asked.length).toBeLessThanOrEqual(5);
      lobbies = lists;
      await clock.advance(35_000);
      await until(() => beats().at(-1) === "ok");
    });

    it("is slow, not stuck, when the answer comes late", async () => {
      await until(() => asked.length === 1);
      await clock.advance(24_000);
      asked[0]?.end(LOBBIES);
      await until(() => beats().length === 2);
      expect([beats(), details()]).toEqual([
        ["slow", "slow"],
        ["no answer within 3 s", "answered after 24 s"],
      ]);
    });

    it("is slow, not stuck, when a late answer comes broken", async () => {
      await until(() => asked.length === 1);
      asked[0]?.writeHead(200, { "content-length": 100 }).write("{");
      await clock.advance(24_000);
      asked[0]?.destroy();
      await until(() => beats().length === 2);
      expect([beats().at(-1), details().at(-1)]).toEqual(["slow", "answered after 24 s"]);
    });

    it("is stuck when the answer begins and does not end", async () => {
      await until(() => asked.length === 1);
      asked[0]?.writeHead(200).write("{");
      await clock.advance(25_000);
      await until(() => beats().at(-1) === "stuck");
    });

    it("is stuck whether its events go on or not, and says which", async () => {
      await until(() => asked.length === 1 && open.length === 1);
      await clock.advance(10_000);
      open[0]?.write(":keepalive\n\n");
      say({ lobby_id: "a" });
      await until(() => told().length === 1);
      await clock.advance(15_000);
      await clock.advance(10_000);
      await until(() => asked.length === 2);
      await clock.advance(25_000);
      expect(details().slice(1)).toEqual([
        "no answer within 25 s, though its event stream is alive",
        "no answer within 25 s, and its event stream is silent",
      ]);
    });
  });

  it("is ok after one broken reply, which is asked for again", async () => {
    let broken = 0;
    lobbies = (request, response) => {
      lobbies = lists;
      broken += 1;
      request.socket.write("HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{");
      response.destroy();
    };
    start();
    await until(() => beats().length > 0);
    expect([broken, beats()[0]]).toEqual([1, "ok"]);
  });

  it.each([
    ["cut", (reply: Buffer) => reply.subarray(0, 65_536)],
    ["corrupted", (reply: Buffer) => Buffer.from(reply).fill(0xfe, 65_536)],
  ])(
    "is ok while every list of more than 64 KiB comes %s: what began shows that Wolf answers",
    async (_n, harm) => {
      const list = Buffer.from(`{"success":true,"lobbies":[${'{"id":"a"},'.repeat(8000)}{"id":"b"}]}`);
      lobbies = (_request, response) => {
        response
          .writeHead(200, { "content-length": list.length })
          .write(harm(list), () => response.destroy());
      };
      start();
      await until(() => beats().length >= 2);
      expect(new Set(beats())).toEqual(new Set(["ok"]));
    },
  );

  it.each([
    ["has no body yet", "HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n"],
    ["is of a failure", "HTTP/1.0 500 OK\r\nContent-Length: 100\r\n\r\n{"],
    ["is no HTTP", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["is nothing", ""],
  ])("is unreachable when what is cut %s", async (_name, bytes) => {
    lobbies = (request) => void request.socket.end(bytes);
    start();
    await until(() => beats().length > 0);
    expect(notices[0]?.payload).toMatchObject({
      wolf: "unreachable",
      detail: expect.stringContaining("upstream-reply-broken"),
    });
  });

  it("follows at once when the event stream ends, and when it is there again", async () => {
    start();
    await until(() => beats().length === 2 && open.length > 0);
    lobbies = (request) => void request.socket.destroy();
    open[0]?.destroy();
    await until(() => beats().at(-1) === "unreachable");
    lobbies = lists;
    await until(() => beats().at(-1) === "ok");
    expect(subscriptions).toBeGreaterThan(1);
  });
});

describe("what Wolf says it can do", () => {
  const capabilities = () =>
    notices.filter(({ type }) => type === "capabilities").map(({ payload }) => payload);
  const describes =
    (text: string, status = 200): Answer =>
    (request, response) =>
      request.url === "/api/v1/openapi-schema"
        ? void response.writeHead(status).end(text)
        : lists(request, response);

  it.each(wolfGenerations)(
    "is read from the description of %s, and asked for at every start of Wolf",
    async (generation) => {
      lobbies = describes(wolfSchemaText(generation));
      start();
      await until(() => capabilities().length === 1);
      expect(capabilities()[0]).toMatchObject({
        schema_hash: createHash("sha256").update(wolfSchemaText(generation)).digest("hex"),
        missing: generation === "2025-07-25" ? expect.arrayContaining(["GET /api/v1/lobbies"]) : [],
      });
      lobbies = describes(wolfSchemaText("2026-06-23"));
      open[0]?.destroy();
      await until(() => capabilities().length === 2);
      expect(capabilities()[1]).toMatchObject({ missing: [], features: expect.arrayContaining(["lobbies"]) });
      watch?.announce();
      expect(capabilities()).toHaveLength(3);
    },
  );

  it.each([
    ["absent", "", 404],
    ["no JSON", "{", 200],
    ["too deep", "[".repeat(5000), 200],
    ["somebody else's", '{"paths":{}}', 200],
    ["too long", " ".repeat(1_100_000), 200],
  ])("is unknown when the description is %s", async (_name, text, status) => {
    lobbies = describes(text, status);
    start();
    await until(() => capabilities().length === 1);
    expect(capabilities()).toEqual([{ schema_hash: null, features: [], missing: [] }]);
  });
});

describe("Wolf's events", () => {
  it("that may have been lost while the stream was down make the lobbies be listed again", async () => {
    const relists = () => notices.filter(({ type }) => type === "relist").map(({ payload }) => payload);
    start();
    await until(() => open.length === 1);
    expect(relists()).toEqual([]);
    open[0]?.destroy();
    await until(() => subscriptions === 2 && relists().length > 0);
    expect(relists()).toEqual([{ reason: "stream-was-down" }]);
  });

  it.each([true, false])(
    "that another agent may have had before us (%s) make the lobbies be listed once we hear of more",
    async (waited) => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      start({ eventsFree: promise });
      await until(() => notices.some(({ type }) => type === "heartbeat"));
      expect(open).toEqual([]);
      resolve(waited);
      await until(() => open.length === 1);
      say({ lobby_id: "a" });
      await until(() => told().length > 0);
      expect(notices.filter(({ type }) => type === "relist")).toHaveLength(waited ? 1 : 0);
    },
  );

  it("that another agent keeps leave ours without them, but not without Wolf's capabilities; after 60 s it says so once", async () => {
    const clock = new ManualClock();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const lines: { level: number; msg: string }[] = [];
    const waits: boolean[] = [];
    lobbies = (request, response) =>
      void response.end(request.url === "/api/v1/openapi-schema" ? wolfSchemaText("2026-06-23") : LOBBIES);
    start({
      clock,
      eventsFree: promise,
      onEventsWait: (now) => void waits.push(now),
      log: createLogger("warn", { write: (line) => void lines.push(JSON.parse(line)) }),
    });
    const learnt = () => notices.filter(({ type }) => type === "capabilities");
    await until(() => beats().length === 1);
    await clock.advance(4999);
    expect(learnt()).toEqual([]);
    await clock.advance(1);
    await until(() => learnt().length === 1);
    expect(learnt()[0]?.payload.schema_hash).toMatch(/^[0-9a-f]{64}$/);
    await clock.advance(54_999);
    const warnings = () => lines.filter(({ msg }) => msg.startsWith("does not hear Wolf's events"));
    expect(warnings()).toEqual([]);
    for (let minute = 0; minute < 3; minute += 1) await clock.advance(60_000);
    expect(warnings()).toMatchObject([{ level: 40, waited_s: 60 }]);
    expect([subscriptions, waits]).toEqual([0, [true]]);
    resolve(true);
    await until(() => open.length === 1);
    expect([subscriptions, waits]).toEqual([1, [true, false]]);
  });

  it("that are free at once are not waited for, nor is Wolf asked twice what it can do", async () => {
    const schemas: string[] = [];
    lobbies = (request, response) => {
      if (request.url === "/api/v1/openapi-schema") schemas.push(String(request.url));
      response.end(request.url === "/api/v1/openapi-schema" ? wolfSchemaText("2026-06-23") : LOBBIES);
    };
    start({ eventsFree: Promise.resolve(false) });
    await until(() => notices.some(({ type }) => type === "capabilities"));
    expect([subscriptions, schemas.length]).toEqual([1, 1]);
  });

  it("without a tunnel are made up for when there is one", async () => {
    takes = false;
    start();
    await until(() => open.length > 0);
    say({ lobby_id: "a" });
    await until(() => told().length > 0);
    takes = true;
    notices.length = 0;
    watch?.announce();
    expect(notices.filter(({ type }) => type === "relist")).toMatchObject([
      { payload: { reason: "events-dropped" } },
    ]);
  });

  it("come over one stream, never two, however they end", async () => {
    const endings: Answer[] = [
      (_request, response) => void response.writeHead(500).write("never ends"),
      (_request, response) => void response.destroy(),
      (_request, response) => void response.writeHead(200).write(`data: ${"x".repeat(300_000)}`),
      (_request, response) => void response.writeHead(200).end(),
      streams,
    ];
    events = (request, response) => endings.shift()?.(request, response);
    start();
    await until(() => endings.length === 0 && open.length === 1);
    expect(openMax).toBe(1);
    say({ lobby_id: "a" });
    await until(() => told().length > 0);
  });

  it("are told with their ids alone when they are too large for a notice, in bytes", async () => {
    start();
    await until(() => open.length > 0);
    say({ lobby_id: "a", name: "€".repeat(6000), note: "€".repeat(100) });
    say({ lobby_id: "b", note: "x".repeat(15_000) });
    say({ lobby_id: "c", note: "x".repeat(16_000) });
    await until(() => told().length === 3);
    expect(told().map(({ seq, data }) => [seq, Object.keys(data as object)])).toEqual([
      [1, ["lobby_id"]],
      [2, ["lobby_id", "note"]],
      [3, ["lobby_id"]],
    ]);
    expect(subscriptions).toBe(1);
  });

  it("that are no JSON objects are not told, and end nothing; the lobbies are listed instead", async () => {
    start();
    await until(() => open.length > 0);
    for (const data of ["{", "[]", "null", '"text"', "1", "[".repeat(5000)])
      open[0]?.write(`event: wolf::core::events::StopLobbyEvent\ndata: ${data}\n\n`);
    say({ lobby_id: "a", pin: [1, 2] });
    await until(() => told().length === 1);
    expect(told()).toMatchObject([{ seq: 1, data: { lobby_id: "a" } }]);
    expect(JSON.stringify(told())).not.toContain("pin");
    expect(notices.filter(({ type }) => type === "relist")).not.toEqual([]);
    expect(subscriptions).toBe(1);
  });
});
