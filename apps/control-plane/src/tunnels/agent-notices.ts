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
import { NewestWrite, type Writing } from "./newest-write.ts";
import { TokenBucket } from "./token-bucket.ts";

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

type Written = "health" | "report" | "capabilities" | "images" | "usage";

export function agentNotices(options: AgentNoticesOptions): AgentNotices {
  return new Notices(options);
}

/** A class, since each of thousands of tunnels has one: what closures would take is more than all it knows. */
class Notices implements AgentNotices, Writing<Written> {
  readonly clock: Clock;
  readonly retryMs = WRITE_RETRY_MS;
  readonly options: AgentNoticesOptions;
  private readonly drops: DropCounter;
  private readonly budget: TokenBucket;
  private early: [type: string, payload: Uint8Array][] | undefined;
  private opened: { sink: NoticeSink; judge: (beat: AgentHeartbeat) => HealthState } | undefined;
  private closed = false;
  private usageAt = Number.NEGATIVE_INFINITY;
  private readonly health = new NewestWrite<Written>("health", this);
  private readonly report = new NewestWrite<Written>("report", this);
  private readonly capabilities = new NewestWrite<Written>("capabilities", this);
  private readonly images = new NewestWrite<Written>("images", this);
  private readonly usage = new NewestWrite<Written>("usage", this);

  constructor(options: AgentNoticesOptions) {
    this.options = options;
    this.clock = options.clock;
    this.drops = new DropCounter(options);
    this.budget = new TokenBucket(options.clock, NOTICES_BURST_MAX, NOTICES_PER_SECOND_MAX);
  }

  hear(type: string, payload: Uint8Array): void {
    if (this.closed) return;
    if (!this.budget.take()) return this.drops.add("too many", type);
    if (this.opened !== undefined) return this.read(type, payload, this.opened.sink);
    this.early ??= [];
    if (this.early.length >= NOTICES_EARLY_MAX) return this.drops.add("too early", type);
    this.early.push([type, payload]);
  }

  open(sink: NoticeSink, before?: readonly HealthReason[]): void {
    if (this.closed) return;
    this.opened = { sink, judge: healthJudge(before) };
    const early = this.early ?? [];
    this.early = undefined;
    for (const [type, payload] of early) this.read(type, payload, sink);
  }

  close(): void {
    this.closed = true;
    this.early = undefined;
    for (const write of [this.health, this.report, this.capabilities, this.images, this.usage]) write.stop();
    this.drops.report();
  }

  write(what: Written, value: unknown): Promise<unknown> {
    // Each is given what belongs to it, below.
    const write = this.opened?.sink[what] as ((value: unknown) => Promise<unknown>) | undefined;
    return write?.call(this.opened?.sink, value) ?? Promise.resolve();
  }

  failed(what: Written, err: unknown): void {
    const { log, wolfId } = this.options;
    log.warn({ wolf_id: wolfId, err, what }, "notice not written yet");
  }

  heardBeat(beat: AgentHeartbeat): void {
    if (this.opened === undefined) return;
    this.health.set(this.opened.judge(beat));
    const now = this.clock.now().getTime();
    // The wall clock may step back.
    if (beat.usage === undefined || (now >= this.usageAt && now - this.usageAt < USAGE_EVERY_MS)) return;
    this.usageAt = now;
    const { usage, restarts } = beat;
    const sampleIds = usage.disks.map(() => newId("dsk"));
    this.usage.set({ usage, wolfRestarts: restarts?.count ?? 0, sampleIds } satisfies UsageReport);
  }

  heardInventory(said: AgentInventory): void {
    const gpu = said.host && renderGpuOf(said.host, said.gpu_type, this.options.renderNode);
    const report = { ...reportOf(said), host: said.host, gpu };
    this.report.set(report satisfies Parameters<NoticeSink["report"]>[0]);
  }

  heardCapabilities(said: AgentCapabilities): void {
    this.capabilities.set(capabilitiesOf(said));
  }

  heardImages({ images }: AgentImages): void {
    this.images.set(images);
  }

  private read(type: string, payload: Uint8Array, sink: NoticeSink): void {
    const reader = Object.hasOwn(readers, type) ? readers[type] : undefined;
    if (reader === undefined) return this.drops.add("unknown type", type);
    const json = parseJson(payload);
    if (json === undefined) return this.drops.add("not JSON", type);
    if (!reader(json, this, sink)) this.drops.add("does not fit its schema", type);
  }
}

type Reader = (json: unknown, notices: Notices, sink: NoticeSink) => boolean;

function reader<Said>(
  schema: { safeParse(json: unknown): { success: boolean; data?: Said } },
  hear: (said: Said, notices: Notices, sink: NoticeSink) => void,
): Reader {
  return (json, notices, sink) => {
    const { success, data } = schema.safeParse(json);
    if (success) hear(data as Said, notices, sink);
    return success;
  };
}

const readers: Record<string, Reader> = {
  [agentNoticeTypes.heartbeat]: reader(AgentHeartbeat, (said, notices) => notices.heardBeat(said)),
  [agentNoticeTypes.inventory]: reader(AgentInventory, (said, notices) => notices.heardInventory(said)),
  [agentNoticeTypes.capabilities]: reader(AgentCapabilities, (said, notices) =>
    notices.heardCapabilities(said),
  ),
  [agentNoticeTypes.images]: reader(AgentImages, (said, notices) => notices.heardImages(said)),
  [agentNoticeTypes.relist]: reader(AgentRelist, (_said, _notices, sink) => sink.relist()),
  [agentNoticeTypes.wolfEvent]: reader(AgentWolfEvent, (said, _notices, sink) => sink.event(said)),
};

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

class DropCounter {
  private readonly options: Pick<AgentNoticesOptions, "clock" | "log" | "wolfId">;
  private total = 0;
  private reported = 0;
  private reportedAt = Number.NEGATIVE_INFINITY;
  private last: { why: string; type: string } | undefined;

  constructor(options: Pick<AgentNoticesOptions, "clock" | "log" | "wolfId">) {
    this.options = options;
  }

  add(why: string, type: string): void {
    this.total += 1;
    this.last = { why, type: type.slice(0, 64) };
    if (this.options.clock.now().getTime() - this.reportedAt >= DROPS_LOGGED_EVERY_MS) this.report();
  }

  report(): void {
    const { total, reported, last, options } = this;
    if (total === reported) return;
    const counts = { dropped: total - reported, dropped_total: total };
    options.log.warn({ wolf_id: options.wolfId, ...last, ...counts }, "notices dropped");
    this.reported = total;
    this.reportedAt = options.clock.now().getTime();
  }
}
