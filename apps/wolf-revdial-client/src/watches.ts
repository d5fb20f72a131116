/** What the agent looks at beside its tunnel, the host and its Wolf, and what it tells the control plane of both. */
import { type AgentInventory, agentNoticeTypes } from "@wolfpack/api-contract";
import type { AgentEdges } from "./agent.ts";
import type { AgentConfig } from "./config.ts";
import { watchHost } from "./inventory/host-watch.ts";
import { watchImages } from "./inventory/images.ts";
import type { WolfLine } from "./wolf-line.ts";
import { watchWolf } from "./wolf-watch.ts";

export interface WatchesOptions {
  config: AgentConfig;
  edges: Pick<AgentEdges, "log" | "metrics" | "random" | "clock" | "condition" | "path" | "host">;
  /** What does not change while the agent runs. */
  inventory: AgentInventory;
  line: WolfLine;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
  signal: AbortSignal;
}

export interface Watches {
  /** Says all that is known: a tunnel has just come up. */
  announce(): void;
  /** Settles when the signal has aborted and everything is closed. */
  readonly done: Promise<unknown>;
}

export function startWatches({ config, edges, inventory, line, notify, signal }: WatchesOptions): Watches {
  const { log, metrics, random, clock, condition, path, host: state } = edges;
  const tellInventory = () => {
    const { facts } = host;
    notify(agentNoticeTypes.inventory, { ...inventory, ...(facts === undefined ? {} : { host: facts }) });
  };
  const host = watchHost({
    wolf: config.wolf,
    gpuType: config.gpuType,
    drm: config.gpuFolder,
    mounts: config.disks,
    thresholds: config.diskThresholds,
    path,
    clock,
    log,
    signal,
    onFacts: tellInventory,
  });
  const images = watchImages({
    line,
    clock,
    log,
    tell: (said) => notify(agentNoticeTypes.images, said),
  });
  const wolf = watchWolf({
    host,
    images,
    wolf: config.wolf,
    log,
    metrics,
    random,
    clock,
    notify(type, payload) {
      condition.noticed(type, payload);
      return notify(type, payload);
    },
    onEventsWait: condition.eventsWait,
    signal,
    ...(state.seat === undefined ? {} : { eventsFree: state.seat.taken }),
  });
  return {
    announce() {
      tellInventory();
      wolf.announce();
      images.announce();
    },
    done: Promise.all([wolf.done, host.done]),
  };
}
