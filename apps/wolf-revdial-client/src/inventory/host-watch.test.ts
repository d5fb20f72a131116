/** The host beside sources that hang: what a heartbeat says meanwhile, and how often each source is asked. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type HostFacts, HostUsage } from "@wolfpack/api-contract";
import { ManualClock } from "revdial/testing";
import { createLogger } from "../logger.ts";
import type { StatFs } from "./disks.ts";
import type { NvidiaAnswer } from "./gpus.ts";
import { type HostWatch, watchHost } from "./host-watch.ts";
import { nvidiaQueries, parseNvidia } from "./nvidia.ts";

const MINUTE_MS = 60_000;
const line = "00000000:01:00.0, NVIDIA RTX A4000, 550.90.07, 16376, 512, 10, 1, 5";
const rtx: NvidiaAnswer = { cards: parseNvidia(line, nvidiaQueries[0] ?? []), trouble: undefined };
const disk: StatFs = { bsize: 4096n, blocks: 1000n, bfree: 500n, bavail: 500n };

let clock: ManualClock;
let stop: AbortController;
let watch: HostWatch;
let told: HostFacts[];
let tools: PromiseWithResolvers<NvidiaAnswer | undefined>[];
let stats: PromiseWithResolvers<StatFs>[];
let drm: string;

beforeEach(async () => {
  [clock, stop, told, tools, stats] = [new ManualClock(), new AbortController(), [], [], []];
  drm = mkdtempSync(path.join(os.tmpdir(), "hw-"));
  const kept = <Value>(all: PromiseWithResolvers<Value>[]) => {
    const next = Promise.withResolvers<Value>();
    all.push(next);
    return next.promise;
  };
  watch = watchHost({
    wolf: { host: "127.0.0.1", port: 1 },
    gpuType: "nvidia",
    mounts: ["/d"],
    thresholds: { warningPercent: 85, criticalPercent: 95, freeBytesMin: 0 },
    path: undefined,
    clock,
    log: createLogger("silent"),
    signal: stop.signal,
    onFacts: (facts) => told.push(facts),
    drm,
    nvidia: () => kept(tools),
    disks: { stat: () => kept(stats) },
  });
  await clock.advance(0);
});

afterEach(async () => {
  stop.abort();
  await watch.done;
  expect(clock.pending).toBe(0);
  rmSync(drm, { recursive: true, force: true });
});

const usage = () => {
  const said = watch.beat().usage;
  return said && HostUsage.parse(said);
};

describe("a host", () => {
  it("is not described before its disks were read, and its disks do not wait for the tool", async () => {
    expect(usage()).toBeUndefined();
    stats[0]?.resolve(disk);
    await clock.advance(0);
    expect(usage()).toMatchObject({ gpu_state: null, gpus: [], disks: [{ mount: "/d" }], disk_detail: null });
    expect(told).toEqual([]);
    tools[0]?.resolve(rtx);
    await clock.advance(0);
    expect(usage()).toMatchObject({ gpu_state: "ok", gpus: [{ vram_used_bytes: 512 * 2 ** 20 }] });
    expect(told).toMatchObject([{ gpus: [{ model: "NVIDIA RTX A4000" }] }]);
  });

  it("whose tool never ends is unknown after 22 s, and the tool is not started a second time", async () => {
    stats[0]?.resolve(disk);
    await clock.advance(0);
    await clock.advance(21_999);
    expect(usage()).toMatchObject({ gpu_state: null });
    await clock.advance(1);
    expect(usage()).toMatchObject({ gpu_state: "unknown", gpu_detail: "nvidia-smi: it does not end (22 s)" });
    await clock.advance(10 * MINUTE_MS);
    expect(tools).toHaveLength(1);
  });

  it("whose tool hangs later has no figures of before, keeps its GPUs, and is well again when the tool is", async () => {
    stats[0]?.resolve(disk);
    tools[0]?.resolve(rtx);
    await clock.advance(0);
    await clock.advance(MINUTE_MS + 22_000);
    expect(usage()).toMatchObject({ gpu_state: "ok", gpus: [{ utilisation_percent: null }] });
    await clock.advance(MINUTE_MS);
    expect(usage()).toMatchObject({ gpu_state: "unknown", gpus: [{ vram_used_bytes: null }] });
    expect(told).toHaveLength(1);
    tools[1]?.resolve(rtx);
    await clock.advance(0);
    for (const tool of [2, 3]) {
      await clock.advance(MINUTE_MS);
      tools[tool]?.resolve(rtx);
      await clock.advance(0);
    }
    expect(usage()).toMatchObject({ gpu_state: "ok", gpus: [{ utilisation_percent: 10 }] });
  });

  it("whose tool fails in a way of its own is unknown, not as it was", async () => {
    stats[0]?.resolve(disk);
    tools[0]?.reject(new Error("no more processes"));
    await clock.advance(0);
    expect(usage()).toMatchObject({
      gpu_state: "unknown",
      gpu_detail: "nvidia-smi: it could not be asked (failed)",
    });
  });

  it("whose disk stops answering says so after three minutes, instead of figures from before", async () => {
    stats[0]?.resolve(disk);
    await clock.advance(0);
    await clock.advance(3 * MINUTE_MS - 1);
    expect(usage()).toMatchObject({ disks: [{ mount: "/d" }], disk_detail: null });
    await clock.advance(MINUTE_MS);
    expect(usage()).toMatchObject({ disks: [], disk_detail: "/d (no answer within 3 s)" });
    expect(stats).toHaveLength(2);
    stats[1]?.resolve(disk);
    while (stats.length < 3) await clock.advance(1000);
    stats[2]?.resolve(disk);
    await clock.advance(0);
    expect(usage()).toMatchObject({ disks: [{ mount: "/d" }], disk_detail: null });
  });

  it("ends with its agent, also while everything hangs", async () => {
    stop.abort();
    await watch.done;
    expect(usage()).toMatchObject({ gpu_state: null, disks: [] });
  });
});
