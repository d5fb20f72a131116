/**
 * Every way a call can end before its time, and what its error says of the far end: whether the request may have run
 * there. By the same table a set sends again what was not sent, and nothing else.
 */
import { describe, expect, it } from "@jest/globals";
import { createTunnel } from "../src/core-tunnel.ts";
import { encodeFrame } from "../src/encode.ts";
import { type RequestFate, type RevdialErrorCode, revdialErrorCodes, wireCodes } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import {
  createTunnelSet,
  defaultLimits,
  type RequestHandler,
  RevdialError,
  type Tunnel,
  type TunnelRequest,
} from "../src/index.ts";
import {
  ManualClock,
  type MemoryLink,
  memoryTransportPair,
  type TunnelPair,
  tunnelPair,
} from "../src/testing/index.ts";
import { collect, failure, get, until, untilAborted } from "./support.ts";

/** Where the call is when its end comes. */
type Stage =
  /** Its OPEN waits for the peer's HELLO. */
  | "held"
  /** Its OPEN waits behind a message that the socket has not taken. */
  | "queued"
  /** The far end has it and says nothing. */
  | "running"
  /** A head below 200 has come. */
  | "hinted"
  /** The head of its answer has come. */
  | "answered";

interface World {
  /** The peer; nobody where it never says HELLO. */
  left?: Tunnel;
  right: Tunnel;
  link: MemoryLink;
  clock: ManualClock;
  cancel: AbortController;
  /** Puts a frame before the caller, as if the peer had sent it. */
  say(frame: Frame): void;
}

type Row = [
  end: string,
  code: RevdialErrorCode,
  sent: RequestFate,
  happens: (world: World) => unknown,
  more?: Partial<TunnelRequest>,
];

const NEVER = "not-sent";
const MAYBE = "may-have-run";
/** The first channel of the side that accepted. */
const CHANNEL = 2;
const STALL_MS = 20_000;
const limits = { socketQueueBytes: 1000, stallTimeoutMs: STALL_MS };

const reset = (code: number): Frame => ({ type: "reset", channel: CHANNEL, code, reason: "" });
const goaway = (code: number, lastChannel: number): Frame => ({
  type: "goaway",
  lastChannel,
  code,
  retryAfterMs: 0,
  reason: "",
});

const hello = (smaller: { headBytesMax?: number }): Frame => ({
  type: "hello",
  version: 3,
  ...defaultLimits,
  windowBytes: defaultLimits.windowInitialBytes,
  incarnation: 0n,
  agent: "",
  features: [],
  ...smaller,
});

/** What can happen to the tunnel or by the caller at any stage; `sent` differs. */
const anywhere = (sent: RequestFate): Row[] => [
  ["the caller cancels", "CANCELLED", sent, ({ cancel }) => cancel.abort()],
  ["the deadline passes", "DEADLINE", sent, ({ clock }) => clock.advance(1000), { deadlineMs: 1000 }],
  ["the transport is lost", "TRANSPORT_LOST", sent, ({ link }) => link.cut()],
  ["the tunnel is destroyed here", "DESTROYED", sent, ({ right }) => right.destroy()],
  ["the peer sends text", "MESSAGE_NOT_BINARY", sent, ({ link }) => link.inject("right", "text")],
];

/** What needs a peer that has said HELLO. */
const greeted = (sent: RequestFate): Row[] => [
  ...anywhere(sent),
  [
    "the peer falls silent",
    "DEAD_PEER",
    sent,
    async ({ clock, link }) => {
      link.drop();
      await clock.advance(30_000);
    },
  ],
  ["the peer breaks the protocol", "HELLO_REPEATED", sent, ({ say }) => say(hello({}))],
  [
    "our drain takes too long",
    "DRAINING",
    sent,
    async ({ right, clock }) => {
      void right.close({ drainMs: 1000 });
      await clock.advance(1000);
    },
  ],
  [
    "the peer finds a violation, and has not taken it up",
    "FRAME_FLAGS",
    NEVER,
    ({ say }) => say(goaway(68, 0)),
  ],
  ["the peer goes away, and has not taken it up", "DRAINING", NEVER, ({ say }) => say(goaway(32, 0))],
];

/** What needs an OPEN that has left. */
const left = (refusal: RequestFate): Row[] => [
  [
    "the peer finds a violation, and has taken it up",
    "FRAME_FLAGS",
    MAYBE,
    ({ say }) => say(goaway(68, CHANNEL)),
  ],
  [
    "the peer's drain takes too long",
    "DRAINING",
    MAYBE,
    async ({ left: peer, clock }) => {
      void peer?.close({ drainMs: 1000 });
      await clock.advance(0);
      await clock.advance(1000);
    },
  ],
  ["it is reset: REFUSED", "REFUSED", refusal, ({ say }) => say(reset(wireCodes.REFUSED))],
  ["it is reset: CANCELLED", "CANCELLED", MAYBE, ({ say }) => say(reset(wireCodes.CANCELLED))],
  ["it is reset: DEADLINE", "DEADLINE", MAYBE, ({ say }) => say(reset(wireCodes.DEADLINE))],
  [
    "it is reset: SERVICE_UNKNOWN",
    "SERVICE_UNKNOWN",
    refusal,
    ({ say }) => say(reset(wireCodes.SERVICE_UNKNOWN)),
  ],
  ["it is reset: HANDLER_FAILED", "HANDLER_FAILED", MAYBE, ({ say }) => say(reset(wireCodes.HANDLER_FAILED))],
  ["it is reset: NOT_NEEDED", "NOT_NEEDED", MAYBE, ({ say }) => say(reset(wireCodes.NOT_NEEDED))],
  [
    "it is reset: KIND_UNSUPPORTED",
    "KIND_UNSUPPORTED",
    refusal,
    ({ say }) => say(reset(wireCodes.KIND_UNSUPPORTED)),
  ],
  ["it is reset: STALLED", "STALLED", MAYBE, ({ say }) => say(reset(wireCodes.STALLED))],
  ["it is reset: DRAINING", "DRAINING", refusal, ({ say }) => say(reset(wireCodes.DRAINING))],
  ["it is reset with a number of a later version", "CHANNEL_RESET", MAYBE, ({ say }) => say(reset(31))],
  [
    "its body is not taken",
    "STALLED",
    MAYBE,
    ({ clock }) => clock.advance(STALL_MS + 10_000),
    { method: "POST", body: new Uint8Array(200_000) },
  ],
];

const rows: [Stage, Row[]][] = [
  [
    "held",
    [
      ...anywhere(NEVER),
      ["the peer never says HELLO", "HELLO_TIMEOUT", NEVER, ({ clock }) => clock.advance(10_000)],
      [
        "the peer takes smaller heads",
        "HEAD_TOO_LARGE",
        NEVER,
        ({ say }) => say(hello({ headBytesMax: 1024 })),
        { headers: [["x-a", "a".repeat(2000)]] },
      ],
      ["we go away", "DRAINING", NEVER, ({ right }) => void right.close()],
      [
        "the peer speaks before HELLO",
        "HELLO_EXPECTED",
        NEVER,
        ({ say }) => say({ type: "ping", token: 1n }),
      ],
      ["the peer goes away", "DRAINING", NEVER, ({ say }) => say(goaway(32, 0))],
    ],
  ],
  [
    "queued",
    [
      ...greeted(NEVER),
      ["the peer resets what it has not seen", "CHANNEL_ID", NEVER, ({ say }) => say(reset(1))],
    ],
  ],
  ["running", [...greeted(MAYBE), ...left(NEVER)]],
  // Who has answered, or hinted, has looked, whatever it says afterwards.
  ...(["hinted", "answered"] as const).map((stage): [Stage, Row[]] => [
    stage,
    [...greeted(MAYBE).map(([end, code, , ...rest]): Row => [end, code, MAYBE, ...rest]), ...left(MAYBE)],
  ]),
];

const table = rows.flatMap(([stage, ends]) =>
  ends.map(([end, code, sent, happens, more]) => ({ stage, end, code, sent, happens, more })),
);

type Call = (typeof table)[number];
type Ask = (request: TunnelRequest) => ReturnType<TunnelPair["right"]["request"]>;

/** A tunnel whose peer says nothing, not even HELLO. */
function lonely(clock: ManualClock): Pick<World, "left" | "right" | "link"> {
  const link = memoryTransportPair();
  const nothing = () => undefined;
  const deaf = { bytes: nothing, message: nothing, text: nothing, foreign: nothing, deaf: nothing };
  link.left.start({ ...deaf, drain: nothing, closed: nothing });
  return { link, right: createTunnel(link.right, false, { clock }) };
}

async function greetedPair(clock: ManualClock): Promise<TunnelPair> {
  const pair = tunnelPair({ both: { clock, onHandlerError: () => undefined }, right: { limits } });
  await pair.ready;
  return pair;
}

/** A pair at the stage of the row; the call's end. `asking` makes what is asked with out of the caller's tunnel. */
async function play(
  { stage, happens, more }: Call,
  asking: (world: World) => Promise<Ask>,
): Promise<{ world: World; outcome: Promise<unknown>; runs: () => number }> {
  const clock = new ManualClock();
  const pair = stage === "held" ? lonely(clock) : await greetedPair(clock);
  const { left: peer, right, link } = pair;
  const world: World = {
    ...pair,
    clock,
    cancel: new AbortController(),
    say: (frame) => link.inject("right", encodeFrame(frame, defaultLimits)),
  };
  let runs = 0;
  const hold: RequestHandler = async ({ signal }, reply) => {
    runs += 1;
    if (stage === "hinted") reply.interim(103);
    if (stage === "answered") reply.head(200);
    await untilAborted(signal);
  };
  peer?.serve(hold);
  const ask = await asking(world);
  if (stage === "queued") {
    link.hold("left", true);
    right.notify("filling", new Uint8Array(2 * limits.socketQueueBytes));
    await clock.advance(0);
  }
  let heads = 0;
  const onInterim = () => {
    heads += 1;
  };
  const outcome = ask({ ...get("/"), signal: world.cancel.signal, onInterim, ...more }).then(
    async (response) => {
      heads += 1;
      return response.status + (await collect(response.body)).byteLength;
    },
  );
  outcome.catch(() => undefined);
  if (stage === "running") await until(() => runs === 1);
  if (stage === "hinted" || stage === "answered") await until(() => heads === 1);
  await clock.advance(0);
  await happens(world);
  return { world, outcome, runs: () => runs };
}

async function leave({ left: peer, right, clock }: World): Promise<void> {
  peer?.destroy();
  right.destroy();
  await Promise.all([peer?.closed, right.closed]);
  await clock.advance(2000);
  expect(clock.pending).toBe(0);
}

describe("the error of a call", () => {
  it.each(table)("that is $stage says $code, $sent, when $end", async (call) => {
    const { world, outcome, runs } = await play(
      call,
      async ({ right }) =>
        (request) =>
          right.request(request),
    );
    expect(await failure(outcome)).toMatchObject({ code: call.code, sent: call.sent });
    // A call that was not sent has not run; the peer's own word is believed, and here it is a lie.
    if (call.stage === "held" || call.stage === "queued") expect(runs()).toBe(0);
    await leave(world);
  });

  it.each<[string, RevdialErrorCode, Partial<TunnelRequest>, ((world: TunnelPair) => unknown)?]>([
    ["its signal has aborted", "CANCELLED", { signal: AbortSignal.abort() }],
    ["its deadline has passed", "DEADLINE", { deadlineMs: 0 }],
    ["it makes no sense", "ARGUMENT", { deadlineMs: Number.NaN }],
    ["its head may not travel", "HEAD_INVALID", { path: "no slash" }],
    ["its head is too large", "HEAD_TOO_LARGE", { headers: [["x-a", "a".repeat(40_000)]] }],
    [
      "the peer has no channel left",
      "REFUSED",
      {},
      ({ right }) => void right.request(get("/")).catch(() => undefined),
    ],
    ["the tunnel drains", "DRAINING", {}, ({ right }) => void right.close()],
    ["the tunnel has ended", "CLOSED", {}, ({ right }) => right.destroy()],
  ])("that cannot leave because %s says %s, not sent", async (_why, code, wrong, ...happens) => {
    const clock = new ManualClock();
    const pair = tunnelPair({ both: { clock, limits: { channelsMax: 1 } } });
    pair.left.serve(({ signal }) => untilAborted(signal));
    await pair.ready;
    happens[0]?.(pair);
    expect(await failure(pair.right.request({ ...get("/"), ...wrong }))).toMatchObject({ code, sent: NEVER });
    pair.left.destroy();
    pair.right.destroy();
    await Promise.all([pair.left.closed, pair.right.closed]);
  });

  it("is known for every code that a channel can end with", () => {
    const met = new Set(table.map(({ code }) => code));
    const ofChannels = revdialErrorCodes.slice(0, revdialErrorCodes.indexOf("DRAINING") + 1);
    expect(ofChannels.filter((code) => code !== "NONE" && !met.has(code))).toEqual([]);
  });
});

describe("a set with another member", () => {
  /** The caller has given up, or every member would say the same. */
  const final: RevdialErrorCode[] = ["CANCELLED", "DEADLINE", "SERVICE_UNKNOWN", "KIND_UNSUPPORTED"];
  // Members are asked once they are up, so none of their calls is held.
  const calls = table.filter(({ stage }) => stage !== "held");

  it.each(calls)("deals with a call that is $stage ($code, $sent) when $end", async (call) => {
    let again = 0;
    let second: TunnelPair | undefined;
    const { world, outcome } = await play(call, async ({ clock, right }) => {
      const set = createTunnelSet({ clock });
      set.add(right);
      second = tunnelPair({ both: { clock } });
      second.left.serve(() => {
        again += 1;
        return { status: 200 };
      });
      set.add(second.right);
      await second.ready;
      await clock.advance(0);
      return (request) => set.request(request);
    });
    const repeats = call.sent === NEVER && !final.includes(call.code);
    if (repeats) expect(await outcome).toBe(200);
    else expect(await failure(outcome)).toMatchObject({ code: call.code, sent: call.sent });
    expect(again).toBe(repeats ? 1 : 0);
    second?.left.destroy();
    await second?.right.closed;
    await leave(world);
  });

  it("never sends again a body that can be read once", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const pairs = [tunnelPair({ both: { clock } }), tunnelPair({ both: { clock } })];
    for (const { left: peer, right, ready } of pairs) {
      peer.serve(() => {
        throw new RevdialError("REFUSED", "busy");
      });
      await ready;
      set.add(right);
    }
    await clock.advance(0);
    const opened = () => pairs.reduce((sum, { right }) => sum + right.metrics.openedOutbound, 0);
    async function* once(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(1);
    }
    for (const [body, opens] of [
      [new Uint8Array(1), 2],
      [undefined, 2],
      [once(), 1],
    ] as const) {
      const before = opened();
      expect((await failure(set.request({ ...get("/"), method: "POST", body }))).code).toBe("REFUSED");
      expect(opened() - before).toBe(opens);
    }
    set.destroy();
    await set.closed;
    for (const { left: peer } of pairs) peer.destroy();
  });
});
