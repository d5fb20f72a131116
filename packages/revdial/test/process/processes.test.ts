/** Two processes and a real WebSocket: a peer that stands still, one that is cut off silently, and calls by the thousand. */

import { afterEach, describe, expect, it } from "@jest/globals";
import { type Relay, relay } from "../relay.ts";
import type { Tally } from "./calls.ts";
import { type Child, startChild } from "./child.ts";
import type { Left } from "./parent.ts";
import { streamHash } from "./stream.ts";

interface State {
  given: number;
  rss: number;
  load: number;
  aborted: number;
  mistakes: string[];
}

const MIB = 2 ** 20;
const children: Child[] = [];

function start(file: string, ...nodeArguments: string[]): Child {
  const child = startChild(file, nodeArguments);
  children.push(child);
  return child;
}

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop()));
});

/** An acceptor and a dialler, joined. */
async function pair(
  options: object = {},
  ...nodeArguments: string[]
): Promise<{ acceptor: Child; dialler: Child }> {
  const [acceptor, dialler] = [start("acceptor.ts", ...nodeArguments), start("dialler.ts", ...nodeArguments)];
  const url = await acceptor.ask<string>("listen", options);
  await acceptor.ask("guard", dialler.pid);
  await dialler.ask("dial", url, options);
  return { acceptor, dialler };
}

describe("a dialler that is stopped while the acceptor streams 1 GiB to it", () => {
  const TOTAL_BYTES = 1024 * MIB;
  /** Until then the acceptor's heap has found its size. */
  const WARM_BYTES = 64 * MIB;
  const GROWTH_BYTES_MAX = 16 * MIB;
  /** Questions the acceptor answers one after the other, in all of which its producer has to stand still. */
  const STILL_LOOKS = 400;

  it("costs the acceptor less than 16 MiB, and gets the whole stream once it goes on", async () => {
    const { acceptor, dialler } = await pair();
    await dialler.ask("begin", TOTAL_BYTES, WARM_BYTES);
    const before = await acceptor.ask<State>("state");
    dialler.signal("SIGSTOP");
    let peakBytes = 0;
    let given = -1;
    for (let still = 0; still < STILL_LOOKS; ) {
      const now = await acceptor.ask<State>("state");
      peakBytes = Math.max(peakBytes, now.rss);
      still = now.given === given ? still + 1 : 0;
      given = now.given;
    }
    expect(given).toBeLessThan(TOTAL_BYTES);
    expect(peakBytes - before.rss).toBeLessThan(GROWTH_BYTES_MAX);
    dialler.signal("SIGCONT");
    expect(await dialler.ask("finish")).toEqual({ hash: streamHash(TOTAL_BYTES), bytes: TOTAL_BYTES });
    expect(await acceptor.ask<State>("state")).toMatchObject({ given: TOTAL_BYTES, mistakes: [] });
  }, 60_000);
});

describe("a path that swallows everything and keeps its sockets open", () => {
  /** The time of both sides moves when it is told to. */
  const BY_HAND = true;
  let path: Relay;

  afterEach(() => path.stop());

  it("is noticed by both sides as a dead peer", async () => {
    const [acceptor, dialler] = [start("acceptor.ts"), start("dialler.ts")];
    path = await relay(await acceptor.ask<string>("listen", {}, BY_HAND));
    await dialler.ask("dial", path.url, {}, BY_HAND);
    expect(await dialler.ask<Tally>("ask", 20, 1000)).toMatchObject({ crossed: [] });
    path.swallow("up");
    path.swallow("down");
    const ends = [acceptor.ask<string>("ended"), dialler.ask<string>("ended")];
    // What is asked now waits for its answer until the end.
    const late = dialler.ask<Tally>("ask", 3, 1000);
    for (const side of [acceptor, dialler]) await side.ask("advance", 14_000);
    expect(await dialler.ask("load")).toBe(3);
    for (const side of [acceptor, dialler]) await side.ask("advance", 1000);
    expect(await Promise.all(ends)).toEqual(["DEAD_PEER", "DEAD_PEER"]);
    expect(await late).toEqual({ answered: 0, codes: { DEAD_PEER: 3 }, crossed: [] });
  });
});

describe("calls by the thousand over a real socket", () => {
  /** Less than the smallest thing that a call makes. */
  const HELD_BYTES_PER_CALL = 16;
  /** By which a heap moves by itself, whatever is called. */
  const NOISE_BYTES = 256 * 1024;

  /** What both processes hold, and what they have open, once nothing is in flight. */
  async function rest({ acceptor, dialler }: Record<"acceptor" | "dialler", Child>) {
    // The last RESET is on its way when the last call has failed.
    await acceptor.ask("idle");
    const held = [await acceptor.ask<number>("held"), await dialler.ask<number>("held")];
    return { held, left: [await leastLeft(acceptor), await leastLeft(dialler)] };
  }

  /** A ping may be on its way at any moment, and have a timer. */
  async function leastLeft(child: Child): Promise<Left | undefined> {
    const looks: Left[] = [];
    for (let look = 0; look < 20; look += 1) looks.push(await child.ask<Left>("left"));
    return looks.toSorted((one, other) => one.timers - other.timers)[0];
  }

  // Over HTTP, where POSTs follow each other, they are fewer.
  it.each([
    ["100,000", "a WebSocket", "websocket", 25_000],
    ["20,000", "HTTP", "http", 5000],
  ] as const)(
    "leave nothing behind on either side when %s of them over %s are given up, half of them while they run",
    async (_count, _name, transport, calls) => {
      const both = await pair({ transport }, "--expose-gc");
      const { acceptor, dialler } = both;
      // Heaps and tables find their sizes.
      await dialler.ask("abort", 2 * calls, 100);
      let last = await rest(both);
      // Twice: a heap gives megabytes back once in its life, which would hide what is left behind by then.
      for (let round = 0; round < 2; round += 1) {
        expect(await dialler.ask("abort", calls, 100)).toEqual({ CANCELLED: calls });
        const now = await rest(both);
        for (const [side, held] of now.held.entries())
          expect(held - (last.held[side] as number)).toBeLessThan(
            Math.max(HELD_BYTES_PER_CALL * calls, NOISE_BYTES),
          );
        expect(now.left).toEqual(last.left);
        last = now;
      }
      expect(await dialler.ask("load")).toBe(0);
      const { aborted, mistakes } = await acceptor.ask<State>("state");
      expect(mistakes).toEqual([]);
      expect(aborted).toBeGreaterThanOrEqual(2 * calls);
    },
    120_000,
  );

  it("never get each other's answers: 2,000 at once from either side, every fifth given up", async () => {
    const many = { limits: { channelsMax: 4000, windowInitialBytes: 8192 } };
    const { acceptor, dialler } = await pair(many);
    const tallies = await Promise.all([
      dialler.ask<Tally>("ask", 2000, 5),
      acceptor.ask<Tally>("ask", 2000, 5),
    ]);
    for (const { answered, codes, crossed } of tallies) {
      expect(crossed).toEqual([]);
      expect(Object.keys(codes).filter((code) => code !== "CANCELLED")).toEqual([]);
      expect(answered + (codes.CANCELLED ?? 0)).toBe(2000);
      expect(answered).toBeGreaterThanOrEqual(1600);
    }
    // And the tunnel is as good as new.
    expect(await dialler.ask<Tally>("ask", 200, 1000)).toMatchObject({ crossed: [] });
  }, 60_000);
});

describe("the processes of these tests", () => {
  it("end when whoever started them does", async () => {
    const { acceptor, dialler } = await pair();
    dialler.signal("SIGSTOP");
    acceptor.abandon();
    // The acceptor ends because nobody holds its input any more, and takes along whom it guards.
    await Promise.all([acceptor.gone, dialler.gone]);
  });
});
