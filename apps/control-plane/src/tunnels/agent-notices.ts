/**
 * What one agent says in NOTICE frames of its tunnel, from bytes of somebody else to checked values: a budget per second,
 * schemas, one write at a time. Whatever does not fit is dropped and counted; it ends nothing and throws nothing.
 */
import {
  AgentCapabilities,
  AgentHeartbeat,
  AgentImages,
  AgentInventory,
  AgentRelist,
  AgentWolfEvent,
  agentNoticeTypes,
  type HealthReason,
  type HostFacts,
  type WolfCapabilities,
  type WolfImage,
} from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import { type HealthState, healthJudge } from "../wolves/health.ts";
import { renderGpuOf } from "../wolves/render-gpu.ts";
import { reportOf } from "../wolves/wolf-service.ts";
import type { RenderGpu, UsageReport, WolfReport } from "../wolves/wolf-store.ts";
import { newestWrite } from "./newest-write.ts";

export interface NoticeSink {
  health(state: HealthState): Promise<unknown>;
  /** `gpu`: the one that sessions render on; with the host's facts only. */
  report(
    report: WolfReport & { host?: HostFacts | undefined; gpu?: RenderGpu | undefined },
  ): Promise<unknown>;
  usage(report: UsageReport): Promise<unknown>;
  /** Null: not known. */
  capabilities(capabilities: WolfCapabilities | null): Promise<unknown>;
  /** Null: not known. */
  images(images: WolfImage[] | null): Promise<unknown>;
  event(event: AgentWolfEvent): void;
  /** Events were lost. */
  relist(): void;
}

export interface AgentNotices {
  /** One notice as it came. Until `open`, a few are kept. */
  hear(type: string, payload: Uint8Array): void;
  /**
   * The tunnel is accepted: those kept are read, and all later ones as they come. `before`: the wolf's reasons until
   * now; default none.
   */
  open(sink: NoticeSink, before?: readonly HealthReason[]): void;
  /** The tunnel has ended: nothing is read or written any more. */
  close(): void;
}

/** Notices an agent may send at once; a host that starts all its sandboxes sends some hundred events. */
const NOTICES_BURST_MAX = 500;
const NOTICES_PER_SECOND_MAX = 100;
/** Kept while the epoch is being issued. */
const NOTICES_EARLY_MAX = 16;
/** Dropped notices are logged at most this often per tunnel: a flood of them is no flood of lines. */
const DROPS_LOGGED_EVERY_MS = 10_000;
const WRITE_RETRY_MS = 5000;
/** Figures change all the time: they are written so often at most. Health, which is what they are judged by, at once. */
const USAGE_EVERY_MS = 30_000;

export interface AgentNoticesOptions {
  wolfId: string;
  clock: Clock;
  log: Log;
  /** Preferred where a host has several GPUs of its wolf's type. */
  renderNode?: string | undefined;
}

export function agentNotices(options: AgentNoticesOptions): AgentNotices {
  const { wolfId, clock, renderNode } = options;
  const log = options.log.child({ wolf_id: wolfId });
  const drops = dropCounter(clock, log);
  const withinBudget = tokenBucket(clock, NOTICES_BURST_MAX, NOTICES_PER_SECOND_MAX);
  const early: [type: string, payload: Uint8Array][] = [];
  let read: ((type: string, payload: Uint8Array) => void) | undefined;
  let closed = false;
  let stop: (() => void) | undefined;

  return {
    hear(type, payload) {
      if (closed) return;
      if (!withinBudget()) return drops.add("too many", type);
      if (read !== undefined) return read(type, payload);
      if (early.length >= NOTICES_EARLY_MAX) return drops.add("too early", type);
      early.push([type, payload]);
    },

    open(sink, before) {
      if (closed) return;
      const writer = <Value>(what: string, write: (value: Value) => Promise<unknown>) =>
        newestWrite({
          write,
          clock,
          retryMs: WRITE_RETRY_MS,
          failed: (err) => log.warn({ err, what }, "notice not written yet"),
        });
      const health = writer("health", sink.health);
      const report = writer("report", sink.report);
      const capabilities = writer("capabilities", sink.capabilities);
      const images = writer("images", sink.images);
      const usage = writer("usage", sink.usage);
      stop = () => {
        capabilities.stop();
        health.stop();
        images.stop();
        report.stop();
        usage.stop();
      };
      const judge = healthJudge(before);
      let usageAt = Number.NEGATIVE_INFINITY;
      const takeUsage = (beat: AgentHeartbeat) => {
        const now = clock.now().getTime();
        // The wall clock may step back.
        if (beat.usage === undefined || (now >= usageAt && now - usageAt < USAGE_EVERY_MS)) return;
        usageAt = now;
        usage.set({
          usage: beat.usage,
          wolfRestarts: beat.restarts?.count ?? 0,
          sampleIds: beat.usage.disks.map(() => newId("dsk")),
        });
      };
      const readers: Record<string, (json: unknown) => boolean> = {
        [agentNoticeTypes.heartbeat](json) {
          const { success, data } = AgentHeartbeat.safeParse(json);
          if (!success) return false;
          health.set(judge(data));
          takeUsage(data);
          return true;
        },
        [agentNoticeTypes.inventory](json) {
          const { success, data } = AgentInventory.safeParse(json);
          if (!success) return false;
          const gpu = data.host && renderGpuOf(data.host, data.gpu_type, renderNode);
          report.set({ ...reportOf(data), host: data.host, gpu });
          return true;
        },
        [agentNoticeTypes.capabilities](json) {
          const { success, data } = AgentCapabilities.safeParse(json);
          if (success) capabilities.set(capabilitiesOf(data));
          return success;
        },
        [agentNoticeTypes.images](json) {
          const { success, data } = AgentImages.safeParse(json);
          if (success) images.set(data.images);
          return success;
        },
        [agentNoticeTypes.relist](json) {
          const { success } = AgentRelist.safeParse(json);
          if (success) sink.relist();
          return success;
        },
        [agentNoticeTypes.wolfEvent](json) {
          const { success, data } = AgentWolfEvent.safeParse(json);
          if (success) sink.event(data);
          return success;
        },
      };
      read = (type, payload) => {
        const reader = Object.hasOwn(readers, type) ? readers[type] : undefined;
        if (reader === undefined) return drops.add("unknown type", type);
        const json = parseJson(payload);
        if (json === undefined) return drops.add("not JSON", type);
        if (!reader(json)) drops.add("does not fit its schema", type);
      };
      for (const [type, payload] of early.splice(0)) read(type, payload);
    },

    close() {
      closed = true;
      early.length = 0;
      stop?.();
      drops.report();
    },
  };
}

/** Null when the agent could not read what its Wolf says of itself. */
function capabilitiesOf({ schema_hash, features, missing }: AgentCapabilities): WolfCapabilities | null {
  return schema_hash === null ? null : { schema_hash, features, missing };
}

function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    return undefined;
  }
}

/** True while there is a token left; they come back `perSecond`, up to `burst`. */
export function tokenBucket(clock: Clock, burst: number, perSecond: number): () => boolean {
  let tokens = burst;
  let filledAt = clock.now().getTime();
  return () => {
    const now = clock.now().getTime();
    // The wall clock may step back, which fills nothing.
    tokens = Math.min(burst, tokens + (Math.max(0, now - filledAt) / 1000) * perSecond);
    filledAt = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

function dropCounter(clock: Clock, log: Log): { add(why: string, type: string): void; report(): void } {
  let total = 0;
  let reported = 0;
  let reportedAt = Number.NEGATIVE_INFINITY;
  let last = {};
  function report(): void {
    if (total === reported) return;
    log.warn({ ...last, dropped: total - reported, dropped_total: total }, "notices dropped");
    reported = total;
    reportedAt = clock.now().getTime();
  }
  return {
    add(why, type) {
      total += 1;
      last = { why, type: type.slice(0, 64) };
      if (clock.now().getTime() - reportedAt >= DROPS_LOGGED_EVERY_MS) report();
    },
    report,
  };
}
