/**
 * Hostile peers by name, and what they can make us hold. Each has a process of its own, which measures after collections:
 * bounds are on memory and on counts of live objects, never on time.
 */
import { getDefaultHighWaterMark } from "node:stream";
import { afterEach, describe, expect, it } from "@jest/globals";
import { defaultLimits } from "../src/limits.ts";
import { unharmed } from "./process/bystander.ts";
import { type Child, startChild } from "./process/child.ts";
import type { Measured } from "./process/hostile-peer.ts";

const MIB = 2 ** 20;
const {
  channelsMax,
  sendBudgetBytes,
  socketQueueBytes,
  headBytesMax,
  resetsPerWindowMax,
  receiveBudgetBytes,
  windowInitialBytes,
} = defaultLimits;
let child: Child | undefined;

afterEach(async () => {
  await child?.stop();
});

function measure(call: string, ...args: readonly unknown[]): Promise<Measured> {
  child = startChild("hostile-peer.ts", ["--expose-gc"]);
  return child.ask<Measured>(call, ...args);
}

describe("a hostile peer costs no memory", () => {
  it("that opens and resets 1,000,000 times where nothing stops it", async () => {
    const { peakBytes, leftBytes, ...facts } = await measure("rapidReset", 1_000_000, false);
    expect(facts).toEqual({ opened: 1e6, started: 1e6, stopped: 1e6, load: 0, mistakes: 0 });
    expect(peakBytes).toBeLessThan(4 * MIB);
    expect(leftBytes).toBeLessThan(4 * MIB);
  }, 120_000);

  it("that opens and resets 1,000,000 times against the ordinary limits: it does not get far", async () => {
    const { peakBytes, started, stopped, code } = await measure("rapidReset", 1_000_000, true);
    // It does not wait for the slots that come back in the next ten seconds.
    expect(code).toBe("OPEN_FLOOD");
    expect(started).toBe(resetsPerWindowMax + channelsMax);
    expect(stopped).toBe(started);
    expect(peakBytes).toBeLessThan(4 * MIB);
  });

  it("that opens and resets 100,000 times while our handlers do not stop", async () => {
    const { peakBytes, started, code } = await measure("stubbornHandlers", 100_000);
    expect(started).toBe(channelsMax);
    expect(code).toBe("OPEN_FLOOD");
    expect(peakBytes).toBeLessThan(4 * MIB);
  });

  it("that breaks a rule, on 261 tunnels that somebody goes on holding, and other tunnels notice nothing", async () => {
    const { peakBytes, leftBytes, tunnels, wrong, others, mistakes } = await measure("violations", 30);
    expect(wrong).toEqual([]);
    // What was in flight all the time, and what is begun after it.
    expect({ others, mistakes }).toEqual({ others: [unharmed, unharmed], mistakes: [] });
    expect(tunnels).toBe(261);
    expect(peakBytes).toBeLessThan(261 * 20_000);
    expect(leftBytes).toBeLessThan(MIB);
  });

  it("that sends what is skipped, too late, unasked or heard at once, 200,000 times", async () => {
    const { peakBytes, heard, load, code } = await measure("nothingToKeep");
    expect({ heard, load, code }).toEqual({ heard: 200_200, load: 0, code: undefined });
    expect(peakBytes).toBeLessThan(MIB);
  });
});

describe("a hostile peer costs what the limits say, and no more", () => {
  // What all channels may queue together, and for each of them its share and the chunk that filled it: 16 KiB both.
  const bodiesBytes = sendBudgetBytes + channelsMax * (16_384 + 16_384);

  it("that grants no window on any channel: until it has stalled for too long", async () => {
    const { peakBytes, leftBytes, given, more, stopped, load } = await measure("starved", "no-window");
    expect(given).toBeLessThanOrEqual(bodiesBytes);
    expect(more).toBe(0);
    expect(peakBytes).toBeLessThan(bodiesBytes + 16 * MIB);
    expect({ stopped, load }).toEqual({ stopped: channelsMax, load: 0 });
    expect(leftBytes).toBeLessThan(4 * MIB);
  });

  it("that never reads", async () => {
    const { peakBytes, leftBytes, given, more, queuedBytes, stopped } = await measure(
      "starved",
      "no-reading",
    );
    expect(queuedBytes).toBeLessThan(socketQueueBytes + 128 * 1024);
    expect(given).toBeLessThanOrEqual(bodiesBytes + socketQueueBytes + 128 * 1024);
    expect(more).toBe(0);
    expect(peakBytes).toBeLessThan(bodiesBytes + 16 * MIB);
    // Whatever it held was ours again when the tunnel was ended.
    expect(stopped).toBe(channelsMax);
    expect(leftBytes).toBeLessThan(4 * MIB);
  });

  it("that makes us answer and never reads the answers", async () => {
    const { peakBytes, leftBytes, pings, code } = await measure("unreadAnswers");
    expect(code).toBe("CONTROL_FLOOD");
    expect(pings).toBeLessThan(100_000);
    expect(peakBytes).toBeLessThan(16 * MIB);
    expect(leftBytes).toBeLessThan(MIB);
  });

  // Of a socket, what waits in Node's stream has been read.
  it.each([
    ["dispatcher", false, 0],
    ["request", false, 0],
    ["socket", false, channelsMax * getDefaultHighWaterMark(false)],
    ["request", true, 0],
  ])(
    "that ends 1,024 bodies with windows as large as they get and full, of which nobody reads the rest (%s, forgotten: %p)",
    async (way, forget, besidesBytes) => {
      const { peakBytes, leftBytes, ended, refused, budgetUsedBytes, ...facts } = await measure(
        "endsUnread",
        1024,
        way,
        forget,
      );
      expect(peakBytes).toBeLessThan(receiveBudgetBytes + besidesBytes + 16 * MIB);
      expect(Number(ended) + Number(refused)).toBe(1024);
      expect(ended).toBeGreaterThan(900);
      // Dropped, or collected because nobody holds it any more, it is the tunnel's again.
      expect(leftBytes).toBeLessThan(4 * MIB);
      expect(budgetUsedBytes).toBeLessThanOrEqual(forget ? MIB : 0);
      expect(facts).toEqual({ load: 0, code: undefined, status: 204, mistakes: [] });
    },
    60_000,
  );

  it("that sends heads as large as they may be", async () => {
    const { peakBytes, leftBytes, load } = await measure("largeHeads");
    expect(load).toBe(channelsMax);
    // Strings and lists weigh more than their bytes on the wire.
    expect(peakBytes).toBeLessThan(3 * channelsMax * headBytesMax);
    expect(leftBytes).toBeLessThan(2 * MIB);
  });
});

describe("memory that a peer could use and should not", () => {
  it("is not held by a body of 10 bytes because they came in a message of 1 MiB", async () => {
    const { peakBytes, load } = await measure("smallInLarge", 200);
    expect(load).toBe(200);
    expect(peakBytes).toBeLessThan(receiveBudgetBytes / 4);
  });

  it.each([
    [[1024, 1], 200],
    [[4096, 1], 200],
    [[16_384], 200],
    [[1], 20],
  ])("is little more than the bodies that nobody reads, in pieces of %j bytes", async (sizes, channels) => {
    const { peakBytes, load, bytes } = await measure("oddPieces", channels, sizes);
    expect(load).toBe(channels);
    expect(bytes).toBe(channels * windowInitialBytes);
    expect(peakBytes).toBeLessThan(2.5 * channels * windowInitialBytes);
  });

  it.each([
    ["destroyed", "DESTROYED"],
    ["violation", "CHANNEL_STATE"],
    ["fatal GOAWAY", "HEAD_INVALID"],
  ])("is not held by tunnels that have ended (%s), with answers still queued", async (how, code) => {
    const { leftBytes, loads, codes } = await measure("endedWithAnswersQueued", 10, how);
    expect(codes).toEqual([code]);
    expect(loads).toEqual(Array.from({ length: 10 }, () => 0));
    expect(leftBytes).toBeLessThan(2 * MIB);
  });
});
