/** Wolves as the rest of the program sees them. Every change is one guarded statement: what no longer holds changes nothing. */
import type {
  Connectivity,
  GpuType,
  Health,
  HealthReason,
  HostFacts,
  HostUsage,
  Intent,
  WolfCapabilities,
  WolfImage,
  WolfStatus,
} from "@wolfpack/api-contract";

export interface Wolf {
  id: string;
  name: string;
  address: string;
  connectivity: Connectivity;
  connectivitySince: Date;
  health: Health;
  healthReasons: HealthReason[];
  intent: Intent;
  gpuType: GpuType;
  maxSandboxes: number;
  connectedSandboxes: number;
  lastHeartbeat: Date | null;
  /** Number of the newest tunnel. */
  epoch: number;
  /** Null without a live tunnel. */
  tunnelSince: Date | null;
  agentVersion: string | null;
  /** Null: not known. */
  capabilities: WolfCapabilities | null;
  labels: Record<string, string>;
  region: string | null;
  costPerHour: number | null;
  /** Null until its agent has said, and always in `candidates`. */
  host: HostFacts | null;
  usage: (HostUsage & { received_at: string }) | null;
  wolfRestarts: number;
  /** Null: not known, and always in `candidates`. */
  images: WolfImage[] | null;
  createdAt: Date;
  updatedAt: Date;
}

/** What a wolf says of itself, at registration and in its inventory. */
export interface WolfReport {
  gpuType: GpuType;
  maxSandboxes: number;
  labels: Record<string, string>;
  region: string | null;
  costPerHour: number | null;
  agentVersion: string | null;
}

/** How busy the host is, with the ids that its disk samples get if they are the first of their five minutes. */
export interface UsageReport {
  usage: HostUsage;
  wolfRestarts: number;
  sampleIds: readonly string[];
}

export interface WolfFilter {
  limit: number;
  after: string | undefined;
  status?: WolfStatus | undefined;
  gpuType?: GpuType | undefined;
  name?: string | undefined;
}

/** One tunnel of one wolf. */
export interface TunnelKey {
  /** Of the wolf. */
  id: string;
  epoch: number;
}

export interface WolfStore {
  /** The same name resumes the same wolf: id, sessions, counts and epoch stay. */
  register(wolf: { id: string; name: string; address: string } & WolfReport, now: Date): Promise<Wolf>;
  /** A heartbeat by HTTP. A wolf without a tunnel that was lost is connected again. */
  heartbeat(
    id: string,
    report: { gpuType?: GpuType | undefined; maxSandboxes?: number | undefined },
    now: Date,
  ): Promise<boolean>;
  /** Heartbeats of live tunnels, all in one statement; those of older epochs are left out. Returns how many counted. */
  heartbeats(beats: readonly TunnelKey[], now: Date): Promise<number>;
  get(id: string): Promise<Wolf | undefined>;
  getByName(name: string): Promise<Wolf | undefined>;
  list(filter: WolfFilter): Promise<Wolf[]>;
  /** All wolves that are not retired, for placement; what is known of their hosts is left out. */
  candidates(): Promise<Wolf[]>;
  /** `force` fails the wolf's live sessions (`wolf-removed`) in the same transaction. */
  deregister(id: string, force: boolean, now: Date): Promise<"deleted" | "unknown" | "has-sessions">;
  /** A tunnel is up: the next epoch is issued and the wolf is connected. */
  openTunnel(id: string, now: Date): Promise<Wolf | undefined>;
  /** The tunnel of this epoch is gone: the wolf is suspect, unless a newer tunnel is there. */
  loseTunnel(id: string, epoch: number, now: Date): Promise<boolean>;
  /** The grace is over: a wolf that is still suspect in this epoch is lost. */
  markLost(id: string, epoch: number, now: Date): Promise<boolean>;
  changeHealth(
    id: string,
    epoch: number,
    health: Health,
    reasons: readonly HealthReason[],
    now: Date,
  ): Promise<boolean>;
  changeCapabilities(
    id: string,
    epoch: number,
    capabilities: WolfCapabilities | null,
    now: Date,
  ): Promise<boolean>;
  /** Null: not known. */
  changeImages(id: string, epoch: number, images: WolfImage[] | null, now: Date): Promise<boolean>;
  /** What the agent says of itself by its tunnel; without `host` the facts stay as they are. */
  changeReport(
    id: string,
    epoch: number,
    report: WolfReport & { host?: HostFacts | undefined },
    now: Date,
  ): Promise<boolean>;
  changeUsage(id: string, epoch: number, report: UsageReport, now: Date): Promise<boolean>;
  /**
   * Wolves that count as connected, were last heard before `cutoff` and have none of the `live` tunnels: those known by HTTP
   * heartbeat only, and those whose tunnel was opened in the database but never got to live here.
   */
  findStale(cutoff: Date, live: readonly TunnelKey[]): Promise<Wolf[]>;
  /** Marks them lost in one conditional statement, so that a heartbeat which lands in between wins. Returns their names. */
  markStale(cutoff: Date, live: readonly TunnelKey[], now: Date): Promise<string[]>;
  /** At start: tunnels of a former process are gone; each such wolf is suspect from now on. Returns all that are suspect. */
  orphanTunnels(now: Date): Promise<TunnelKey[]>;
}
