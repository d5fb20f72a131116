/**
 * Whole tunnels over a link that delays, cuts and goes silent by seeded dice: every promise settles, every answer
 * belongs to its question, nothing is left. A failing seed is named by its test and can be run alone.
 */
import { describe, expect, it } from "@jest/globals";
import { RevdialError, type Tunnel, type TunnelResponse } from "../src/index.ts";
import { type Fault, ManualClock, seededRandom, tunnelPair } from "../src/testing/index.ts";
import { collect, text, untilAborted } from "./support.ts";

const seeds = Array.from({ length: 60 }, (_, index) => index + 1);
const requestsPerRun = 40;

function faults(random: () => number): () => Fault {
  // Half of the runs lose the link at some delivery, half of those without a word.
  const lossAt = random() < 0.5 ? Math.floor(random() * 120) : Number.POSITIVE_INFINITY;
  const loss: Fault = { kind: random() < 0.5 ? "cut" : "drop" };
  let deliveries = 0;
  return () => {
    deliveries += 1;
    if (deliveries >= lossAt) return loss;
    return random() < 0.3 ? { kind: "delay", turns: 1 + Math.floor(random() * 5) } : { kind: "pass" };
  };
}

/** Answers `/echo` with the path and body, `/fail`, `/late` (never) and `/big`. */
function serve(tunnel: Tunnel, random: () => number): void {
  tunnel.serve(async (request) => {
    if (request.path.startsWith("/fail")) throw new Error("as asked");
    if (request.path.startsWith("/late")) return untilAborted(request.signal);
    if (request.path.startsWith("/big")) return { status: 200, body: new Uint8Array(300_000).fill(7) };
    if (random() < 0.3) await new Promise<void>((resolve) => setImmediate(resolve));
    const body = await collect(request.body);
    return {
      status: 200,
      body: text.encode(`${request.path} ${body.byteLength}`),
      trailers: [["x-path", request.path]],
    };
  });
}

async function ask(tunnel: Tunnel, number: number, random: () => number): Promise<string> {
  const kind = ["echo", "echo", "echo", "fail", "late", "big"][Math.floor(random() * 6)] as string;
  const size = Math.floor(random() * 100_000);
  const cancel = new AbortController();
  const cancels = kind === "late" || random() < 0.2;
  if (cancels) setImmediate(() => setImmediate(() => cancel.abort()));
  const path = `/${kind}/${number}`;
  let reply: TunnelResponse;
  try {
    reply = await tunnel.request({
      service: "sim",
      method: "POST",
      path,
      body: new Uint8Array(size),
      signal: cancel.signal,
    });
    const body = await collect(reply.body);
    if (kind === "big") expect(body.equals(Buffer.alloc(300_000, 7))).toBe(true);
    else {
      expect(body.toString()).toBe(`${path} ${size}`);
      expect(await reply.trailers).toEqual([["x-path", path]]);
    }
    return "answered";
  } catch (error) {
    if (!(error instanceof RevdialError)) throw error;
    return error.code;
  }
}

describe("two tunnels over a bad link", () => {
  it.each(seeds)("settle everything and cross nothing (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    const clock = new ManualClock();
    const both = { clock, onHandlerError: () => undefined };
    const { left, right } = tunnelPair({ both, fault: faults(random) });
    serve(left, random);
    serve(right, random);
    const outcomes: Promise<string>[] = [];
    for (let number = 0; number < requestsPerRun; number += 1) {
      outcomes.push(ask(random() < 0.5 ? left : right, number, random));
      if (random() < 0.3) await clock.advance(random() * 50);
    }
    // Long enough for a silent link to be found dead; a good one is drained.
    for (let second = 0; second < 25; second += 1) await clock.advance(1000);
    const ends = [left.close({ drainMs: 1000 }), right.closed];
    await clock.advance(3000);
    await clock.advance(2000);
    const codes = (await Promise.all(ends)).map((end) => end.code);
    for (const code of codes)
      expect(["CLOSED", "DRAINING", "TRANSPORT_LOST", "DEAD_PEER", "HELLO_TIMEOUT"]).toContain(code);
    const known = ["answered", "CANCELLED", "HANDLER_FAILED", "CLOSED", "DRAINING", ...codes];
    for (const outcome of await Promise.all(outcomes)) expect(known).toContain(outcome);
    expect(clock.pending).toBe(0);
  });
});
