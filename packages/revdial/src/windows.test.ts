import { describe, expect, it } from "@jest/globals";
import { type Channel, newChannel } from "./channel.ts";
import { defaultLimits } from "./limits.ts";
import { Windows } from "./windows.ts";

/** Of a channel only its kind and length count here. */
const requestHead = { kind: 0, method: "GET" };
const limits = {
  channelsMax: 10,
  windowInitialBytes: 1000,
  windowMaxBytes: 8000,
  receiveBudgetBytes: 20_000,
};

function admitted(windows: Windows): Channel {
  const channel = newChannel(1, true, requestHead, 0, limits.windowInitialBytes);
  expect(windows.admit(channel)).toBe(true);
  return channel;
}

const MiB = 1024 * 1024;

/** The peer fills half of the window and the reader takes it, at once. */
function halfTurn(windows: Windows, channel: Channel, now: number): void {
  const bytes = channel.windowBytes / 2;
  windows.received(channel, bytes);
  windows.consumed(channel, bytes, false, now);
}

/** The peer fills the window and the reader takes it, at once; returns the credit given back. */
function turn(windows: Windows, channel: Channel, now: number): number {
  const bytes = channel.receiveCredit;
  windows.received(channel, bytes);
  return windows.consumed(channel, bytes, false, now);
}

describe("a receive window", () => {
  it("gives back exactly what was taken, once half a window was taken", () => {
    const windows = new Windows(limits);
    windows.measured(0);
    const channel = admitted(windows);
    windows.received(channel, 900);
    expect(windows.consumed(channel, 499, false, 5000)).toBe(0);
    expect(windows.consumed(channel, 1, false, 5000)).toBe(500);
    expect(windows.consumed(channel, 400, false, 5000)).toBe(0);
    expect(channel.receiveCredit).toBe(600);
  });

  it("grows fourfold while whole windows are consumed within two round trips, up to its maximum", () => {
    const windows = new Windows(limits);
    windows.measured(50);
    const channel = admitted(windows);
    const sizes: number[] = [];
    for (let now = 100; now <= 600; now += 100) {
      turn(windows, channel, now);
      sizes.push(channel.windowBytes);
    }
    expect(sizes).toEqual([4000, 8000, 8000, 8000, 8000, 8000]);
    expect(channel.receiveCredit).toBe(8000);
  });

  it("does not grow for a reader that takes longer", () => {
    const windows = new Windows(limits);
    windows.measured(50);
    const channel = admitted(windows);
    for (let now = 300; now <= 3000; now += 150) halfTurn(windows, channel, now);
    expect(channel.windowBytes).toBe(1000);
  });

  it("shares what growth may take evenly among those that consume, and leaves a part of it to who comes next", () => {
    const windows = new Windows(limits);
    const channels = [admitted(windows), admitted(windows), admitted(windows)];
    for (let now = 1; now < 40; now += 1) for (const channel of channels) turn(windows, channel, now);
    // Each by three quarters of what the other two have left of 10,000.
    expect(channels.map((channel) => Math.round(channel.windowBytes / 100))).toEqual([40, 40, 40]);
    turn(windows, admitted(windows), 40);
    expect(windows.budgetUsedBytes).toBeGreaterThan(13_500);
  });

  it("follows a path that has become longer, and takes a short one at its word", () => {
    const windows = new Windows(limits);
    windows.measured(10);
    windows.measured(500); // A full queue: not yet believed.
    const channel = admitted(windows);
    for (const now of [100, 300]) halfTurn(windows, channel, now);
    expect(channel.windowBytes).toBe(1000);
    for (let ping = 0; ping < 100; ping += 1) windows.measured(500);
    turn(windows, channel, 600);
    expect(channel.windowBytes).toBe(4000);
    windows.measured(10);
    turn(windows, channel, 900);
    expect(channel.windowBytes).toBe(4000);
  });

  it("tells of progress in steps of at most 512 KiB, however large the window", () => {
    const windows = new Windows(defaultLimits);
    windows.measured(50);
    const channel = newChannel(1, true, requestHead, 0, 4 * 1024 * 1024);
    expect(windows.admit(channel)).toBe(true);
    windows.received(channel, 1024 * 1024);
    expect(windows.consumed(channel, 512 * 1024 - 1, false, 1)).toBe(0);
    expect(windows.consumed(channel, 1, false, 1)).toBe(512 * 1024);
  });

  describe("on a path shorter than 5 ms", () => {
    const KiB = 1024;

    function shortPath() {
      const windows = new Windows(defaultLimits);
      windows.measured(0.3);
      const open = () => {
        const channel = newChannel(1, true, requestHead, 0, defaultLimits.windowInitialBytes);
        expect(windows.admit(channel)).toBe(true);
        return channel;
      };
      let now = 0;
      const sizesAfterTurn = (...channels: Channel[]) => {
        now += 0.5;
        for (const channel of channels) turn(windows, channel, now);
        return channels.map((channel) => channel.windowBytes / KiB);
      };
      return { windows, open, sizesAfterTurn };
    }

    it("doubles the window of a lone channel to 1 MiB and no further", () => {
      const { open, sizesAfterTurn } = shortPath();
      const channel = open();
      const sizes = Array.from({ length: 6 }, () => sizesAfterTurn(channel)[0]);
      expect(sizes).toEqual([64, 128, 256, 512, 1024, 1024]);
    });

    it("lets channels share what one alone would have, and gives it back to who is left", () => {
      const { windows, open, sizesAfterTurn } = shortPath();
      const first = open();
      for (let turns = 0; turns < 6; turns += 1) sizesAfterTurn(first);
      const others = [open(), open(), open()];
      for (let turns = 0; turns < 6; turns += 1) sizesAfterTurn(first, ...others);
      expect(sizesAfterTurn(first, ...others)).toEqual([256, 256, 256, 256]);
      for (const other of others.slice(1)) windows.remoteEnded(other);
      for (let turns = 0; turns < 6; turns += 1) sizesAfterTurn(first, others[0] as Channel);
      expect(sizesAfterTurn(first, others[0] as Channel)).toEqual([512, 512]);
      windows.remoteEnded(others[0] as Channel);
      for (let turns = 0; turns < 3; turns += 1) sizesAfterTurn(first);
      expect(first.windowBytes).toBe(1024 * KiB);
    });

    it("leaves every one of very many channels the window it began with", () => {
      const { open, sizesAfterTurn } = shortPath();
      const channels = Array.from({ length: 40 }, open);
      for (let turns = 0; turns < 8; turns += 1) sizesAfterTurn(...channels);
      const sizes = sizesAfterTurn(...channels);
      expect(Math.min(...sizes)).toBe(32);
      expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(40 * 32 + 1024);
    });
  });

  it("grants a channel nothing beyond its first window until that was consumed, whatever others have reached", () => {
    const windows = new Windows(limits);
    windows.measured(50);
    const first = admitted(windows);
    for (let now = 100; now <= 200; now += 100) turn(windows, first, now);
    expect(first.windowBytes).toBe(8000);
    windows.remoteEnded(first);
    const idle = [admitted(windows), admitted(windows)];
    windows.received(idle[0] as Channel, 999);
    expect(windows.consumed(idle[0] as Channel, 999, false, 300)).toBe(999);
    expect(windows.budgetUsedBytes).toBe(2000);
  });

  it("leaps to what others have reached with its first whole window on a long path, however late that begins", () => {
    const windows = new Windows(limits);
    windows.measured(50);
    const first = admitted(windows);
    for (let now = 100; now <= 200; now += 100) turn(windows, first, now);
    windows.remoteEnded(first);
    const next = admitted(windows);
    expect(turn(windows, next, 90_000)).toBe(1000 + 7000);
    expect(next).toMatchObject({ windowBytes: 8000, receiveCredit: 8000, committedBytes: 8000 });
    windows.received(next, 8000);
    expect(() => windows.received(next, 1)).toThrow("WINDOW_EXCEEDED");
  });

  it("leaps out of three eighths of the budget, and not when its first window took long", () => {
    const windows = new Windows(limits);
    windows.measured(50);
    const first = admitted(windows);
    for (let now = 100; now <= 200; now += 100) turn(windows, first, now);
    windows.remoteEnded(first);
    const [slow, quick, late] = [admitted(windows), admitted(windows), admitted(windows)];
    for (const now of [300, 450]) halfTurn(windows, slow, now);
    for (const channel of [quick, late]) turn(windows, channel, 500);
    // What the first has reached, then three quarters of what the second has left.
    expect([slow, quick, late].map(({ windowBytes }) => windowBytes)).toEqual([1000, 8000, 3250]);
    expect(windows.budgetUsedBytes).toBe(12_250);
  });

  it("does not leap on a short path", () => {
    const short = new Windows(limits);
    short.measured(4);
    const first = admitted(short);
    for (let now = 1; now <= 3; now += 1) turn(short, first, now);
    expect(first.windowBytes).toBe(8000);
    short.remoteEnded(first);
    const next = admitted(short);
    turn(short, next, 4);
    expect(next.windowBytes).toBe(2000);
  });

  it("gives back what it has grown by when there are more channels than room was kept for", () => {
    const windows = new Windows(limits);
    const grown = admitted(windows);
    for (let now = 1; now < 10; now += 1) turn(windows, grown, now);
    expect(grown.windowBytes).toBe(8000);
    const others = Array.from({ length: 12 }, () => admitted(windows));
    expect(windows.budgetUsedBytes).toBe(20_000);
    for (let now = 10; now < 20; now += 1) turn(windows, grown, now);
    // Never below what it began with.
    expect(grown.windowBytes).toBe(1000);
    expect(grown.receiveCredit).toBe(1000);
    expect(windows.budgetUsedBytes).toBe(13_000);
    for (const other of others) expect(other.windowBytes).toBe(1000);
  });

  describe("beside one that has grown as far as it may and stalls", () => {
    /** A channel whose window is full of what nobody reads. */
    function stalled(windows: Windows): Channel {
      const channel = newChannel(1, true, requestHead, 0, defaultLimits.windowInitialBytes);
      expect(windows.admit(channel)).toBe(true);
      for (let now = 1; now < 20; now += 1) turn(windows, channel, now);
      expect(channel.windowBytes).toBe(defaultLimits.windowMaxBytes);
      windows.received(channel, channel.receiveCredit);
      return channel;
    }

    const grownAfterTurns = (windows: Windows, channel: Channel, from: number) => {
      for (let now = from; now < from + 10; now += 1) turn(windows, channel, now);
      return (channel.windowBytes - defaultLimits.windowInitialBytes) / MiB;
    };
    const opened = (windows: Windows) => {
      const channel = newChannel(3, false, requestHead, 0, defaultLimits.windowInitialBytes);
      expect(windows.admit(channel)).toBe(true);
      return channel;
    };

    it("grows by three quarters of what that one has left, and by all it may once that one has been read", () => {
      const windows = new Windows(defaultLimits);
      const first = stalled(windows);
      const channel = opened(windows);
      // Of 48 MiB that growth may take, the first has 32, less the one it began with.
      expect(grownAfterTurns(windows, channel, 20)).toBeCloseTo(12, 1);
      expect(grownAfterTurns(windows, opened(windows), 40)).toBeCloseTo(3, 1);
      windows.remoteEnded(first);
      expect(grownAfterTurns(windows, channel, 60)).toBeLessThan(13);
      windows.consumed(first, first.unreadBytes, true, 80);
      expect(grownAfterTurns(windows, channel, 80)).toBeCloseTo(32, 1);
    });

    it("keeps the first windows of all other channels free, and the budget", () => {
      const windows = new Windows(defaultLimits);
      stalled(windows);
      grownAfterTurns(windows, opened(windows), 20);
      for (let open = 2; open < defaultLimits.channelsMax; open += 1) opened(windows);
      const late = opened(windows);
      let more = 0;
      while (windows.admit(newChannel(5, true, requestHead, 0, defaultLimits.windowInitialBytes))) more += 1;
      // What nobody has grown into: 4 MiB, less the one above.
      expect(more).toBe(127);
      const leftBytes = defaultLimits.receiveBudgetBytes - windows.budgetUsedBytes;
      expect(leftBytes).toBeGreaterThanOrEqual(0);
      expect(leftBytes).toBeLessThan(defaultLimits.windowInitialBytes);
      turn(windows, late, 40);
      expect(late.windowBytes).toBe(defaultLimits.windowInitialBytes);
    });

    it("gets back from one that consumes again what that one has above an equal part", () => {
      const windows = new Windows(defaultLimits);
      const first = stalled(windows);
      const channel = opened(windows);
      grownAfterTurns(windows, channel, 20);
      const bytes = 64 * 1024;
      for (let now = 40; first.unreadBytes > 0; now += 1) {
        windows.consumed(first, bytes, false, now);
        turn(windows, channel, now);
      }
      for (let now = 1000; now < 1100; now += 1)
        for (const each of [first, channel]) turn(windows, each, now);
      const grown = [first, channel].map(({ windowBytes }) => Math.round((windowBytes / MiB) * 10));
      expect(grown).toEqual([206, 206]);
    });

    it("grows within half of the budget where the first windows of all channels would not fit", () => {
      const windows = new Windows({ ...limits, channelsMax: 1000 });
      const first = admitted(windows);
      for (let now = 1; now < 10; now += 1) turn(windows, first, now);
      expect(first.windowBytes).toBe(8000);
      const second = admitted(windows);
      for (let now = 10; now < 20; now += 1) turn(windows, second, now);
      expect(second.windowBytes).toBe(3250);
    });
  });

  it("refuses one byte more than it granted, and changes nothing", () => {
    const windows = new Windows(limits);
    const channel = admitted(windows);
    expect(() => windows.received(channel, 1001)).toThrow("WINDOW_EXCEEDED");
    expect(channel.receiveCredit).toBe(1000);
    windows.received(channel, 1000);
    expect(() => windows.received(channel, 1)).toThrow("WINDOW_EXCEEDED");
  });

  it("keeps what is unread in the budget after the end, and gives it back as it is read", () => {
    const windows = new Windows(limits);
    const channel = admitted(windows);
    windows.received(channel, 700);
    windows.remoteEnded(channel);
    expect(windows.budgetUsedBytes).toBe(700);
    expect(windows.consumed(channel, 600, true, 1)).toBe(0);
    expect(windows.budgetUsedBytes).toBe(100);
    // Whatever else ends: what is unread stays until it is read or dropped.
    windows.remoteEnded(channel);
    expect(windows.budgetUsedBytes).toBe(100);
    windows.consumed(channel, 100, true, 2);
    expect(windows.budgetUsedBytes).toBe(0);
  });

  it("admits channels to the budget's last byte and none beyond", () => {
    const windows = new Windows({ ...limits, receiveBudgetBytes: 2500 });
    admitted(windows);
    const second = admitted(windows);
    expect(windows.admit(newChannel(5, true, requestHead, 0, 1000))).toBe(false);
    windows.remoteEnded(second);
    admitted(windows);
  });
});
