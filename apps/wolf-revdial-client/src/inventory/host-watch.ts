/** Reads the host again and again: facts for the inventory, figures for the heartbeat. Whatever cannot be read is left unknown. */
import { cpus, freemem, loadavg, totalmem } from "node:os";
import type { AgentHeartbeat, HostFacts, HostUsage } from "@wolfpack/api-contract";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../logger.ts";
import { printable } from "../printable.ts";
import type { Target } from "../target.ts";
import { type DiskThresholds, diskWatch } from "./disks.ts";
import { readCards } from "./drm.ts";
import { askNvidia, readGpus, steadyState } from "./gpus.ts";
import { runTool } from "./tool.ts";
import { restartWatch, socketIdentity } from "./wolf-restarts.ts";

export interface HostWatchOptions {
  wolf: Target;
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
}

export interface HostWatch {
  /** Undefined until the first reading. */
  readonly facts: HostFacts | undefined;
  /** What is known of Wolf after a probe. */
  saw(answers: boolean, reply: Buffer | undefined): void;
  /** For the next heartbeat. */
  beat(): Pick<AgentHeartbeat, "usage" | "restarts">;
  readonly done: Promise<void>;
}

const READ_INTERVAL_MS = 60_000;
const TOOL_TIMEOUT_MS = 10_000;
const TOOL_OUTPUT_BYTES_MAX = 64 * 1024;
/** Leaves room in the notice for the rest of a heartbeat. */
const USAGE_BYTES_MAX = 14 * 1024;

export function watchHost(options: HostWatchOptions): HostWatch {
  const { wolf, mounts, thresholds, path, clock, log, signal, onFacts, drm } = options;
  const readDisks = diskWatch({ mounts, thresholds });
  const steady = steadyState();
  const restarts = restartWatch();
  const known = new Set<string>();
  let facts: HostFacts | undefined;
  let usage: HostUsage | undefined;

  const nvidia = (args: string[]) =>
    runTool("nvidia-smi", args, {
      path,
      timeoutMs: TOOL_TIMEOUT_MS,
      outputBytesMax: TOOL_OUTPUT_BYTES_MAX,
      signal,
    });

  async function read(): Promise<void> {
    const [answer, disks] = await Promise.all([askNvidia(nvidia), readDisks()]);
    if (signal.aborted) return;
    const { gpus, usage: gpuUsage, state, detail } = steady(readGpus(readCards(drm), answer, known));
    for (const { id } of gpus) known.add(id);
    const processors = cpus();
    const found: HostFacts = {
      cpu_model:
        printable(processors[0]?.model ?? "")
          .trim()
          .slice(0, 127) || null,
      cpu_count: Math.max(1, processors.length),
      memory_bytes: totalmem(),
      gpus,
    };
    usage = fitting({
      cpu_load: loadavg()[0] ?? null,
      memory_available_bytes: freemem(),
      gpu_state: state,
      gpu_detail: detail,
      gpus: gpuUsage,
      disks,
    });
    if (JSON.stringify(found) === JSON.stringify(facts)) return;
    facts = found;
    onFacts(found);
  }

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      await read().catch((err: unknown) => log.warn({ err }, "the host could not be read"));
      await pause(READ_INTERVAL_MS, clock, signal);
    }
  }

  const done = watch();
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
    beat: () => ({ ...(usage === undefined ? {} : { usage }), restarts: restarts.restarts(clock.now()) }),
    done,
  };
}

/** Names of mounts may take more bytes than a notice has; the last ones go first. */
export function fitting(usage: HostUsage): HostUsage {
  const disks = [...usage.disks];
  while (Buffer.byteLength(JSON.stringify({ ...usage, disks })) > USAGE_BYTES_MAX && disks.length > 0)
    disks.pop();
  return { ...usage, disks };
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
