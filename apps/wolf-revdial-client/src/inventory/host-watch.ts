/** Reads the host again and again: facts for the inventory, figures for the heartbeat. Whatever cannot be read is left unknown. */
import { cpus, freemem, loadavg, totalmem } from "node:os";
import {
  type AgentHeartbeat,
  type DiskLevel,
  type GpuType,
  type HostFacts,
  type HostUsage,
  hostLimits,
} from "@wolfpack/api-contract";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../logger.ts";
import { printable } from "../printable.ts";
import type { Target } from "../target.ts";
import { boundedSource, type Reading } from "./bounded.ts";
import { type DiskThresholds, type DiskWatchOptions, diskWatch } from "./disks.ts";
import { readCards } from "./drm.ts";
import { askNvidia, gpuWatch, type NvidiaAnswer } from "./gpus.ts";
import { runTool } from "./tool.ts";
import { restartWatch, socketIdentity } from "./wolf-restarts.ts";

export interface HostWatchOptions {
  wolf: Target;
  /** `--gpu-type`; undefined: nobody said. */
  gpuType: GpuType | undefined;
  /** Undefined: every local disk. */
  mounts: readonly string[] | undefined;
  thresholds: DiskThresholds;
  /** Where tools are looked for. */
  path: string | undefined;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  /** The facts are others than before. */
  onFacts: (facts: HostFacts) => void;
  drm?: string;
  /** How disks are read. Default: of this host. */
  disks?: Pick<DiskWatchOptions, "list" | "stat">;
  /** How the tool of NVIDIA is asked. Default: it is run. */
  nvidia?: () => Promise<NvidiaAnswer | undefined>;
}

export interface HostWatch {
  /** Undefined until the first reading. */
  readonly facts: HostFacts | undefined;
  /** What is known of Wolf after a probe. */
  saw(answers: boolean, reply: Buffer | undefined): void;
  /** For the next heartbeat; no `usage` until the disks were read, and no state of GPUs until the tool was asked. */
  beat(): Pick<AgentHeartbeat, "usage" | "restarts">;
  readonly done: Promise<unknown>;
}

const READ_INTERVAL_MS = 60_000;
const TOOL_TIMEOUT_MS = 10_000;
/** A tool that is killed after its time does not end while its driver hangs. Above two runs of one that is slow. */
const TOOL_DEADLINE_MS = 22_000;
const TOOL_OUTPUT_BYTES_MAX = 64 * 1024;
/** Leaves room in the notice for the rest of a heartbeat. */
const USAGE_BYTES_MAX = 14 * 1024;
const DETAIL_CHARACTERS_MAX = 200;

type GpuFigures = Pick<HostUsage, "gpu_state" | "gpu_detail" | "gpus">;
type DiskFigures = Pick<HostUsage, "disks" | "disk_detail">;

export function watchHost(options: HostWatchOptions): HostWatch {
  const { wolf, gpuType, mounts, thresholds, path, clock, log, signal, onFacts, drm } = options;
  const readDisks = diskWatch({ mounts, thresholds, clock, signal, ...options.disks });
  const judgeGpus = gpuWatch(gpuType);
  const restarts = restartWatch();
  let facts: HostFacts | undefined;
  let gpus: GpuFigures = { gpu_state: null, gpu_detail: null, gpus: [] };
  let disks: DiskFigures | undefined;

  const run = (args: string[]) =>
    runTool("nvidia-smi", args, {
      path,
      timeoutMs: TOOL_TIMEOUT_MS,
      outputBytesMax: TOOL_OUTPUT_BYTES_MAX,
      signal,
    });
  const tool = boundedSource(options.nvidia ?? (() => askNvidia(run)), {
    clock,
    signal,
    deadlineMs: TOOL_DEADLINE_MS,
  });

  async function takeGpus(): Promise<void> {
    const reading = await tool.read();
    if (signal.aborted) return;
    const nvidia =
      reading.outcome === "read"
        ? reading.value
        : { cards: [], trouble: `nvidia-smi: ${whyUnread(reading)}` };
    const { state, detail, ...found } = judgeGpus({ cards: readCards(drm), nvidia });
    gpus = { gpu_state: state, gpu_detail: detail, gpus: found.usage };
    const now = factsOf(found.gpus);
    if (JSON.stringify(now) === JSON.stringify(facts)) return;
    facts = now;
    onFacts(now);
  }

  async function takeDisks(): Promise<void> {
    const reading = await readDisks();
    const lost = reading.unread.filter((disk) => disk.lost).map(({ mount, why }) => `${mount} (${why})`);
    const detail = lost.join(", ").slice(0, DETAIL_CHARACTERS_MAX).toWellFormed();
    disks = { disks: reading.disks, disk_detail: detail === "" ? null : detail };
  }

  /** Each source has its own loop: none waits for another. */
  async function watch(take: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      await take().catch((err: unknown) => log.warn({ err }, "the host could not be read"));
      await pause(READ_INTERVAL_MS, clock, signal);
    }
  }

  const usage = (): HostUsage | undefined =>
    disks &&
    fitting({
      cpu_load: loadavg()[0] ?? null,
      memory_available_bytes: freemem(),
      ...gpus,
      ...disks,
    });

  const done = Promise.all([watch(takeGpus), watch(takeDisks)]);
  return {
    get facts() {
      return facts;
    },
    saw(answers, reply) {
      const now = clock.now();
      const before = restarts.restarts(now).count;
      restarts.see({ at: now, answers, socket: socketIdentity(wolf), lobbies: lobbyIds(reply) });
      const { count } = restarts.restarts(now);
      if (count > before) log.warn({ restarts: count }, "Wolf has restarted: its lobbies are gone");
    },
    beat() {
      const now = usage();
      return { ...(now === undefined ? {} : { usage: now }), restarts: restarts.restarts(clock.now()) };
    },
    done,
  };
}

function factsOf(gpus: HostFacts["gpus"]): HostFacts {
  const processors = cpus();
  const model = printable(processors[0]?.model ?? "");
  return {
    cpu_model: model.trim().slice(0, 127) || null,
    cpu_count: Math.max(1, processors.length),
    memory_bytes: totalmem(),
    gpus,
  };
}

function whyUnread(reading: Exclude<Reading<unknown>, { outcome: "read" }>): string {
  if (reading.outcome === "hangs") return `it does not end (${TOOL_DEADLINE_MS / 1000} s)`;
  return `it could not be asked (${(reading.error as NodeJS.ErrnoException | undefined)?.code ?? "failed"})`;
}

const severity: Record<DiskLevel, number> = { critical: 0, warning: 1, ok: 2 };

/** Disks and the names of their mounts may take more than a notice has: the worst come first, and `disk_detail` tells of the rest. */
export function fitting(usage: HostUsage): HostUsage {
  const sorted = usage.disks.toSorted(
    (a, b) => severity[a.level] - severity[b.level] || (a.mount < b.mount ? -1 : 1),
  );
  for (let kept = Math.min(sorted.length, hostLimits.disksMax); ; kept -= 1) {
    const fitted = {
      ...usage,
      disks: sorted.slice(0, kept),
      disk_detail: detailOf(usage, sorted.slice(kept)),
    };
    if (kept === 0 || Buffer.byteLength(JSON.stringify(fitted)) <= USAGE_BYTES_MAX) return fitted;
  }
}

/** Healthy disks too many are no news; the worst is the first. */
function detailOf({ disk_detail }: HostUsage, cut: HostUsage["disks"]): string | null {
  const [worst] = cut;
  if (worst === undefined || worst.level === "ok") return disk_detail;
  const text = `no room for ${cut.length} more, at worst ${worst.level}`;
  return (disk_detail === null ? text : `${text}; ${disk_detail}`)
    .slice(0, DETAIL_CHARACTERS_MAX)
    .toWellFormed();
}

/** Undefined when the reply is no list of lobbies. */
function lobbyIds(reply: Buffer | undefined): string[] | undefined {
  try {
    const { lobbies } = JSON.parse(reply?.toString("utf8") ?? "") as { lobbies: { id: unknown }[] };
    return lobbies.map(({ id }) => String(id));
  } catch {
    return undefined;
  }
}
