import { beforeEach, describe, expect, it } from "@jest/globals";
import { type GpuUsage, UsageHistory as UsageHistorySchema } from "@wolfpack/api-contract";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createUsageHistory, tellingUsage, type UsageHistory } from "./usage-history.ts";
import type { UsageReport, WolfStore } from "./wolf-store.ts";

const MINUTE_MS = 60_000;
const gpu = (id: string, utilisation_percent: number | null = 50): GpuUsage => ({
  id,
  utilisation_percent,
  vram_used_bytes: 8_589_934_592,
  encoder_sessions: 3,
  encoder_percent: null,
});
const usage = (...gpus: GpuUsage[]) => ({ cpu_load: 1.5, memory_available_bytes: 17_179_869_184, gpus });

let clock: ManualClock;
let history: UsageHistory;
beforeEach(() => {
  clock = manualClock();
  history = createUsageHistory({ clock });
});

function hear(minutes: number, heard = usage(gpu("0000:01:00.0")), wolfId = "wlf_1"): void {
  for (let n = 0; n < minutes; n += 1) {
    history.heard(wolfId, heard);
    clock.advance(MINUTE_MS);
  }
}

describe("the history of a host's figures", () => {
  it("has the last of each minute, as its agent said it, and unknown for what is", () => {
    history.heard("wlf_1", usage(gpu("0000:01:00.0", 10)));
    clock.advance(30_000);
    history.heard("wlf_1", usage(gpu("0000:01:00.0", 33.33)));
    clock.advance(30_000);
    history.heard("wlf_1", { cpu_load: null, memory_available_bytes: null, gpus: [gpu("0000:01:00.0", 0)] });
    const samples = UsageHistorySchema.parse(history.list("wlf_1"));
    expect(samples).toEqual([
      {
        at: "2026-11-23T12:00:00.000Z",
        ...usage({ ...gpu("0000:01:00.0"), utilisation_percent: 33.3 }),
      },
      {
        at: "2026-11-23T12:01:00.000Z",
        cpu_load: null,
        memory_available_bytes: null,
        gpus: [gpu("0000:01:00.0", 0)],
      },
    ]);
  });

  it("stays one that can be read when a host claims as much as a number holds", () => {
    history.heard("wlf_1", { ...usage(), memory_available_bytes: Number.MAX_SAFE_INTEGER });
    clock.advance(MINUTE_MS);
    const [sample] = UsageHistorySchema.parse(history.list("wlf_1"));
    expect(sample?.memory_available_bytes).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("is of six hours at most, in the bytes that it is said to take", () => {
    hear(400);
    expect(history.list("wlf_1")).toHaveLength(359);
    expect(history.bytes).toBe(360 * 24);
    clock.advance(360 * MINUTE_MS);
    expect(history.list("wlf_1")).toEqual([]);
    hear(1, usage(), "wlf_2");
    expect(history.bytes).toBe(12 * 8);
  });

  it("keeps the column of a GPU that is gone, and takes up one that comes", () => {
    hear(1, usage(gpu("a"), gpu("b")));
    hear(1, usage(gpu("b")));
    hear(1, usage(gpu("c"), gpu("b")));
    const shown = history
      .list("wlf_1")
      .map(({ gpus }) => gpus.map(({ id, utilisation_percent }) => [id, utilisation_percent]));
    expect(shown).toEqual([
      [
        ["a", 50],
        ["b", 50],
        ["c", null],
      ],
      [
        ["a", null],
        ["b", 50],
        ["c", null],
      ],
      [
        ["a", null],
        ["b", 50],
        ["c", 50],
      ],
    ]);
  });

  it("begins anew with a host that makes up GPUs", () => {
    for (let n = 0; n < 40; n += 1) hear(1, usage(gpu(`made-up-${n}`)));
    const [first] = history.list("wlf_1");
    expect(first?.gpus.length).toBeLessThanOrEqual(32);
    expect(history.bytes).toBeLessThan(12 * 4 * (2 + 4 * 33));
  });
});

describe("the memory of all histories", () => {
  const twelveRows = 12 * 24;

  it("is never more than it may be: a history that has no room begins later, and a new one waits", () => {
    history = createUsageHistory({ clock, bytesMax: 3 * twelveRows });
    for (let n = 0; n < 30; n += 1) {
      history.heard("wlf_1", usage(gpu("a")));
      history.heard("wlf_2", usage(gpu("a")));
      history.heard("wlf_3", usage(gpu("a")));
      history.heard("wlf_4", usage(gpu("a")));
      expect(history.bytes).toBeLessThanOrEqual(3 * twelveRows);
      clock.advance(MINUTE_MS);
    }
    expect(history.list("wlf_1").length).toBeGreaterThanOrEqual(11);
    expect(history.list("wlf_4")).toEqual([]);
  });

  it("goes to others once a host has been silent for six hours", () => {
    history = createUsageHistory({ clock, bytesMax: twelveRows });
    hear(1);
    hear(1, usage(gpu("a")), "wlf_2");
    expect(history.list("wlf_2")).toEqual([]);
    clock.advance(360 * MINUTE_MS);
    hear(1, usage(gpu("a")), "wlf_2");
    expect([history.list("wlf_1"), history.list("wlf_2")]).toEqual([[], [expect.anything()]]);
  });

  it("serves 500 hosts with a GPU each for three hours in a twentieth of 64 MiB, as it does 10,000 in all of it", () => {
    const bytesMax = (64 * 1024 * 1024) / 20;
    history = createUsageHistory({ clock, bytesMax });
    const at = usage(gpu("a"));
    for (let minute = 0; minute < 200; minute += 10) {
      for (let wolf = 0; wolf < 500; wolf += 1) history.heard(`wlf_${wolf}`, at);
      clock.advance(10 * MINUTE_MS);
    }
    expect(history.bytes).toBeLessThanOrEqual(bytesMax);
    const spans = [0, 250, 499].map((wolf) => history.list(`wlf_${wolf}`).length);
    // Of 20 samples, ten minutes apart, those of the last three hours.
    for (const samples of spans) expect(samples).toBeGreaterThanOrEqual(18);
  });
});

describe("the store that tells the history", () => {
  const report = { usage: { ...usage(), disks: [] } } as unknown as UsageReport;

  it("tells of what was written, and of nothing that an overtaken tunnel said or that failed", async () => {
    const heard: string[] = [];
    const outcomes = [true, false, new Error("the database is gone")];
    const store = tellingUsage<Pick<WolfStore, "changeUsage">>(
      {
        async changeUsage(_id, _epoch, _report, _now) {
          const outcome = outcomes.shift();
          if (outcome instanceof Error) throw outcome;
          return outcome ?? false;
        },
      },
      { heard: (wolfId) => void heard.push(wolfId) },
    );
    expect(await store.changeUsage("wlf_1", 1, report, clock.now())).toBe(true);
    expect(await store.changeUsage("wlf_2", 1, report, clock.now())).toBe(false);
    await expect(store.changeUsage("wlf_3", 1, report, clock.now())).rejects.toThrow("the database is gone");
    expect(heard).toEqual(["wlf_1"]);
  });
});
