/** Wolves as the rest of the program sees them. Every change is one guarded statement: what no longer holds changes nothing. */
import type {
  Connectivity,
  GpuType,
  Health,
  HealthReason,
  HostFacts,
  HostUsage,
  Intent,
  QuarantineReason,
  TunnelProtocol,
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
  intentSince: Date;
  intentReason: string | null;
  /** While its intent is draining. */
  drain: DrainPlan | null;
  gpuType: GpuType;
  /** Of the GPU that sessions render on. Null: not known. */
  gpuModel: string | null;
  renderNode: string | null;
  maxSandboxes: number;
  connectedSandboxes: number;
  /** Lobbies of its Wolf that no session of it has, as last listed. */
  otherLobbies: number;
  vramMb: Claimed;
  encoderSessions: Claimed;
  /** What its Wolf runs has been compared since the tunnel of this epoch came up. */
  reconciledEpoch: number;
  createFailures: number;
  /** The last one, also when it is over; `times` in a row, 0 once it is forgiven. */
  quarantine: { until: Date; reason: QuarantineReason; times: number } | null;
  lastHeartbeat: Date | null;
  /** Number of the newest tunnel. */
  epoch: number;
  /** Null without a live tunnel. */
  tunnelSince: Date | null;
  /** How the newest tunnel was opened. */
  tunnelBy: TunnelOrigin;
  /** Who holds, or held, the newest tunnel. */
  tunnelReplicaId: string | null;
  /** At its last heartbeat. */
  tunnelRttMs: number | null;
  /** The host's time minus ours as the newest tunnel was opened, by what its agent signed. Null: not known. */
  tunnelClockOffsetMs: number | null;
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

export interface TunnelOrigin {
  protocol: TunnelProtocol;
  /** With the RUNNER_TOKEN, which all hosts share, instead of a key of its own. */
  legacyCredential: boolean;
}

/** By an agent of ours with its own key. */
export const nativeTunnel: TunnelOrigin = { protocol: "revdial", legacyCredential: false };

export interface Claimed {
  /** Null: not known, or not limited. */
  max: number | null;
  claimed: number;
  /** Measured use beyond what was claimed when it was measured. */
  other: number;
}

export interface DrainPlan {
  startedAt: Date;
  deadline: Date;
  sessionsAtStart: number;
  /** The wolf's intent once nothing is left on it. */
  next: "cordoned" | "maintenance" | "retired";
}

/** What keeps wolves away that hurt sessions: how much is too much, and for how long. */
export interface QuarantineRules {
  /** Tunnels lost within `flapWindowMs`. */
  flapsMax: number;
  flapWindowMs: number;
  /** Creations in a row that failed or were slow. */
  createFailuresMax: number;
  /** The first one; each further one lasts twice as long, at most `maxMs`. */
  firstMs: number;
  maxMs: number;
}

/** What a wolf says of itself, at registration and in its inventory. */
export interface WolfReport {
  gpuType: GpuType;
  maxSandboxes: number;
  labels: Record<string, string>;
  region: string | null;
  costPerHour: number | null;
  agentVersion: string | null;
  /** Null: not limited. */
  encoderSessionsMax: number | null;
}

/** The GPU that sessions render on, as the host's facts show it. */
export interface RenderGpu {
  model: string | null;
  renderNode: string | null;
  vramMb: number | null;
}

/** How busy the host is, with the ids that its disk samples get if they are the first of their five minutes. */
export interface UsageReport {
  usage: HostUsage;
  wolfRestarts: number;
  sampleIds: readonly string[];
}

/**
 * What a daemon beside an agent of Helix says of its host. It is left out where the newest tunnel is one of ours: the agent there
 * knows better. That the daemon lives says that its wolf is there only as long as the wolf has had no tunnel.
 */
export interface DaemonReport {
  gpuType?: GpuType | undefined;
  disks?: Pick<UsageReport, "usage" | "sampleIds"> | undefined;
}

/** As what a wolf begins that nobody has described: an agent of Helix says no more than its name. */
export const undescribed: WolfReport = {
  gpuType: "none",
  maxSandboxes: 20,
  labels: {},
  region: null,
  costPerHour: null,
  agentVersion: null,
  encoderSessionsMax: null,
};

export interface WolfFilter {
  limit: number;
  after: string | undefined;
  status?: WolfStatus | undefined;
  gpuType?: GpuType | undefined;
  intent?: Intent | undefined;
  region?: string | undefined;
  name?: string | undefined;
}

/** One tunnel of one wolf. */
export interface TunnelKey {
  /** Of the wolf. */
  id: string;
  epoch: number;
}

export interface NewTunnel {
  /** The epoch is higher than this one, whatever the database remembers. Default 0. */
  after?: number | undefined;
  /** Of the agent's boot. */
  incarnation?: bigint | undefined;
  /** The host's time minus ours. Default: not known. */
  clockOffsetMs?: number | undefined;
}

export interface Heartbeat extends TunnelKey {
  /** Of its last ping; undefined: it has had none. */
  rttMs?: number | undefined;
}

export interface WolfStore {
  /** The same name resumes the same wolf: id, sessions, counts and epoch stay. */
  register(wolf: { id: string; name: string; address: string } & WolfReport, now: Date): Promise<Wolf>;
  /** The wolf of this name as it is, also a retired one; if there is none, a new one is registered as `undescribed`, under `id`. */
  registerOnConnect(name: string, address: string, now: Date, id?: string): Promise<Wolf>;
  /** A heartbeat by HTTP. A wolf without a tunnel that was lost is connected again. */
  heartbeat(
    id: string,
    report: {
      gpuType?: GpuType | undefined;
      maxSandboxes?: number | undefined;
      daemon?: DaemonReport | undefined;
    },
    now: Date,
  ): Promise<boolean>;
  /**
   * Heartbeats of live tunnels, all in one statement; those of older epochs are left out. A wolf that was taken for gone is connected
   * again: another replica, that has just started, may have thought so. Returns how many counted.
   */
  heartbeats(beats: readonly Heartbeat[], now: Date): Promise<number>;
  /** Of those that are there, also retired ones. */
  epochs(ids: readonly string[]): Promise<Map<string, number>>;
  get(id: string): Promise<Wolf | undefined>;
  getByName(name: string): Promise<Wolf | undefined>;
  list(filter: WolfFilter): Promise<Wolf[]>;
  /** All wolves that are not retired, for placement; what is known of their hosts is left out. */
  candidates(): Promise<Wolf[]>;
  /** `force` fails the wolf's live sessions (`wolf-removed`) in the same transaction. */
  deregister(id: string, force: boolean, now: Date): Promise<"deleted" | "unknown" | "has-sessions">;
  /**
   * A tunnel is up: the next epoch is issued and the wolf is connected. `by`: default `nativeTunnel`. The first tunnel of an agent of
   * Helix after one of ours forgets what ours said that changes all the time, since nobody corrects it any more.
   */
  openTunnel(id: string, now: Date, by?: TunnelOrigin, tunnel?: NewTunnel): Promise<Wolf | undefined>;
  /** The tunnel of this epoch is gone: the wolf is suspect, unless a newer tunnel is there. Too often, and it is quarantined. */
  loseTunnel(id: string, epoch: number, rules: QuarantineRules, now: Date): Promise<boolean>;
  /** The grace is over: a wolf that is still suspect in this epoch is lost. */
  markLost(id: string, epoch: number, now: Date): Promise<boolean>;
  /** Suspect wolves whose suspicion began before `cutoff`: for those whose grace nobody's timer watches. */
  listSuspect(cutoff: Date): Promise<TunnelKey[]>;
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
    report: WolfReport & { host?: HostFacts | undefined; gpu?: RenderGpu | undefined },
    now: Date,
  ): Promise<boolean>;
  /** The figures of the GPU that sessions render on say what is used there besides claims. */
  changeUsage(id: string, epoch: number, report: UsageReport, now: Date): Promise<boolean>;
  /**
   * Wolves that count as connected, were last heard before `cutoff` and have none of the `live` tunnels: those known by HTTP
   * heartbeat only, and those whose tunnel was opened in the database but never got to live here.
   */
  findStale(cutoff: Date, live: readonly TunnelKey[]): Promise<Wolf[]>;
  /** Marks them lost in one conditional statement, so that a heartbeat which lands in between wins. Returns their names. */
  markStale(cutoff: Date, live: readonly TunnelKey[], now: Date): Promise<string[]>;
  /**
   * Tunnels of processes that are gone; each such wolf is suspect from now on. Returns all that are suspect. At a start: of all but
   * replicas whose lease runs and which others can reach. `removed`: of replicas that have no row any more.
   */
  orphanTunnels(now: Date, of?: "start" | "removed"): Promise<TunnelKey[]>;

  /** What its Wolf runs has been compared in this epoch; so many lobbies there belong to no session of it. */
  reconciled(id: string, epoch: number, otherLobbies: number, now: Date): Promise<boolean>;
  /** A sandbox came up there in time: what counted against it is forgotten. */
  createSucceeded(id: string, now: Date): Promise<void>;
  /** One more that failed, or took too long; at the limit of the rules it is quarantined. During a quarantine nothing counts. */
  createFailed(
    id: string,
    what: "failed" | "slow",
    rules: QuarantineRules,
    now: Date,
  ): Promise<"counted" | "quarantined">;
  /** Ends a quarantine and forgets what led to it. False: there is no such wolf. */
  readmit(id: string, now: Date): Promise<boolean>;
  /**
   * Another intent, if it still has one of `from`; `drain` is kept while draining. With `unlessSessions` only without live
   * sessions, by one statement that no claim can pass. The wolf as it is now tells what happened; `overtaken`: it would be allowed
   * now, but was not when it was tried.
   */
  changeIntent(
    id: string,
    change: {
      from: readonly Intent[];
      to: Intent;
      reason: string | null;
      drain?: Omit<DrainPlan, "sessionsAtStart">;
      unlessSessions?: boolean;
    },
    now: Date,
  ): Promise<
    { outcome: "changed" | "refused" | "has-sessions" | "overtaken"; wolf: Wolf } | { outcome: "unknown" }
  >;
  listDraining(): Promise<Wolf[]>;
  /**
   * How many wolves are in which connectivity, of those that are expected to be there: not the pending and retired ones, nor
   * those in maintenance.
   */
  countConnectivity(since: Date): Promise<ConnectivityCounts>;
  fleet(): Promise<FleetRow>;
  /** Both as given; null: not (any more). */
  setFleet(row: FleetRow): Promise<void>;
  /**
   * Wolves whose row placement looks at has changed since `mark` was returned, with the next mark: exact, whatever commits late.
   * Undefined asks for all, retired ones too. `gone`: ids that were removed since. The same may be told twice.
   */
  changedCandidates(mark: string | undefined): Promise<{ wolves: Wolf[]; gone: string[]; mark: string }>;
}

export interface ConnectivityCounts {
  connected: number;
  suspect: number;
  lost: number;
  /** Are suspect, or were lost since. */
  leftSince: number;
}

export interface FleetRow {
  frozenSince: Date | null;
  overrideUntil: Date | null;
}
