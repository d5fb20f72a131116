/**
 * What may be wrong for a while and no longer: a lobby of ours that no session has, a session whose lobby is gone, a status that
 * passes, a wolf that is there and counts as lost. Time counts only while somebody could have put it right.
 */
import type { Invariants } from "./invariants.ts";
import type { Rows, SessionRow, WolfRow } from "./rows.ts";
import { settings } from "./settings.ts";
import type { SimLobby, SimWolf } from "./wolf.ts";
import { BEGAN_AT_MS, type World } from "./world.ts";

/** Between two looks at everything. */
export const LOOK_EVERY_MS = 2000;
const SECOND = 1000;
/** What statements that fail, slow Wolfs and looks that have just been missed may add. */
const SLACK_MS = 60 * SECOND;
/** Of replicas, at most: what one wrote, another reads as of another time. */
export const SKEW_MS_MAX = 60 * SECOND;

const lobbyWrongMsMax = settings.strayGraceMs + 3 * settings.reconcileIntervalMs + SLACK_MS;
/** A tunnel that works is the wolf's heartbeat: the next one, or the one after, puts it right, or sends the agent for a new one. */
const connectivityWrongMsMax = 45 * SECOND;
const suspectMsMax =
  Math.max(settings.restartGraceMs, settings.tunnelLostAfterMs) + settings.monitorIntervalMs + SLACK_MS;
/** Whose process died without a word: its silence is noticed, and forgiven once when the database was away. */
const silentMsMax = 2 * settings.wolfStaleAfterMs + settings.monitorIntervalMs + SLACK_MS;

/** The sessions of lost wolves are looked at every second, and met one after the other. */
const LOSS_MET_MS = 30 * SECOND;
const LOSS_MET_MS_EACH = 150;

const statusMsMax = {
  placed: settings.limits.placedMs,
  starting: settings.limits.startingMs,
  stopping: settings.limits.stoppingMs,
  lost: settings.limits.lostMs,
} as const;

/** A wolf that has just come back is compared first, and again after an interval when that failed. */
const waitMsMax = 4 * settings.reconcileIntervalMs + 30 * SECOND;
/** Sessions that are stopped have their own deadline. */
const drainMsMax = settings.limits.stoppingMs + settings.limits.placedMs + SLACK_MS;
/** Whoever did not freeze them looks once in an interval. */
const thawMsMax = settings.monitorIntervalMs + 30 * SECOND;
/** Longer queues are looked at from their front. */
const QUEUE_LOOKED_AT_MAX = 50;

/** Since when what is wrong has been wrong, and could have been put right. */
type Since = Map<string, number>;

export interface BoundsOptions {
  world: World;
  rows: Rows;
  invariants: Invariants;
  wolves: ReadonlyMap<string, SimWolf>;
  /** Since when one replica has been serving, with its database, its clock going right; undefined: it does not. */
  servingSinceMs: () => number | undefined;
  /** Since when a live replica could ask this wolf; undefined: it cannot. */
  reachableSinceMs: (wolfId: string) => number | undefined;
  /** Since when there has been no tunnel that works, on either side. */
  goneSinceMs: (wolfId: string) => number | undefined;
}

export class Bounds {
  private readonly options: BoundsOptions;
  private strays: Since = new Map();
  private missing: Since = new Map();
  private misjudged: Since = new Map();
  private lossMetMsMax = LOSS_MET_MS;
  private frozen: Since = new Map();
  private waiting: Since = new Map();
  private readonly told = new Set<string>();
  /** When evictions were last frozen. */
  private frozenAtMs = 0;

  constructor(options: BoundsOptions) {
    this.options = options;
  }

  look(): void {
    const servingSinceMs = this.options.servingSinceMs();
    this.lookAtLobbies(servingSinceMs);
    this.lookAtSessions(servingSinceMs);
    this.lookAtWolves(servingSinceMs);
    this.lookAtQueue(servingSinceMs);
    this.lookAtFreeze(servingSinceMs);
  }

  /** What is wrong with a lobby of ours, if it is. */
  wrongWith({ id, tag, wolf }: SimLobby): string | undefined {
    const session = tag === undefined ? undefined : this.options.rows.session(tag);
    // Kept, as what the database has never heard of: it may be an older one that was restored.
    if (session === undefined) return undefined;
    if (session.endedAt !== null) return `of a session that is ${session.status}`;
    if (session.wolfId !== wolf.id) return `of a session that is ${session.status} on ${session.wolfId}`;
    if (session.lobbyId !== null && session.lobbyId !== id) return `of a session that has ${session.lobbyId}`;
    return undefined;
  }

  private lookAtLobbies(servingSinceMs: number | undefined): void {
    const since: Since = new Map();
    for (const [, copies] of this.options.invariants.copies)
      for (const lobby of copies) {
        const wrong = this.wrongWith(lobby);
        const reachableMs = this.options.reachableSinceMs(lobby.wolf.id);
        if (wrong === undefined || servingSinceMs === undefined || reachableMs === undefined) continue;
        this.measure(
          since,
          this.strays,
          lobby.id,
          Math.max(reachableMs, servingSinceMs),
          lobbyWrongMsMax,
          () => ["stray", `${lobby.id} on ${lobby.wolf.id} is ${wrong}`],
        );
      }
    this.strays = since;
  }

  private lookAtSessions(servingSinceMs: number | undefined): void {
    const since: Since = new Map();
    let onLostWolves = 0;
    for (const session of this.options.rows.live()) {
      if (servingSinceMs === undefined) continue;
      this.lookAtStatus(session, servingSinceMs);
      if (this.isOnLostWolf(session)) {
        onLostWolves += 1;
        this.measure(since, this.missing, `${session.id} lost`, servingSinceMs, this.lossMetMsMax, () => [
          "loss",
          `session ${session.id} is ${session.status} on ${session.wolfId}, which is lost`,
        ]);
      }
      this.lookAtLife(session, servingSinceMs);
      const reachableMs = session.wolfId === null ? undefined : this.options.reachableSinceMs(session.wolfId);
      if (reachableMs === undefined || !this.isMissing(session)) continue;
      const fromMs = Math.max(reachableMs, servingSinceMs);
      this.measure(since, this.missing, session.id, fromMs, lobbyWrongMsMax, () => [
        "missing",
        `session ${session.id} is ${session.status} on ${session.wolfId}, where its lobby is not`,
      ]);
    }
    this.missing = since;
    // While there are many of them the bound does not shrink with what is left.
    const msMax = LOSS_MET_MS + onLostWolves * LOSS_MET_MS_EACH;
    this.lossMetMsMax = onLostWolves === 0 ? msMax : Math.max(msMax, this.lossMetMsMax);
  }

  private isOnLostWolf({ status, wolfId }: SessionRow): boolean {
    return status !== "lost" && wolfId !== null && this.options.rows.wolf(wolfId)?.connectivity === "lost";
  }

  private isMissing({ status, lobbyId, wolfId }: SessionRow): boolean {
    if (status !== "starting" && status !== "running" && status !== "lost") return false;
    if (lobbyId === null || wolfId === null) return true;
    return this.options.wolves.get(wolfId)?.lobbies.has(lobbyId) !== true;
  }

  private lookAtStatus(session: SessionRow, servingSinceMs: number): void {
    const { invariants, world } = this.options;
    const { id, status, queueDeadline } = session;
    const servedMs = world.nowMs - servingSinceMs;
    const isMs = world.nowMs - (invariants.sessions.get(id)?.sinceMs ?? world.nowMs);
    const overMs =
      status === "queued"
        ? BEGAN_AT_MS + world.nowMs - (queueDeadline?.getTime() ?? 0)
        : isMs - (statusMsMax[status as keyof typeof statusMsMax] ?? Number.POSITIVE_INFINITY);
    if (Math.min(overMs, servedMs) > SLACK_MS + 2 * SKEW_MS_MAX)
      this.tell(id + status, "deadline", `session ${id} has been ${status} for ${seconds(isMs)} s`);
  }

  /** It has had its time: it is at least being stopped. */
  private lookAtLife({ id, status, expiresAt }: SessionRow, servingSinceMs: number): void {
    const { invariants, world } = this.options;
    if ((status !== "running" && status !== "lost") || expiresAt === null) return;
    const overMs = BEGAN_AT_MS + world.nowMs - expiresAt.getTime();
    // One that waited for too long runs for a moment.
    const isMs = world.nowMs - (invariants.sessions.get(id)?.sinceMs ?? world.nowMs);
    if (Math.min(overMs, isMs, world.nowMs - servingSinceMs) > SLACK_MS + SKEW_MS_MAX)
      this.tell(
        `${id} expired`,
        "expired",
        `session ${id} is ${status} and should have ended ${seconds(overMs)} s ago`,
      );
  }

  private lookAtWolves(servingSinceMs: number | undefined): void {
    const since: Since = new Map();
    const { rows, world } = this.options;
    if (rows.isFrozen()) {
      if (this.frozenAtMs < world.nowMs - LOOK_EVERY_MS) world.count("evictions frozen");
      this.frozenAtMs = world.nowMs;
    }
    for (const wolf of rows.wolves()) {
      const { id, connectivity } = wolf;
      if (servingSinceMs !== undefined) this.lookAtDrain(since, wolf, servingSinceMs);
      const reachableMs = this.options.reachableSinceMs(id);
      const goneMs = this.options.goneSinceMs(id);
      if (servingSinceMs === undefined) continue;
      if (reachableMs !== undefined && connectivity !== "connected")
        this.measure(
          since,
          this.misjudged,
          id,
          Math.max(reachableMs, servingSinceMs),
          connectivityWrongMsMax,
          () => ["connectivity", `${id} has a tunnel that works and counts as ${connectivity}`],
        );
      if (reachableMs !== undefined && wolf.reconciledEpoch !== wolf.epoch)
        this.measure(
          since,
          this.misjudged,
          `${id} old`,
          Math.max(reachableMs, servingSinceMs),
          waitMsMax,
          () => ["compared", `${id} can be asked, and what it runs was not compared in epoch ${wolf.epoch}`],
        );
      if (goneMs !== undefined && connectivity !== "lost")
        this.measure(
          since,
          this.misjudged,
          `${id} gone`,
          Math.max(goneMs, servingSinceMs, this.frozenAtMs),
          connectivity === "suspect" ? suspectMsMax : silentMsMax,
          () => ["connectivity", `${id} is gone and counts as ${connectivity}`],
        );
    }
    this.misjudged = since;
  }

  /** After its deadline a drain ends what is left; then the wolf gets its next intent. */
  private lookAtDrain(
    since: Since,
    { id, intent, drain, connectedSandboxes }: WolfRow,
    fromMs: number,
  ): void {
    if (intent !== "draining" || drain === null) return;
    const overdue = BEGAN_AT_MS + this.options.world.nowMs > drain.deadline.getTime() + SKEW_MS_MAX;
    if (connectedSandboxes > 0 && !overdue) return;
    this.measure(since, this.misjudged, `${id} drain`, fromMs, drainMsMax, () => [
      "drain",
      `${id} still drains, with ${connectedSandboxes} sessions`,
    ]);
  }

  /** Nobody waits for what is there. Judged by hand: placement is among what is to be judged. */
  private lookAtQueue(servingSinceMs: number | undefined): void {
    const since: Since = new Map();
    const queued =
      servingSinceMs === undefined
        ? []
        : this.options.rows.live().filter(({ status }) => status === "queued");
    const free =
      queued.length === 0 ? [] : [...this.options.rows.wolves()].filter((wolf) => this.hasRoom(wolf));
    for (const session of queued.slice(0, QUEUE_LOOKED_AT_MAX))
      for (const wolf of free) {
        if (!fits(session, wolf)) continue;
        const fromMs = Math.max(servingSinceMs ?? 0, this.options.reachableSinceMs(wolf.id) ?? 0);
        this.measure(since, this.waiting, `${session.id} ${wolf.id}`, fromMs, waitMsMax, () => [
          "queue",
          `session ${session.id} waits though ${wolf.id} has room (${session.placement.text})`,
        ]);
      }
    this.waiting = since;
  }

  private hasRoom(wolf: WolfRow): boolean {
    const now = BEGAN_AT_MS + this.options.world.nowMs;
    return (
      wolf.intent === "active" &&
      wolf.connectivity === "connected" &&
      wolf.health === "ok" &&
      this.options.reachableSinceMs(wolf.id) !== undefined &&
      (wolf.quarantine === null || wolf.quarantine.until.getTime() + SKEW_MS_MAX < now) &&
      wolf.connectedSandboxes + wolf.otherLobbies < wolf.maxSandboxes
    );
  }

  /** A freeze ends when enough wolves are there again. */
  private lookAtFreeze(servingSinceMs: number | undefined): void {
    const since: Since = new Map();
    const { sharePercent } = settings.massLoss;
    let [there, away] = [0, 0];
    for (const { connectivity } of this.options.rows.expected()) {
      if (connectivity === "connected") there += 1;
      if (connectivity === "suspect") away += 1;
    }
    const isOver = away * 100 <= sharePercent * (there + away);
    if (servingSinceMs !== undefined && this.options.rows.isFrozen() && isOver)
      this.measure(since, this.frozen, "", servingSinceMs, thawMsMax, () => [
        "frozen",
        `evictions are frozen with ${away} of ${there + away} wolves away`,
      ]);
    this.frozen = since;
  }

  private measure(
    after: Since,
    before: Since,
    key: string,
    possibleSinceMs: number,
    msMax: number,
    words: () => [invariant: string, sentence: string],
  ): void {
    const { nowMs } = this.options.world;
    const sinceMs = Math.max(before.get(key) ?? nowMs, possibleSinceMs);
    after.set(key, sinceMs);
    if (nowMs - sinceMs <= msMax) return;
    const [invariant, sentence] = words();
    this.tell(key + invariant, invariant, `${sentence}, for ${seconds(nowMs - sinceMs)} s`);
  }

  /** Once: it stays wrong. */
  private tell(key: string, invariant: string, sentence: string): void {
    if (this.told.has(key)) return;
    this.told.add(key);
    this.options.world.violate(invariant, sentence);
  }
}

const seconds = (ms: number) => Math.round(ms / SECOND);

function fits({ spec, avoid }: SessionRow, wolf: WolfRow): boolean {
  const { vram_mb: mib, encoder_sessions: encoders } = spec.resources;
  const { vramMb, encoderSessions } = wolf;
  return (
    (spec.gpu_type === null || spec.gpu_type === wolf.gpuType) &&
    (!spec.region_required || spec.region === wolf.region) &&
    !avoid.includes(wolf.id) &&
    Object.entries(spec.labels).every(([name, value]) => wolf.labels[name] === value) &&
    (mib === 0 || (vramMb.max !== null && vramMb.claimed + vramMb.other + mib <= vramMb.max)) &&
    (encoderSessions.max === null ||
      encoderSessions.claimed + encoderSessions.other + encoders <= encoderSessions.max)
  );
}
