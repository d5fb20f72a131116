/** One direction of a bad path, by hand-made time: what comes out, when, and that it is what went in. */
import { describe, expect, it } from "@jest/globals";
import { seededRandom } from "revdial/testing";
import { Lane, type LaneEnd } from "../../src/chaos/lane.ts";
import { noToxics, readToxics, type Toxics } from "../../src/chaos/toxics.ts";

const laneOf = (toxics: Partial<Toxics>, seed = 1) =>
  new Lane({ ...noToxics, ...toxics }, seededRandom(seed), 0);
const bytes = (size: number, from = 0) => Uint8Array.from({ length: size }, (_, at) => (from + at) % 251);

interface Came {
  at: number;
  bytes: Uint8Array;
}

/** Everything that comes out, each time that the lane has said. */
function drain(lane: Lane, untilMs = 1e9): { came: Came[]; end?: { at: number; how: LaneEnd } } {
  const came: Came[] = [];
  for (let at = lane.nextAt; at !== undefined && at <= untilMs; at = lane.nextAt) {
    const { bytes: pieces, end } = lane.due(at);
    for (const piece of pieces) came.push({ at, bytes: piece });
    if (end !== undefined) return { came, end: { at, how: end } };
  }
  return { came };
}

const joined = (came: readonly Came[]) => Uint8Array.from(came.flatMap(({ bytes: one }) => [...one]));

describe("a lane", () => {
  it("without toxics gives on at once what it takes, and then the end", () => {
    const lane = laneOf({});
    lane.take(bytes(10), 5);
    lane.finish("end", 5);
    expect(drain(lane)).toEqual({ came: [{ at: 5, bytes: bytes(10) }], end: { at: 5, how: "end" } });
  });

  it("holds every byte for its latency", () => {
    const lane = laneOf({ latencyMs: 50 });
    lane.take(bytes(3), 0);
    lane.take(bytes(3, 3), 7);
    expect(lane.due(49).bytes).toEqual([]);
    expect(drain(lane).came.map(({ at }) => at)).toEqual([50, 57]);
  });

  it("keeps the order and every byte whatever the jitter", () => {
    const lane = laneOf({ latencyMs: 100, jitterMs: 90, sliceBytes: 7 });
    for (let at = 0; at < 50; at += 1) lane.take(bytes(20, at * 20), at);
    const { came } = drain(lane);
    expect(joined(came)).toEqual(bytes(1000));
    const times = came.map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...times)).toBeLessThanOrEqual(49 + 190);
    expect(new Set(times).size).toBeGreaterThan(5);
  });

  it("lets no more through than its rate, in pieces of 20 ms", () => {
    const lane = laneOf({ bytesPerSecond: 10_000 });
    lane.take(bytes(10_000), 0);
    const { came } = drain(lane);
    expect(came.every(({ bytes: piece }) => piece.length === 200)).toBe(true);
    let sent = 0;
    for (const { at, bytes: piece } of came) {
      sent += piece.length;
      expect(sent).toBeLessThanOrEqual((at * 10_000) / 1000 + 1);
    }
    expect(came.at(-1)?.at).toBe(1000);
  });

  it("cuts the same slices from a seed, however it was fed", () => {
    const cuts = (feed: number, seed: number) => {
      const lane = laneOf({ sliceBytes: 100, sliceDelayMs: 3 }, seed);
      for (let at = 0; at < 2000; at += feed) lane.take(bytes(feed, at), 0);
      const offsets: number[] = [];
      const byTime = new Map<number, number>();
      for (const { at, bytes: piece } of drain(lane).came)
        byTime.set(at, (byTime.get(at) ?? 0) + piece.length);
      for (const size of byTime.values()) offsets.push((offsets.at(-1) ?? 0) + size);
      return offsets;
    };
    expect(cuts(2000, 7)).toEqual(cuts(40, 7));
    expect(cuts(2000, 7)).not.toEqual(cuts(2000, 8));
    const sizes = cuts(2000, 7).map((at, index, all) => at - (all[index - 1] ?? 0));
    expect(sizes.slice(0, -1).every((size) => size >= 50 && size <= 150)).toBe(true);
  });

  it("loses the connection at the same bytes from a seed, once in so many on average", () => {
    const lostAt = (seed: number, feed: number) => {
      const lane = laneOf({ resetEveryBytes: 1000 }, seed);
      for (let at = 0; at < 50_000; at += feed) lane.take(bytes(feed, at), 0);
      const { came, end } = drain(lane);
      expect(end?.how).toBe("reset");
      return joined(came).length;
    };
    expect(lostAt(3, 50_000)).toBe(lostAt(3, 10));
    const lengths = Array.from({ length: 300 }, (_, seed) => lostAt(seed, 50_000));
    const mean = lengths.reduce((sum, one) => sum + one, 0) / lengths.length;
    expect(mean).toBeGreaterThan(800);
    expect(mean).toBeLessThan(1200);
  });

  it("delays the end, and nothing else, with slow close", () => {
    const lane = laneOf({ slowCloseMs: 1000, latencyMs: 10 });
    lane.take(bytes(1), 0);
    lane.finish("end", 2);
    expect(drain(lane)).toMatchObject({ came: [{ at: 10 }], end: { at: 1010, how: "end" } });
  });

  it("lets so many bytes through with a limit, and then closes", () => {
    const lane = laneOf({ limitBytes: 15 });
    lane.take(bytes(10), 0);
    lane.take(bytes(10, 10), 1);
    lane.take(bytes(10, 20), 2);
    const { came, end } = drain(lane);
    expect(joined(came)).toEqual(bytes(15));
    expect(end).toEqual({ at: 1, how: "close" });
    expect(lane.heldBytes).toBe(0);
  });

  it("closes at the first byte with a limit of none", () => {
    const lane = laneOf({ limitBytes: 0 });
    lane.take(bytes(10), 4);
    expect(drain(lane)).toEqual({ came: [], end: { at: 4, how: "close" } });
  });

  it("stops everything with a timeout, and closes after it without what it held", () => {
    const lane = laneOf({ timeoutMs: 500 });
    lane.take(bytes(10), 0);
    expect(lane.due(499)).toEqual({ bytes: [] });
    expect(drain(lane)).toEqual({ came: [], end: { at: 500, how: "close" } });
    expect(lane.heldBytes).toBe(0);
  });

  it("stops everything for good with a timeout of none, until it is changed: then what was held comes", () => {
    const lane = laneOf({ timeoutMs: 0 });
    lane.take(bytes(10), 0);
    expect(lane.nextAt).toBeUndefined();
    expect(lane.due(1e6)).toEqual({ bytes: [] });
    expect(lane.heldBytes).toBe(10);
    lane.change(noToxics, 1e6);
    expect(joined(drain(lane).came)).toEqual(bytes(10));
  });

  it("resets after its time, also when nothing comes, and keeps nothing", () => {
    const lane = laneOf({ resetAfterMs: 300, latencyMs: 1000 });
    lane.take(bytes(10), 0);
    expect(drain(lane)).toEqual({ came: [], end: { at: 300, how: "reset" } });
    expect(lane.nextAt).toBeUndefined();
  });

  it("counts a changed timeout from the change", () => {
    const lane = laneOf({});
    lane.change({ ...noToxics, resetAfterMs: 100 }, 1000);
    expect(lane.nextAt).toBe(1100);
    lane.change(noToxics, 1050);
    expect(lane.nextAt).toBeUndefined();
  });

  it("gives on nothing while it is stalled, and then all of it in order, the end too", () => {
    const lane = laneOf({ latencyMs: 5 });
    lane.take(bytes(4), 0);
    lane.stall(true);
    lane.take(bytes(4, 4), 10);
    lane.finish("reset", 11);
    expect(lane.nextAt).toBeUndefined();
    lane.stall(false);
    const { bytes: pieces, end } = lane.due(60_000);
    expect(joined(pieces.map((piece) => ({ at: 0, bytes: piece })))).toEqual(bytes(8));
    expect(end).toBe("reset");
  });

  it("takes nothing after an end", () => {
    const lane = laneOf({});
    lane.finish("end", 0);
    lane.take(bytes(10), 1);
    lane.finish("reset", 2);
    expect(drain(lane)).toEqual({ came: [], end: { at: 0, how: "end" } });
    expect(lane.heldBytes).toBe(0);
  });
});

describe("toxics in words", () => {
  it("are read by their names", () => {
    expect(readToxics("latencyMs=80,jitterMs=20,timeoutMs=0")).toEqual({
      ...noToxics,
      latencyMs: 80,
      jitterMs: 20,
      timeoutMs: 0,
    });
  });

  it.each([
    ["latency=80", "latency"],
    ["latencyMs=-1", "latencyMs"],
    ["latencyMs=1.5", "latencyMs"],
    ["latencyMs=", "latencyMs"],
    ["latencyMs=1=2", "latencyMs"],
    ["latencyMs=600001", "600,000"],
    ["bytesPerSecond=0", "bytesPerSecond"],
    ["toString=1", "toString"],
    ["__proto__=1", "__proto__"],
  ])("are refused as %s, with what is wrong", (text, named) => {
    expect(() => readToxics(text)).toThrow(TypeError);
    expect(() => readToxics(text)).toThrow(named);
  });
});
