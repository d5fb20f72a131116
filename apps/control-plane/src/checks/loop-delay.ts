/** How late the event loop turns: what everything in this process waits for. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type Clock, repeat, type Timer } from "../clock.ts";

export interface LoopDelay {
  start(): void;
  stop(): void;
  /** Of the last one to two minutes. */
  read(): { p99Ms: number; maxMs: number };
}

const RESOLUTION_MS = 20;
const WINDOW_MS = 60_000;
const NS_PER_MS = 1e6;

export function createLoopDelay(clock: Clock): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  let before = { p99Ms: 0, maxMs: 0 };
  let windows: Timer | undefined;

  // The histogram counts the time from turn to turn, of which its own resolution is no delay. It is empty at first.
  const late = (ns: number) => (histogram.count === 0 ? 0 : Math.max(0, ns / NS_PER_MS - RESOLUTION_MS));
  const ofWindow = () => ({ p99Ms: late(histogram.percentile(99)), maxMs: late(histogram.max) });

  return {
    start() {
      histogram.enable();
      windows ??= repeat(clock, WINDOW_MS, async () => {
        before = ofWindow();
        histogram.reset();
      });
    },
    stop() {
      windows?.cancel();
      windows = undefined;
      histogram.disable();
    },
    read() {
      const now = ofWindow();
      return { p99Ms: Math.max(before.p99Ms, now.p99Ms), maxMs: Math.max(before.maxMs, now.maxMs) };
    },
  };
}
