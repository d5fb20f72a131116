/** A long path, in a time of our own: what streams that say nothing, or that nobody reads, cost a download beside them. */
import { describe, expect, it } from "@jest/globals";
import { createTunnel } from "../src/core-tunnel.ts";
import type { RequestHandler, Tunnel, TunnelLimits } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import type { Transport, TransportEvents } from "../src/transport.ts";
import { get, text, until, untilAborted } from "./support.ts";

const ONE_WAY_MS = 25;
const DOWNLOAD_BYTES = 4 * 1024 * 1024;
/** A budget in which windows of two streams would be missing to a third. */
const limits = { windowInitialBytes: 8192, windowMaxBytes: 512 * 1024, receiveBudgetBytes: 1024 * 1024 };

/** Takes everything at once and delivers it when its time has come. */
function longLink(clock: ManualClock): [Transport, Transport] {
  const told: (TransportEvents | undefined)[] = [undefined, undefined];
  const side = (own: number): Transport => ({
    transport: "memory",
    queuedBytes: 0,
    start(events) {
      told[own] = events;
    },
    send(parts) {
      const message = new Uint8Array(Buffer.concat(parts));
      clock.setTimer(ONE_WAY_MS, () => told[1 - own]?.message(message));
    },
    close: () => told[own]?.closed("closed"),
    terminate: () => told[own]?.closed("terminated"),
  });
  return [side(0), side(1)];
}

const serve: RequestHandler = ({ path, signal }, reply) => {
  if (path === "/download") return { status: 200, body: download(DOWNLOAD_BYTES) };
  if (path === "/endless") return { status: 200, body: download(Number.POSITIVE_INFINITY) };
  reply.head(200, [["content-type", "text/event-stream"]]);
  reply.write(text.encode("data: hello\n\n"));
  return untilAborted(signal).catch(() => undefined) as Promise<void>;
};

async function* download(length: number): AsyncIterable<Uint8Array> {
  const chunk = new Uint8Array(16 * 1024);
  for (let bytes = 0; bytes < length; bytes += chunk.byteLength) yield chunk;
}

/** Runs what waits for the link, and counts the times it takes one way. */
async function waysOf(clock: ManualClock, work: Promise<unknown>): Promise<number> {
  let over = false;
  void work.finally(() => {
    over = true;
  });
  let ways = 0;
  for (; !over; ways += 1) await clock.advance(ONE_WAY_MS);
  return ways;
}

async function downloaded(tunnel: Tunnel): Promise<void> {
  let bytes = 0;
  for await (const chunk of (await tunnel.request(get("/download"))).body) bytes += chunk.byteLength;
  expect(bytes).toBe(DOWNLOAD_BYTES);
}

/** Takes `length` bytes of a body without end and then no more. */
async function stalledAfter(tunnel: Tunnel, length: number): Promise<void> {
  const chunks = (await tunnel.request(get("/endless"))).body[Symbol.asyncIterator]();
  for (let bytes = 0; bytes < length; ) bytes += (await chunks.next()).value?.byteLength ?? 0;
}

async function listening(tunnel: Tunnel): Promise<void> {
  const { body } = await tunnel.request(get("/events"));
  await body[Symbol.asyncIterator]().next();
}

const budgetUsed = (tunnel: Tunnel) =>
  (tunnel as unknown as { core: { size: { budgetUsedBytes: number } } }).core.size.budgetUsedBytes;

/** Both ends of a long link in use: the windows have seen what the path takes. */
async function warmPair(clock: ManualClock, limits: Partial<TunnelLimits>) {
  const [near, far] = longLink(clock);
  const caller = createTunnel(near, true, { clock, limits });
  const server = createTunnel(far, false, { clock, limits });
  server.serve(serve);
  await waysOf(clock, caller.reached);
  for (let warm = 0; warm < 2; warm += 1) await waysOf(clock, downloaded(caller));
  const stop = async () => {
    caller.destroy();
    server.destroy();
    await until(() => clock.pending === 0 || caller.load === 0);
    await Promise.all([caller.closed, server.closed]);
  };
  return { caller, stop };
}

describe("streams that are open and idle", () => {
  it("hold no more than their first window, and do not slow a download on a long path", async () => {
    const clock = new ManualClock();
    const { caller, stop } = await warmPair(clock, limits);
    const alone = await waysOf(clock, downloaded(caller));
    for (let stream = 0; stream < 2; stream += 1) await waysOf(clock, listening(caller));
    expect(budgetUsed(caller)).toBe(2 * limits.windowInitialBytes);
    const beside = await waysOf(clock, downloaded(caller));
    expect(beside).toBeLessThanOrEqual(alone + 2);
    await stop();
  });
});

describe("a download on a long path beside one that has grown", () => {
  it("takes no more than four times as long while that one is not read any more", async () => {
    const clock = new ManualClock();
    const { caller, stop } = await warmPair(clock, limits);
    const alone = await waysOf(clock, downloaded(caller));
    await waysOf(clock, stalledAfter(caller, DOWNLOAD_BYTES));
    const beside = await waysOf(clock, downloaded(caller));
    expect(beside).toBeLessThanOrEqual(4 * alone);
    expect(budgetUsed(caller)).toBeGreaterThan(limits.receiveBudgetBytes / 3);
    await stop();
  });

  it("takes no more than twice as long while that one goes on", async () => {
    const clock = new ManualClock();
    const { caller, stop } = await warmPair(clock, limits);
    const alone = await waysOf(clock, downloaded(caller));
    const other = stalledAfter(caller, Number.POSITIVE_INFINITY);
    other.catch(() => undefined);
    for (let way = 0; way < 2 * alone; way += 1) await clock.advance(ONE_WAY_MS);
    const beside = await waysOf(clock, downloaded(caller));
    expect(beside).toBeLessThanOrEqual(2 * alone);
    await stop();
  });

  it("leaves room for 1,000 event streams while it is not read any more", async () => {
    const clock = new ManualClock();
    const { caller, stop } = await warmPair(clock, {});
    await waysOf(clock, stalledAfter(caller, 16 * DOWNLOAD_BYTES));
    const streams = Promise.allSettled(Array.from({ length: 1000 }, () => listening(caller)));
    await waysOf(clock, streams);
    const refused = (await streams).filter(({ status }) => status === "rejected");
    expect(refused).toEqual([]);
    await stop();
  });
});
