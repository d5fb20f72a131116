import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createTunnelHistory, type TunnelHistory } from "./tunnel-history.ts";

let clock: ManualClock;
let live: Map<string, number | undefined>;
let connect: (wolfId: string) => void;
let history: TunnelHistory;

function begin(wolvesMax?: number): void {
  history = createTunnelHistory({
    clock,
    liveWolves: () => [...live.keys()].map((id) => ({ id })),
    rttMsOf: (id) => live.get(id),
    onWolfConnected: (listener) => {
      connect = listener;
    },
    ...(wolvesMax === undefined ? {} : { wolvesMax }),
  });
  history.start();
}

/** Each time a turn of the event loop later, as `repeat` waits for the sample before it. */
async function pass(samples: number): Promise<void> {
  for (let n = 0; n < samples; n += 1) {
    clock.advance(10_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

beforeEach(() => {
  clock = manualClock();
  live = new Map();
  begin();
});
afterEach(() => {
  history.stop();
  expect(clock.pending).toBe(0);
});

describe("the history of a wolf's round trips", () => {
  it("has a sample every ten seconds, with a gap where there was no tunnel", async () => {
    live.set("wlf_1", 1.23456);
    await pass(2);
    live.delete("wlf_1");
    await pass(1);
    live.set("wlf_1", 0.2);
    await pass(1);
    expect(history.rtts("wlf_1").map(({ at, ms }) => [at.toISOString().slice(14, 19), ms])).toEqual([
      ["00:10", 1.23],
      ["00:20", 1.23],
      ["00:40", 0.2],
    ]);
  });

  it("loses nothing of the last hour to a pause", async () => {
    live.set("wlf_1", 1);
    await pass(12);
    live.delete("wlf_1");
    await pass(300);
    live.set("wlf_1", 2);
    await pass(1);
    expect(history.rtts("wlf_1").map(({ ms }) => ms)).toEqual([...new Array<number>(12).fill(1), 2]);
  });

  it("is of the last hour, and forgotten when the wolf has had no tunnel for so long", async () => {
    live.set("wlf_1", 1);
    await pass(400);
    expect(history.rtts("wlf_1")).toHaveLength(360);
    live.delete("wlf_1");
    await pass(359);
    expect(history.rtts("wlf_1")).toHaveLength(1);
    await pass(1);
    expect([history.rtts("wlf_1"), history.wolves]).toEqual([[], 0]);
  });

  it("has no sample of a round trip that was not measured, nor of a wolf that nobody knows", async () => {
    live.set("wlf_1", undefined);
    await pass(3);
    expect(history.rtts("wlf_1")).toEqual([]);
    expect([history.rtts("wlf_2"), history.reconnects("wlf_2")]).toEqual([[], 0]);
  });

  it("hits the same slots when its timer is late now and then", async () => {
    live.set("wlf_1", 1);
    for (const lateMs of [40, 4000, 0, 7]) {
      clock.advance(10_000 + lateMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(history.rtts("wlf_1")).toHaveLength(4);
  });

  it("counts the tunnels after the first", () => {
    connect("wlf_1");
    expect(history.reconnects("wlf_1")).toBe(0);
    connect("wlf_1");
    connect("wlf_1");
    expect(history.reconnects("wlf_1")).toBe(2);
  });

  it("keeps nothing of more wolves than it may, until others are forgotten", async () => {
    history.stop();
    begin(2);
    for (const id of ["wlf_1", "wlf_2", "wlf_3"]) {
      live.set(id, 1);
      connect(id);
    }
    await pass(1);
    expect([history.wolves, history.rtts("wlf_3"), history.reconnects("wlf_3")]).toEqual([2, [], 0]);
    live.delete("wlf_1");
    await pass(361);
    expect(history.rtts("wlf_3").length).toBeGreaterThan(0);
    expect(history.wolves).toBe(2);
  });
});
