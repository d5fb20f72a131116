/** What the windows of several tunnels grow by together, whoever of them holds it. */
import { describe, expect, it } from "@jest/globals";
import { type Channel, newChannel } from "./channel.ts";
import { GrowthPool } from "./growth-pool.ts";
import { Windows } from "./windows.ts";

const FIRST_BYTES = 1000;
const limits = {
  channelsMax: 10,
  windowInitialBytes: FIRST_BYTES,
  windowMaxBytes: 8000,
  receiveBudgetBytes: 100_000,
};

/** One channel of a tunnel of its own, on a long path. */
function ofATunnel(pool: GrowthPool) {
  const windows = new Windows(limits, pool);
  windows.measured(50);
  const channel = newChannel(1, true, { kind: 0, method: "GET" }, 0, FIRST_BYTES);
  expect(windows.admit(channel)).toBe(true);
  return { windows, channel };
}
type OfATunnel = ReturnType<typeof ofATunnel>;

/** The peer fills the window and the reader takes it, at once, so many times. */
function consume({ windows, channel }: OfATunnel, times: number): Channel {
  for (let now = 0; now < times; now += 1) {
    const bytes = channel.receiveCredit;
    windows.received(channel, bytes);
    windows.consumed(channel, bytes, false, now);
  }
  return channel;
}
const grown = ({ channel }: OfATunnel) => channel.windowBytes - FIRST_BYTES;

describe("a pool of growth", () => {
  it("holds what all windows have grown by, and has it again when they are over", () => {
    const pool = new GrowthPool(1_000_000);
    const tunnels = [ofATunnel(pool), ofATunnel(pool)];
    expect(pool.usedBytes).toBe(0);
    for (const tunnel of tunnels) consume(tunnel, 5);
    expect(pool.usedBytes).toBe(14_000);
    for (const { windows, channel } of tunnels) windows.remoteEnded(channel);
    expect(pool.usedBytes).toBe(0);
  });

  it("is never exceeded, however many tunnels there are and however they stall", () => {
    const pool = new GrowthPool(10_000);
    const tunnels = Array.from({ length: 50 }, () => ofATunnel(pool));
    for (const [n, tunnel] of tunnels.entries()) {
      consume(tunnel, 6);
      // Every other one has its window filled and never reads on.
      if (n % 2 === 0) tunnel.windows.received(tunnel.channel, tunnel.channel.receiveCredit);
      expect(pool.usedBytes).toBeLessThanOrEqual(10_000);
    }
    expect(tunnels.reduce((sum, tunnel) => sum + grown(tunnel), 0)).toBe(pool.usedBytes);
    expect(pool.usedBytes).toBeGreaterThan(9000);
  });

  it("leaves a part to who comes next, whoever holds the rest and stalls", () => {
    const pool = new GrowthPool(8000);
    const first = ofATunnel(pool);
    consume(first, 6);
    first.windows.received(first.channel, first.channel.receiveCredit);
    expect(grown(first)).toBe(6000);
    const second = ofATunnel(pool);
    consume(second, 6);
    expect(grown(second)).toBe(1500);
  });

  it("is shared evenly by those that consume, since each shrinks as another grows", () => {
    const pool = new GrowthPool(10_000);
    const tunnels = [ofATunnel(pool), ofATunnel(pool), ofATunnel(pool)];
    for (let turn = 0; turn < 40; turn += 1) for (const tunnel of tunnels) consume(tunnel, 1);
    // Each three quarters of what the other two have left of 10,000.
    expect(tunnels.map((tunnel) => Math.round(grown(tunnel) / 100))).toEqual([30, 30, 30]);
  });

  it("of nothing leaves every channel its first window, and refuses none", () => {
    const pool = new GrowthPool(0);
    const tunnels = Array.from({ length: 20 }, () => ofATunnel(pool));
    for (const tunnel of tunnels) consume(tunnel, 6);
    expect(tunnels.map(grown)).toEqual(tunnels.map(() => 0));
    expect(pool.usedBytes).toBe(0);
  });

  it("counts what nobody has read of a channel that is over, above its first window", () => {
    const pool = new GrowthPool(100_000);
    const tunnel = ofATunnel(pool);
    const { windows, channel } = tunnel;
    consume(tunnel, 6);
    windows.received(channel, channel.receiveCredit);
    windows.remoteEnded(channel);
    expect(pool.usedBytes).toBe(7000);
    windows.consumed(channel, 6500, true, 10);
    expect(pool.usedBytes).toBe(500);
    windows.consumed(channel, 1500, true, 11);
    expect(pool.usedBytes).toBe(0);
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "5" as unknown as number])(
    "of %p bytes is refused",
    (bytes) => {
      expect(() => new GrowthPool(bytes)).toThrow("bytesMax is no whole number");
    },
  );
});
