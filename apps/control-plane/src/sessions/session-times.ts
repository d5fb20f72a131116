/**
 * Time's part in a session's life: no status that passes lasts beyond its deadline, and what its owner wished to end ends, with a
 * warning before. Whoever made use of it or extended it meanwhile wins, by the statement that stops it.
 */
import type { SessionStatus } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { because } from "../events/author.ts";
import type { Log } from "../logger.ts";
import { startTimeout } from "./reconcile.ts";
import type { SessionChanges } from "./session-changes.ts";
import type { SessionStarts } from "./session-starts.ts";
import type { Failure, Session, SessionStore } from "./session-store.ts";

/** How long a status may last. Those that are not here last as long as they like. */
export interface StatusLimits {
  placedMs: number;
  startingMs: number;
  stoppingMs: number;
  lostMs: number;
}

export interface SessionTimesOptions {
  store: SessionStore;
  changes: SessionChanges;
  starts: SessionStarts;
  clock: Clock;
  log: Log;
  limits: StatusLimits;
  warningMs: number;
  /** When the lobbies of a wolf whose tunnel is here were last seen by this process. */
  seenAt: (wolfId: string) => Date | undefined;
  /** Never rejects. */
  stopLobbyOf: (session: Session, wolfId: string) => Promise<void>;
  /** A session will be stopped at `at` unless its owner does something. */
  onExpiring: (session: Session, reason: "expired" | "idle", at: Date) => Promise<void>;
}

const SESSIONS_PER_LOOK = 200;
/** More: those that nobody sees are listed each time, and none of them is ended. */
const EXPIRED_PER_LOOK = 5000;
/** Nobody is stopped sooner after the warning, also when it came late. */
const NOTICE_MS = 60_000;

/** When a session's status ends by itself; undefined: never. */
export function statusDeadline(
  { status, statusSince, queueDeadline }: Pick<Session, "status" | "statusSince" | "queueDeadline">,
  { placedMs, startingMs, stoppingMs, lostMs }: StatusLimits,
): Date | undefined {
  const lasts: Partial<Record<SessionStatus, number>> = {
    placed: placedMs,
    starting: startingMs,
    stopping: stoppingMs,
    lost: lostMs,
  };
  if (status === "queued") return queueDeadline ?? undefined;
  const ms = lasts[status];
  return ms === undefined ? undefined : new Date(statusSince.getTime() + ms);
}

/** When nobody will have made use of it for too long; undefined: it may be idle. */
export function idleAt({ status, idleSeconds, lastActiveAt, startedAt }: Session): Date | undefined {
  const since = lastActiveAt ?? startedAt;
  if (status !== "running" || idleSeconds === null || since === null) return undefined;
  return new Date(since.getTime() + idleSeconds * 1000);
}

export class SessionTimes {
  private readonly options: SessionTimesOptions;
  private readonly startedAt: Date;

  constructor(options: SessionTimesOptions) {
    this.options = options;
    this.startedAt = options.clock.now();
  }

  /** By what PostgreSQL says: the same whoever looks. */
  look(): Promise<void> {
    return because("deadline", async () => {
      await this.endOverdue();
      await this.warn();
      await this.endExpired("expired");
    });
  }

  /** By what this process has seen of its own wolves: nobody else can do it. */
  lookAtIdle(): Promise<void> {
    return because("deadline", () => this.endExpired("idle"));
  }

  private async endOverdue(): Promise<void> {
    const { store, clock, limits, log } = this.options;
    const now = clock.now();
    const before = (ms: number) => new Date(now.getTime() - ms);
    const since: Partial<Record<SessionStatus, Date>> = { lost: before(limits.lostMs) };
    // What happened while no process was there to see it was nobody's delay.
    const aliveMs = now.getTime() - this.startedAt.getTime();
    if (aliveMs >= limits.placedMs) since.placed = before(limits.placedMs);
    if (aliveMs >= limits.startingMs) since.starting = before(limits.startingMs);
    if (aliveMs >= limits.stoppingMs) since.stopping = before(limits.stoppingMs);
    for (const session of await store.listOverdue(since, now, SESSIONS_PER_LOOK)) {
      log.warn({ session_id: session.id, status: session.status }, "session past its deadline");
      await this.endOne(session);
    }
  }

  private async endOne(session: Session): Promise<void> {
    const { changes, starts } = this.options;
    const { status, placement } = session;
    if (status === "placed" || status === "starting") return starts.failed(session, startTimeout, "later");
    // Its lobby, if there is one, has no owner any more: the reconciler stops it when its wolf can be asked.
    if (status === "stopping")
      return void (await changes.finish(session, { status: "stopped" }, { from: ["stopping"] }));
    const failure =
      status === "queued"
        ? { code: "queue-timeout", reason: `No wolf had room for it in time. ${placement.text}` }
        : wolfStayedAway;
    await changes.finish(session, { status: "failed", failure }, { from: [status] });
  }

  private async endExpired(why: "expired" | "idle"): Promise<void> {
    const { store, clock, changes, stopLobbyOf, warningMs } = this.options;
    const noticeMs = Math.min(warningMs, NOTICE_MS);
    for (const { session, reason } of await store.listExpired(clock.now(), noticeMs, EXPIRED_PER_LOOK)) {
      if (reason !== why || (reason === "idle" && !this.wasSeenIdle(session))) continue;
      if (!(await store.expire(session.id, reason, clock.now(), noticeMs))) continue;
      this.options.log.info({ session_id: session.id, reason }, "session has had its time");
      changes.changed(session.id);
      // One Wolf that does not answer keeps no other waiting; the reconciler tries again.
      if (session.wolfId !== null) void stopLobbyOf(session, session.wolfId);
    }
  }

  /** Its wolf was looked at when its idle time was over: not to be seen is not to be idle. */
  private wasSeenIdle(session: Session): boolean {
    const at = idleAt(session);
    const seenAt = session.wolfId === null ? undefined : this.options.seenAt(session.wolfId);
    return at !== undefined && seenAt !== undefined && seenAt >= at;
  }

  private async warn(): Promise<void> {
    const { store, clock, warningMs, onExpiring } = this.options;
    for (const { session, reason, at } of await store.warn(clock.now(), warningMs))
      await onExpiring(session, reason, at);
  }
}

const wolfStayedAway: Failure = {
  code: "wolf-lost",
  reason: "Its wolf was lost and did not come back in time.",
};
