/** Peers that want our memory, one call each; every call answers with what was held at most, and in the end. */
import { wireCodes } from "../../src/errors.ts";
import type { Frame } from "../../src/frame.ts";
import { defaultLimits } from "../../src/limits.ts";
import { tunnelPair } from "../../src/testing/index.ts";
import { data, open, write } from "../cores.ts";
import { bystander, serveBystander } from "./bystander.ts";
import { Feed, turns } from "./feed.ts";
import { answerParent, heldBytes } from "./parent.ts";
import { answersOnce, endUnread, type Reader, type Way } from "./unread.ts";

const { windowInitialBytes } = defaultLimits;

export interface Measured {
  /** Bytes held above the beginning: at most, and when all is over. */
  peakBytes: number;
  leftBytes: number;
  [fact: string]: unknown;
}

const reset = (channel: number): Frame => ({ type: "reset", channel, code: wireCodes.CANCELLED, reason: "" });
const ping: Frame = { type: "ping", token: 1n };

class Meter {
  private base = 0;
  private peak = 0;

  get peakBytes(): number {
    return this.peak;
  }

  async begin(): Promise<void> {
    this.base = await heldBytes();
  }

  async look(): Promise<void> {
    this.peak = Math.max(this.peak, (await heldBytes()) - this.base);
  }

  async end(facts: Record<string, unknown> = {}): Promise<Measured> {
    const leftBytes = (await heldBytes()) - this.base;
    return { peakBytes: Math.max(this.peak, leftBytes), leftBytes, ...facts };
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}

/** A body without end, and how much of it was asked for. */
function plenty(chunkBytes: number) {
  const given = { bytes: 0 };
  async function* body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      given.bytes += chunkBytes;
      yield new Uint8Array(chunkBytes);
    }
  }
  return { given, body };
}

/** Opens and resets as fast as it can. */
async function rapidReset(times: number, guarded: boolean): Promise<Measured> {
  const meter = new Meter();
  const none = guarded ? {} : { opensPerSecondMax: 1e9, resetsPerWindowMax: 1e9 };
  const feed = new Feed(none);
  let [started, stopped] = [0, 0];
  feed.tunnel.serve((_request, reply) => {
    started += 1;
    return new Promise((resolve) => {
      reply.onClose(() => {
        stopped += 1;
        resolve();
      });
    });
  });
  const perMessage = 500; // Below channelsMax: handlers stop a turn after their reset.
  let opened = 0;
  for (let round = 0; opened < times && feed.end === undefined; round += 1) {
    const ids = Array.from({ length: perMessage }, (_, index) => 2 * (opened + index) + 1);
    feed.hear(write(...ids.flatMap((id) => [open(id), reset(id)])));
    opened += perMessage;
    await turns(2);
    if (round === 40) await meter.begin(); // Warm by now.
    if (round > 40 && round % 400 === 0) await meter.look();
  }
  const code = feed.end?.code;
  const facts = { opened, started, stopped, code, load: feed.tunnel.load, mistakes: feed.mistakes.length };
  return meter.end(facts);
}

/** Opens and resets while our handlers do not stop. */
async function stubbornHandlers(times: number): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  let started = 0;
  feed.tunnel.serve(() => {
    started += 1;
    return new Promise(() => undefined);
  });
  await meter.begin();
  for (let id = 1; id < 2 * times && feed.end === undefined; id += 1000) {
    const ids = Array.from({ length: 500 }, (_, index) => id + 2 * index);
    feed.hear(write(...ids.flatMap((one) => [open(one), reset(one)])));
    await turns(1);
  }
  return meter.end({ started, code: feed.end?.code });
}

/** Lets us have no window, or never reads; asks for bodies without end on every channel there is. */
async function starved(how: "no-window" | "no-reading"): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed({ stallTimeoutMs: 60_000 }, how === "no-window" ? { windowBytes: 0 } : {});
  const chunkBytes = 16_384;
  const { given, body } = plenty(chunkBytes);
  let stopped = 0;
  feed.tunnel.serve((request) => {
    request.signal.addEventListener("abort", () => {
      stopped += 1;
    });
    return { status: 200, body: body() };
  });
  await turns(2);
  await meter.begin();
  feed.reads = how === "no-window";
  const { channelsMax } = defaultLimits;
  for (let n = 0; n < channelsMax; n += 1) feed.hear(write(open(2 * n + 1, { end: true })));
  await turns(100);
  await meter.look();
  const before = given.bytes;
  const { queuedBytes } = feed;
  // It stays alive and takes nothing.
  for (let seconds = 0; seconds < 70; seconds += 1) {
    feed.hear(write({ type: "pong", token: 0n }));
    await feed.clock.advance(1000);
  }
  const more = given.bytes - before;
  const { load } = feed.tunnel;
  feed.tunnel.destroy();
  await turns(5);
  return meter.end({ given: before, more, queuedBytes, stopped, load, mistakes: feed.mistakes.length });
}

/** Makes us answer and does not read. */
async function unreadAnswers(): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  await turns(2);
  feed.reads = false;
  feed.queuedBytes = defaultLimits.socketQueueBytes;
  await meter.begin();
  let pings = 0;
  const message = write(...Array.from({ length: 1000 }, () => ping));
  while (feed.end === undefined && pings < 1_000_000) {
    feed.hear(message);
    pings += 1000;
    if (pings % 20_000 === 0) {
      await turns(1);
      await meter.look();
    }
  }
  await turns(1);
  return meter.end({ pings, code: feed.end?.code });
}

/** A tunnel of somebody honest in this process, with exchanges in flight. */
async function honest(mistakes: unknown[]) {
  const { left, right } = tunnelPair({ both: { onHandlerError: (error) => void mistakes.push(error) } });
  right.serve(serveBystander);
  return bystander(left);
}

/** Breaks the rules, each time on a tunnel of its own that somebody goes on holding. */
async function violations(times: number): Promise<Measured> {
  const headers = Array.from({ length: 2100 }, () => ["a", ""] as const);
  const credit = (bytes: number): Frame => ({ type: "credit", channel: 1, bytes });
  const cases: [string, Frame[]][] = [
    ["WINDOW_EXCEEDED", [open(1), data(1, windowInitialBytes), data(1, 1)]],
    ["FRAME_TOO_LARGE", [open(1), data(1, 65_537)]],
    ["CREDIT_INVALID", [open(1), credit(0x7fff_ffff)]],
    ["CREDIT_INVALID", [open(1), credit(0)]],
    ["HEAD_TOO_LARGE", [open(1, { headers })]],
    ["CHANNEL_ID", [open(1), reset(1), open(1)]],
    ["CHANNEL_ID", [open(2)]],
    ["CHANNEL_STATE", [open(1), data(1, 10, true), data(1, 10)]],
    ["EMPTY_FLOOD", [open(1), ...Array.from({ length: 20_000 }, () => data(1, 0))]],
  ];
  const messages = cases.map(([code, frames]) => [code, write(...frames)] as const);
  const meter = new Meter();
  const held: Feed[] = [];
  const wrong: string[] = [];
  const mistakes: unknown[] = [];
  const finish = await honest(mistakes);
  for (let round = 0; round < times; round += 1) {
    for (const [code, message] of messages) {
      const feed = new Feed();
      feed.tunnel.serve((request) => untilAborted(request.signal));
      feed.hear(message);
      await turns(1);
      if (feed.end?.code !== code) wrong.push(`${code}: ${feed.end?.code}`);
      mistakes.push(...feed.mistakes);
      if (round > 0) held.push(feed);
    }
    if (round === 0) await meter.begin();
  }
  await meter.look();
  const tunnels = held.length;
  held.length = 0;
  const measured = await meter.end({ tunnels, wrong });
  const others = [await finish(), await (await honest(mistakes))()];
  return { ...measured, others, mistakes: mistakes.map(String) };
}

/** Sends heads as large as they may be, on every channel. */
async function largeHeads(): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  feed.tunnel.serve((request) => untilAborted(request.signal));
  const headers = Array.from({ length: 250 }, (_, n) => [`x-${n}`, "v".repeat(110)] as const);
  await meter.begin();
  let bytes = 0;
  for (let n = 0; n < defaultLimits.channelsMax; n += 1) {
    const message = write(open(2 * n + 1, { headers }));
    bytes += message.byteLength;
    feed.hear(message);
  }
  await turns(5);
  await meter.look();
  const { load } = feed.tunnel;
  feed.tunnel.destroy();
  await turns(5);
  return meter.end({ bytes, load });
}

/** Sends what is skipped, ignored or heard at once, for ever. */
async function nothingToKeep(): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  let heard = 0;
  feed.tunnel.onNotice(() => {
    heard += 1;
  });
  const unknown = Buffer.concat([Buffer.from([0, 4, 0, 0x40, 0xff, 0, 0, 0, 9]), Buffer.alloc(1024)]);
  const unasked: Frame = { type: "pong", token: 99n };
  const notice: Frame = { type: "notice", notice: "n", payload: new Uint8Array(100) };
  const late = [open(1), reset(1), data(1, 1000), data(1, 0), reset(1)];
  const frames = write(...late, ...Array.from({ length: 200 }, () => notice), unasked);
  feed.hear(frames);
  await meter.begin();
  const again = Buffer.concat([unknown, write(data(1, 1000), reset(1), unasked, notice)]);
  for (let round = 0; round < 200_000; round += 1) feed.hear(again);
  return meter.end({ heard, load: feed.tunnel.load, code: feed.end?.code });
}

/** Sends bodies of a few bytes inside messages as large as they may be, and our handlers do not read. */
async function smallInLarge(messages: number): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  feed.tunnel.serve((request) => untilAborted(request.signal));
  const filler = Buffer.concat([Buffer.from([1, 0, 0, 0x40, 0, 0, 0, 0, 0]), Buffer.alloc(0x1_0000)]);
  await meter.begin();
  for (let n = 0; n < messages; n += 1) {
    const id = 2 * n + 1;
    const message = Buffer.concat([
      write(open(id), data(id, 10)),
      ...Array.from({ length: 15 }, () => filler),
    ]);
    feed.hear(message);
  }
  await turns(5);
  await meter.look();
  const { load } = feed.tunnel;
  feed.tunnel.destroy();
  await turns(5);
  return meter.end({ load, code: feed.end?.code });
}

/** Sends bodies in pieces of sizes that do not fit together, and our handlers do not read. */
async function oddPieces(channels: number, sizes: number[]): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  feed.tunnel.serve((request) => untilAborted(request.signal));
  await turns(2);
  await meter.begin();
  let bytes = 0;
  for (let n = 0; n < channels; n += 1) {
    bytes += hearPieces(feed, 2 * n + 1, sizes);
    await turns(1);
  }
  await meter.look();
  const { load } = feed.tunnel;
  feed.tunnel.destroy();
  await turns(5);
  return meter.end({ load, bytes, code: feed.end?.code });
}

/** A window's worth of one channel. What it is made of is nobody's afterwards: a function that waits would hold it and be measured. */
function hearPieces(feed: Feed, id: number, sizes: readonly number[]): number {
  const frames = [open(id)];
  let bytes = 0;
  for (let at = 0; bytes < windowInitialBytes; at += 1) {
    const size = Math.min(windowInitialBytes - bytes, sizes[at % sizes.length] as number);
    frames.push(data(id, size));
    bytes += size;
  }
  feed.hear(write(...frames));
  return bytes;
}

/** Ends so many bodies, each with its window as large as a reader that kept up could make it, and full: nobody reads on. */
async function endsUnread(times: number, way: Way, forget: boolean): Promise<Measured> {
  const meter = new Meter();
  const feed = new Feed();
  await turns(2);
  await meter.begin();
  const readers: Reader[] = [];
  let refused = 0;
  for (let n = 0; n < times && meter.peakBytes < 4 * defaultLimits.receiveBudgetBytes; n += 1) {
    const reader = await endUnread(feed, way);
    if (reader) readers.push(reader);
    else refused += 1;
    // After 1, 2, 4, 8, …: a collection takes its time.
    if ((n & (n + 1)) === 0) await meter.look();
  }
  const ended = readers.length;
  const { load } = feed.tunnel;
  const facts = { ended, refused, load, code: feed.end?.code };
  await meter.look();
  if (!forget) for (const reader of readers) reader.drop();
  readers.length = 0;
  const measured = await meter.end(facts);
  const status = await answersOnce(feed);
  const { budgetUsedBytes } = (feed.tunnel as unknown as { core: { size: { budgetUsedBytes: number } } }).core
    .size;
  return { ...measured, status, budgetUsedBytes, mistakes: feed.mistakes.map(String) };
}

/** Asks for large answers, does not read them, and is gone in one of three ways; somebody goes on holding the tunnels. */
async function endedWithAnswersQueued(
  tunnels: number,
  how: "destroyed" | "violation" | "fatal GOAWAY",
): Promise<Measured> {
  const last: Partial<Record<string, Frame>> = {
    violation: data(1, 1),
    "fatal GOAWAY": { type: "goaway", lastChannel: 0, code: 70, retryAfterMs: 0, reason: "" },
  };
  const meter = new Meter();
  await meter.begin();
  const held: Feed[] = [];
  for (let n = 0; n < tunnels; n += 1) {
    const feed = new Feed({}, { windowBytes: 0 });
    feed.tunnel.serve(() => ({ status: 200, body: new Uint8Array(100_000) }));
    feed.hear(write(...Array.from({ length: 100 }, (_, index) => open(2 * index + 1, { end: true }))));
    await turns(2);
    const frame = last[how];
    if (frame === undefined) feed.tunnel.destroy();
    else feed.hear(write(frame));
    held.push(feed);
  }
  await turns(5);
  const loads = held.map(({ tunnel }) => tunnel.load);
  const codes = held.map(({ end }) => end?.code);
  const measured = await meter.end({ loads, codes: [...new Set(codes)] });
  return { ...measured, tunnels: held.length };
}

answerParent({
  endedWithAnswersQueued,
  endsUnread,
  rapidReset,
  stubbornHandlers,
  starved,
  unreadAnswers,
  violations,
  largeHeads,
  nothingToKeep,
  smallInLarge,
  oddPieces,
});
