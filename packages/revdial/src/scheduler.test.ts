import { describe, expect, it } from "@jest/globals";
import { type Channel, newChannel } from "./channel.ts";
import { decodeMessage } from "./decode.ts";
import { encodeFrame } from "./encode.ts";
import type { Frame } from "./frame.ts";
import { defaultLimits } from "./limits.ts";
import { MESSAGE_TARGET_BYTES, Scheduler } from "./scheduler.ts";

/** Of a channel only its kind and length count here. */
const requestHead = { kind: 0, method: "GET" };
const limits = defaultLimits;

function channel(id: number, credit = 1 << 30): Channel {
  const made = newChannel(id, true, requestHead, credit, limits.windowInitialBytes);
  made.state = "open";
  return made;
}

/** Frames of the next message, in order. */
function next(scheduler: Scheduler, ended: number[] = []): Frame[] | undefined {
  const parts = scheduler.next(0, (from, end) => {
    if (end) ended.push(from.id);
  });
  return parts && decodeMessage(new Uint8Array(Buffer.concat(parts)), limits);
}

const short = (frames: Frame[] | undefined) =>
  frames?.map((frame) => `${frame.type}${"channel" in frame ? ` ${frame.channel}` : ""}`);
const ping = encodeFrame({ type: "ping", token: 1n }, limits);
const headOf = (id: number) =>
  encodeFrame({ type: "head", channel: id, end: false, status: 200, headers: [] }, limits);
const notice = encodeFrame({ type: "notice", notice: "a", payload: new Uint8Array(3) }, limits);

describe("the scheduler", () => {
  it("sends control first, then heads, then notices, then bodies, in one message", () => {
    const scheduler = new Scheduler(limits);
    const one = channel(1);
    scheduler.pushBody(one, new Uint8Array(5), []);
    expect(scheduler.pushNotice(notice)).toBe(true);
    scheduler.pushHead(one, headOf(1), false);
    scheduler.pushControl(ping);
    expect(short(next(scheduler))).toEqual(["ping", "head 1", "notice", "data 1"]);
    expect(next(scheduler)).toBeUndefined();
    expect(scheduler.idle).toBe(true);
  });

  it("never sends a body before its own head, however many heads wait", () => {
    const scheduler = new Scheduler(limits);
    const channels = Array.from({ length: 10 }, (_, index) => channel(index + 1));
    const fat = (id: number) =>
      encodeFrame(
        { type: "head", channel: id, end: false, status: 200, headers: [["x", "y".repeat(30_000)]] },
        limits,
      );
    for (const each of channels) {
      scheduler.pushHead(each, fat(each.id), false);
      scheduler.pushBody(each, new Uint8Array(10), []);
    }
    const seen: string[] = [];
    for (let frames = next(scheduler); frames; frames = next(scheduler)) seen.push(...(short(frames) ?? []));
    for (const each of channels)
      expect(seen.indexOf(`head ${each.id}`)).toBeLessThan(seen.indexOf(`data ${each.id}`));
    expect(seen).toHaveLength(20);
  });

  it("puts a small reply into the next message, ahead of bulk that has waited longer", () => {
    const scheduler = new Scheduler(limits);
    const bulk = channel(1);
    scheduler.pushBody(bulk, new Uint8Array(10_000_000), []);
    next(scheduler);
    next(scheduler);
    const small = channel(3);
    scheduler.pushBody(small, new Uint8Array(100), []);
    const frames = next(scheduler);
    expect(short(frames)?.[0]).toBe("data 3");
    expect(
      short(frames)
        ?.slice(1)
        .every((name) => name === "data 1"),
    ).toBe(true);
  });

  it("gives bulk its share however many small replies come", () => {
    const scheduler = new Scheduler(limits);
    const bulk = channel(1);
    scheduler.pushBody(bulk, new Uint8Array(10_000_000), []);
    next(scheduler);
    next(scheduler);
    for (let id = 3; id < 203; id += 2) scheduler.pushBody(channel(id), new Uint8Array(1000), []);
    expect(short(next(scheduler))).toContain("data 1");
  });

  it("shares a message evenly between bulk channels, whatever their chunks", () => {
    const scheduler = new Scheduler(limits);
    const channels = [channel(1), channel(3), channel(5)];
    const chunkBytes = [1_000_000, 1000, 70];
    for (const [index, each] of channels.entries()) {
      for (let bytes = 0; bytes < 1_000_000; bytes += chunkBytes[index] as number) {
        scheduler.pushBody(each, new Uint8Array(chunkBytes[index] as number), undefined);
      }
    }
    const onWire = new Map<number, number>();
    for (let message = 0; message < 30; message += 1) {
      for (const frame of next(scheduler) ?? []) {
        if (frame.type !== "data") continue;
        onWire.set(frame.channel, (onWire.get(frame.channel) ?? 0) + frame.bytes.byteLength + 9);
      }
    }
    const shares = [...onWire.values()];
    expect(Math.min(...shares) / Math.max(...shares)).toBeGreaterThan(0.9);
  });

  it("passes over a channel without credit, and serves it when credit comes", () => {
    const scheduler = new Scheduler(limits);
    const stalled = channel(1, 10);
    const other = channel(3);
    scheduler.pushBody(stalled, new Uint8Array(20), []);
    scheduler.pushBody(other, new Uint8Array(20), []);
    const ended: number[] = [];
    expect(next(scheduler, ended)).toMatchObject([{ bytes: { byteLength: 10 } }, { channel: 3, end: true }]);
    expect(ended).toEqual([3]);
    expect(next(scheduler)).toBeUndefined();
    stalled.sendCredit += 10;
    scheduler.schedule(stalled);
    expect(next(scheduler, ended)).toMatchObject([{ channel: 1, end: true }]);
    expect(ended).toEqual([3, 1]);
  });

  it("saves up nothing for a channel that waits for credit: it gets its share when a large one comes", () => {
    const scheduler = new Scheduler(limits);
    const starved = channel(1, 0);
    const bulk = channel(3);
    scheduler.pushBody(starved, new Uint8Array(50_000_000), []);
    scheduler.pushBody(bulk, new Uint8Array(50_000_000), []);
    const credit = (bytes: number) => {
      starved.sendCredit += bytes;
      scheduler.schedule(starved);
    };
    for (let turn = 0; turn < 200; turn += 1) {
      credit(1);
      next(scheduler);
    }
    credit(40_000_000);
    const frames = next(scheduler) ?? [];
    const of = (id: number) =>
      frames.reduce(
        (sum, frame) => sum + (frame.type === "data" && frame.channel === id ? frame.bytes.byteLength : 0),
        0,
      );
    expect(of(1) + of(3)).toBeLessThan(limits.headBytesMax + 128 * 1024);
    expect(Math.abs(of(1) - of(3))).toBeLessThanOrEqual(2 * 16 * 1024);
  });

  it("sends trailers in an END of their own, also without any body and without credit", () => {
    const scheduler = new Scheduler(limits);
    scheduler.pushBody(channel(1, 0), new Uint8Array(), [["x-sum", "1"]]);
    expect(next(scheduler)).toEqual([{ type: "end", channel: 1, trailers: [["x-sum", "1"]] }]);
  });

  it("forgets a channel's head and body together", () => {
    const scheduler = new Scheduler(limits);
    const gone = channel(1);
    scheduler.pushHead(gone, headOf(1), false);
    scheduler.pushBody(gone, new Uint8Array(5), []);
    scheduler.forget(gone);
    expect(scheduler.idle).toBe(true);
    expect(next(scheduler)).toBeUndefined();
  });

  it("holds a channel back that waits for HELLO", () => {
    const scheduler = new Scheduler(limits);
    const held = channel(1);
    held.held = true;
    scheduler.pushBody(held, new Uint8Array(5), []);
    expect(scheduler.idle).toBe(true);
  });

  it("drops the notice for which there is no room", () => {
    const scheduler = new Scheduler({ ...limits, noticesQueuedMax: 2 });
    expect([1, 2, 3].map(() => scheduler.pushNotice(notice))).toEqual([true, true, false]);
    expect(next(scheduler)).toHaveLength(2);
    expect(scheduler.pushNotice(notice)).toBe(true);
  });

  it("never makes a message larger than the peer takes, even of one-byte chunks and the largest heads", () => {
    const messageBytesMax = limits.headBytesMax + 128 * 1024;
    const scheduler = new Scheduler(limits);
    for (let id = 1; id < 41; id += 2) {
      const each = channel(id);
      const fat = [["x", "y".repeat(limits.headBytesMax - 20)]] as const;
      scheduler.pushHead(
        each,
        encodeFrame({ type: "head", channel: id, end: false, status: 200, headers: fat }, limits),
        false,
      );
      for (let chunk = 0; chunk < 5000; chunk += 1) scheduler.pushBody(each, new Uint8Array(1), undefined);
      scheduler.pushBody(each, new Uint8Array(), fat);
    }
    let largest = 0;
    for (;;) {
      const parts = scheduler.next(0, () => undefined);
      if (parts === undefined) break;
      largest = Math.max(
        largest,
        parts.reduce((sum, part) => sum + part.byteLength, 0),
      );
    }
    expect(largest).toBeGreaterThan(MESSAGE_TARGET_BYTES);
    expect(largest).toBeLessThanOrEqual(messageBytesMax);
  });
});
