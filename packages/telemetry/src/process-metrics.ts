/** What every process of ours says of itself: memory, processor, and how late its event loop is. */
import type { Definitions, Meters } from "./meters.ts";

/** `prefix`: of the process's own names, such as `wolfpack`. */
export function processDefinitions<Prefix extends string>(prefix: Prefix) {
  const own = {
    process_cpu_seconds_total: { type: "counter", help: "Processor time of this process." },
    process_resident_memory_bytes: { type: "gauge", help: "Memory of this process that is in RAM." },
    process_start_time_seconds: { type: "gauge", help: "When this process started, in seconds since 1970." },
    nodejs_heap_used_bytes: { type: "gauge", help: "Objects of JavaScript." },
  } as const satisfies Definitions;
  const delay = {
    type: "histogram",
    help: "How late a timer of 100 ms fires: what every request and heartbeat waits at least.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  } as const;
  const named = { [`${prefix}_event_loop_delay_seconds`]: delay } as {
    readonly [Name in `${Prefix}_event_loop_delay_seconds`]: typeof delay;
  };
  return { ...own, ...named };
}

type ProcessTable = Omit<ReturnType<typeof processDefinitions<"x">>, "x_event_loop_delay_seconds">;

export interface ProcessWatch {
  stop(): void;
}

export interface ProcessWatchOptions {
  /** Seconds that the event loop was late. */
  onDelay: (seconds: number) => void;
  /** Milliseconds that never go back. Default: performance.now. */
  now?: () => number;
  /** Calls again and again; gives what ends it. Default: a timer that keeps no process alive. */
  every?: (ms: number, run: () => void) => () => void;
}

const SAMPLE_MS = 100;

function everyMs(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  timer.unref();
  return () => clearInterval(timer);
}

/** Until `stop`. A process that stands still (suspended, or its clock moved) says one large delay, and not thousands. */
export function watchProcess(
  meters: Pick<Meters<ProcessTable>, "set" | "total" | "onRead">,
  { onDelay, now = () => performance.now(), every = everyMs }: ProcessWatchOptions,
): ProcessWatch {
  const startedAt = Date.now() / 1000 - process.uptime();
  let last = now();
  const stop = every(SAMPLE_MS, () => {
    const at = now();
    onDelay(Math.max(0, at - last - SAMPLE_MS) / 1000);
    last = at;
  });
  meters.onRead(() => {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    meters.total("process_cpu_seconds_total", (user + system) / 1e6);
    meters.set("process_resident_memory_bytes", rss);
    meters.set("process_start_time_seconds", startedAt);
    meters.set("nodejs_heap_used_bytes", heapUsed);
  });
  return { stop };
}
