/** The child's side of `child.ts`: answers calls, ends with its parent, and measures its own memory. */
import { EventEmitter } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type Clock, systemClock, type Timer } from "../../src/clock.ts";

const SMALLEST_STEP_BYTES = 10_000;

type Calls = Record<string, (...args: never[]) => unknown>;

interface Call {
  id: number;
  call: string;
  args: never[];
}

/** `onOrphaned`: what else must not outlive the parent. */
export function answerParent(calls: Calls, onOrphaned: () => void = () => undefined): void {
  process.on("message", async ({ id, call, args }: Call) => {
    try {
      const run = calls[call];
      if (run === undefined) throw new Error(`no call ${call}`);
      process.send?.({ id, result: await run(...args) });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.stdin.resume().once("end", () => {
    onOrphaned();
    process.exit(0);
  });
}

/** Collections without a new low after which there is nothing left to collect. */
const IDLE_COLLECTIONS = 3;

/** Bytes this process holds once nothing is left to collect. */
export async function heldBytes(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error("start with --expose-gc");
  let least = Number.POSITIVE_INFINITY;
  for (let idle = 0; idle < IDLE_COLLECTIONS; idle += 1) {
    // Finalizers and settled promises let go some turns later, and what they held goes with the next collection.
    for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    if (heapUsed + external < least - SMALLEST_STEP_BYTES) idle = -1;
    least = Math.min(least, heapUsed + external);
  }
  return least;
}

/** What would be left behind besides memory. */
export interface Left {
  /** Handles and requests of Node that keep the process going, by kind. */
  resources: Record<string, number>;
  /** On its sockets and pipes. */
  listeners: number;
  /** Of the tunnels. */
  timers: number;
}

export function whatIsLeft(clock: CountingClock): Left {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  // Not documented, but the only list of them there is.
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): object[] };
  let listeners = 0;
  for (const handle of handles())
    if (handle instanceof EventEmitter)
      for (const event of handle.eventNames()) listeners += handle.listenerCount(event);
  return { resources, listeners, timers: clock.pending };
}

/** The system's time, and how many of its timers are set. */
export class CountingClock implements Clock {
  private readonly set = new Set<Timer>();

  get pending(): number {
    return this.set.size;
  }

  now(): number {
    return systemClock.now();
  }

  setTimer(ms: number, run: () => void): Timer {
    const timer = systemClock.setTimer(ms, () => {
      this.set.delete(own);
      run();
    });
    const own: Timer = {
      cancel: () => {
        this.set.delete(own);
        timer.cancel();
      },
    };
    this.set.add(own);
    return own;
  }
}

/** The most resident bytes since `forgetPeak`. The kernel keeps count (VmHWM of proc(5)): no moment is too short for it. */
export function peakBytes(): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  if (kib === undefined) throw new Error("the kernel keeps no count of resident memory");
  return Number(kib) * 1024;
}

/** The count begins anew at what is resident now. */
export function forgetPeak(): number {
  writeFileSync("/proc/self/clear_refs", "5");
  return peakBytes();
}
