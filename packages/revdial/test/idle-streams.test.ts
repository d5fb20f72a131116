/** A long path, in a time of our own: what streams that are open and say nothing cost a download beside them. */
import { describe, expect, it } from "@jest/globals";
import { createTunnel } from "../src/core-tunnel.ts";
import type { RequestHandler, Tunnel } from "../src/index.ts";
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
  if (path === "/download") return { status: 200, body: download() };
  reply.head(200, [["content-type", "text/event-stream"]]);
  reply.write(text.encode("data: hello\n\n"));
  return untilAborted(signal).catch(() => undefined) as Promise<void>;
};

async function* download(): AsyncIterable<Uint8Array> {
  const chunk = new Uint8Array(16 * 1024);
  for (let bytes = 0; bytes < DOWNLOAD_BYTES; bytes += chunk.byteLength) yield chunk;
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

describe("streams that are open and idle", () => {
  it("hold no more than their first window, and do not slow a download on a long path", async () => {
    const clock = new ManualClock();
    const [near, far] = longLink(clock);
    const caller = createTunnel(near, true, { clock, limits });
    const server = createTunnel(far, false, { clock, limits });
    server.serve(serve);
    await waysOf(clock, caller.reached);
    for (let warm = 0; warm < 2; warm += 1) await waysOf(clock, downloaded(caller));
    const alone = await waysOf(clock, downloaded(caller));

    const heard: AsyncIterator<Uint8Array>[] = [];
    for (let stream = 0; stream < 2; stream += 1) {
      const listen = caller.request(get("/events")).then(async ({ body }) => {
        const events = body[Symbol.asyncIterator]();
        heard.push(events);
        await events.next();
      });
      await waysOf(clock, listen);
    }
    const { core } = caller as unknown as { core: { size: { budgetUsedBytes: number } } };
    expect(core.size.budgetUsedBytes).toBe(2 * limits.windowInitialBytes);
    const beside = await waysOf(clock, downloaded(caller));
    expect(beside).toBeLessThanOrEqual(alone + 2);

    caller.destroy();
    server.destroy();
    await until(() => clock.pending === 0 || caller.load === 0);
    await Promise.all([caller.closed, server.closed]);
  });
});
