/** Use cases of sessions: create, show, list, extend, stop, preview, queue. What Wolf really runs is the keeper's. */
import {
  type Action,
  type CreateSessionRequest,
  type ListQueueQuery,
  type ListSessionsQuery,
  type PlacementPreviewRequest,
  PRIORITY_DEFAULT,
  type QueueEntry,
  type WolfLobby,
} from "@wolfpack/api-contract";
import { unshared } from "../database/exclusive.ts";
import { ApiError } from "../http/problem.ts";
import { reachOf, requireMay } from "../identity/policy.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { PlacementDesk, type Preview } from "../placement/desk.ts";
import { FleetView } from "../placement/fleet-view.ts";
import { ComparisonRound, type Unseen } from "./comparison-round.ts";
import { nowhere } from "./elsewhere.ts";
import { KnownSessions } from "./known-sessions.ts";
import { queueEntry } from "./queue-places.ts";
import { SessionChanges } from "./session-changes.ts";
import { SessionKeeper } from "./session-keeper.ts";
import { SessionLosses } from "./session-losses.ts";
import type { SessionServiceOptions } from "./session-service-options.ts";
import { specOf } from "./session-spec.ts";
import { SessionStarts } from "./session-starts.ts";
import type { NewSession, Session } from "./session-store.ts";
import { idleAt, SessionTimes, statusDeadline } from "./session-times.ts";
import { SessionUse } from "./session-use.ts";
import { unwatchedSessions } from "./session-watch.ts";
import { Waiters } from "./waiters.ts";
import { wolfLobbies } from "./wolf-lobbies.ts";

export const sessionNotFound = (): ApiError => new ApiError("session-not-found", "There is no such session.");

/** How long a stop waits for a creation in flight before it answers 202. */
const STOP_WAIT_MS = 10_000;
const TICKS_PER_QUEUE_LOOK = 10;

function requirePriority({ role }: UserPrincipal, priority: number): void {
  if (priority > PRIORITY_DEFAULT && role !== "admin" && role !== "operator")
    throw new ApiError("forbidden", `A priority above ${PRIORITY_DEFAULT} is for operators and admins.`);
}

export class SessionService {
  private readonly options: SessionServiceOptions;
  private readonly waiters: Waiters;
  private readonly view: FleetView;
  private readonly desk: PlacementDesk;
  private readonly changes: SessionChanges;
  private readonly starts: SessionStarts;
  private readonly keeper: SessionKeeper;
  private readonly round: ComparisonRound;
  private readonly losses: SessionLosses;
  private readonly times: SessionTimes;
  private ticks = 0;
  private readonly use: SessionUse;
  private readonly known: KnownSessions;

  constructor(options: SessionServiceOptions) {
    this.options = options;
    const { store, wolves, tunnels, lobbies, clock, log, random, newToken, elsewhere = nowhere } = options;
    const common = { store, clock, log, watch: options.watch ?? unwatchedSessions };
    this.waiters = new Waiters(clock);
    this.use = new SessionUse(common);
    this.known = new KnownSessions(tunnels);
    const wake = () => this.desk.wake();
    const wolfOf = (wolfId: string) => this.view.wolf(wolfId);
    this.view = new FleetView({
      store: wolves,
      hasTunnel: (wolf) => tunnels.wolf(wolf.id) !== undefined || elsewhere.holds(wolf),
      rttMsOf: options.rttMsOf,
      onChanged: () => this.desk.fleetChanged(),
    });
    common.watch.fleet(this.view.fleet);
    this.changes = new SessionChanges({
      ...common,
      tunnels,
      waiters: this.waiters,
      onRoom: wake,
      onLobbyLeft: (wolfId) => this.keeper.lobbyLeft(wolfId),
    });
    this.starts = new SessionStarts({
      ...common,
      lobbies,
      changes: this.changes,
      newToken,
      wolfOf,
      fitsElsewhere: ({ spec }, avoid) => this.desk.fitsElsewhere(spec, avoid),
      wolves,
      quarantine: options.quarantine,
      onLobby: (session, wolfId, lobbyId) => this.keeper.lobbyCreated(session, wolfId, lobbyId),
      look: (wolfId) => this.keeper.look(wolfId),
      renderNode: options.renderNode,
      lockMs: options.lockMs,
      slowMs: options.createSlowMs,
      attemptsMax: options.attemptsMax,
    });
    this.desk = new PlacementDesk({
      ...common,
      view: this.view,
      random,
      newToken,
      quotas: options.quotas,
      settings: options.placement,
      queueMax: options.queueMax,
      lockMs: options.lockMs,
      onClaimed: (session, lock) => {
        const { id, wolfId, ownerId, placement } = session;
        log.info(
          { session_id: id, wolf_id: wolfId, owner_id: ownerId, placement: placement.text },
          "session placed",
        );
        this.waiters.changed(id);
        void this.starts.start(session, lock);
      },
    });
    this.keeper = new SessionKeeper({
      ...common,
      wolves,
      tunnels,
      lobbies,
      changes: this.changes,
      starts: this.starts,
      settleMs: options.settleMs,
      strayGraceMs: options.strayGraceMs,
      unseenMs: options.unseenMs,
      wolfOf,
      onReconciled: wake,
      elsewhere: elsewhere.look,
      known: this.known,
    });
    this.round = new ComparisonRound({ keeper: this.keeper, clock: options.clock });
    const stopLobbyOf = (session: Session, wolfId: string) => this.keeper.stopLobbyOf(session, wolfId);
    this.losses = new SessionLosses({
      ...common,
      changes: this.changes,
      stopLobbyOf,
    });
    this.times = new SessionTimes({
      ...common,
      changes: this.changes,
      starts: this.starts,
      limits: options.limits,
      warningMs: options.warningMs,
      // One that moved to another replica is that one's to judge.
      seenAt: (wolfId) => (tunnels.wolf(wolfId) === undefined ? undefined : this.keeper.seenAt(wolfId)),
      stopLobbyOf,
      onExpiring: options.onExpiring,
    });
    tunnels.onWolfConnected((wolfId) => this.wolfChanged(wolfId));
    tunnels.onWolfTunnelLost((wolfId) => this.wolfChanged(wolfId));
  }

  /** `createKey`: of the creating request; the same one again joins what it has begun. */
  async create(
    principal: UserPrincipal,
    request: CreateSessionRequest,
    createKey: string | null = null,
  ): Promise<Session> {
    requirePriority(principal, request.priority);
    const { clock, defaults } = this.options;
    const spec = specOf(request, defaults);
    const id = this.options.newId("ses");
    const now = clock.now().getTime();
    const session: Omit<NewSession, "placement"> = {
      id,
      ownerId: principal.userId,
      name: request.name ?? id,
      spec,
      pin: request.pin ?? null,
      createKey,
    };
    const queueMs =
      request.queue_deadline_seconds === undefined ? defaults.queueMs : request.queue_deadline_seconds * 1000;
    const queueDeadline = request.queue ? new Date(now + queueMs) : null;
    const placed = await this.desk.place({ session, queueDeadline });
    return this.settled(placed.session, request.wait_seconds * 1000);
  }

  /** What creating a session with this wish would be answered now. */
  async preview(principal: UserPrincipal, wish: PlacementPreviewRequest): Promise<Preview> {
    requirePriority(principal, wish.priority);
    return this.desk.preview(principal.userId, specOf(wish, this.options.defaults));
  }

  async get(principal: UserPrincipal, action: Action, id: string): Promise<Session> {
    const { store } = this.options;
    const session = await (action === "session.look" ? this.known.look(id, store) : store.get(id));
    if (session === undefined) throw sessionNotFound();
    // A foreign one reads like one that does not exist.
    requireMay(principal, action, session.ownerId, sessionNotFound);
    return session;
  }

  list(principal: UserPrincipal, query: ListSessionsQuery): Promise<Session[]> {
    const ownerId = reachOf(principal, "session.read") === "any" ? query.owner_id : principal.userId;
    return this.options.store.list({
      limit: query.limit + 1,
      after: query.cursor,
      newestFirst: query.newest_first,
      status: query.status,
      wolfId: query.wolf_instance_id,
      ownerId,
    });
  }

  /** Those that wait, next first, and one beyond the limit; users see their own, with their places among all. */
  async queue(principal: UserPrincipal, { limit, cursor }: ListQueueQuery): Promise<QueueEntry[]> {
    const ownerId = reachOf(principal, "session.read") === "any" ? undefined : principal.userId;
    // Nobody is behind a place that is not known: that is not to be taken for the end of the queue.
    if (cursor !== undefined) await this.get(principal, "session.read", cursor);
    const rows = await this.options.store.listQueued(limit + 1, { after: cursor, ownerId });
    return rows.map(queueEntry);
  }

  /** What the wolf's Wolf runs now. */
  lobbiesOf = (wolfId: string): Promise<WolfLobby[]> =>
    wolfLobbies(wolfId, this.options.lobbies, this.options.store);

  /** Live sessions by status. */
  countLive = () => this.options.store.countLive();
  queuePosition = async ({ id, status }: Session): Promise<number | undefined> =>
    status === "queued" ? this.options.store.queuePosition(id) : undefined;

  /** The session afterwards: stopped, or stopping while its wolf cannot be asked. */
  async stop(principal: UserPrincipal, id: string, force: boolean): Promise<Session> {
    const before = await this.get(principal, "session.stop", id);
    const { store, clock, log } = this.options;
    const reason = before.status === "queued" ? "cancelled" : force ? "forced" : "requested";
    const session = await store.requestStop(id, reason, clock.now());
    if (session === undefined) throw sessionNotFound();
    this.changes.changed(id);
    const { wolfId } = session;
    if (session.endedAt !== null || wolfId === null) return session;
    log.info({ session_id: id, wolf_id: wolfId, force }, "stop requested");
    if (force) {
      await this.changes.finish(session, { status: "stopped", reason: "forced" });
      void this.keeper.stopLobbyOf(session, wolfId);
    } else if (this.starts.creating.has(id)) {
      await this.waiters.until(id, STOP_WAIT_MS, async () =>
        (await store.get(id))?.endedAt ? true : undefined,
      );
    } else {
      await this.keeper.stopLobbyOf(session, wolfId);
    }
    return (await store.get(id)) ?? session;
  }

  /** Its life ends so long after now. */
  async extend(principal: UserPrincipal, id: string, ttlSeconds: number): Promise<Session> {
    await this.get(principal, "session.touch", id);
    const { store, clock } = this.options;
    const now = clock.now();
    if (!(await store.extend(id, new Date(now.getTime() + ttlSeconds * 1000), now)))
      throw new ApiError("session-ended", "This session has ended or is being stopped.");
    return this.get(principal, "session.touch", id);
  }

  /** Somebody looks at it or types into it. Never rejects. */
  used(session: Session): Promise<void> {
    return this.use.seen(session);
  }

  statusDeadline = (session: Session): Date | undefined => statusDeadline(session, this.options.limits);
  idleAt = (session: Session): Date | undefined => idleAt(session);

  isReachable({ id, endedAt, wolfId }: Session): boolean {
    const { tunnels, elsewhere = nowhere } = this.options;
    if (endedAt !== null) return false;
    const wolf = wolfId === null ? undefined : this.view.wolf(wolfId);
    const leads = wolfId !== null && tunnels.wolf(wolfId) !== undefined;
    return leads || tunnels.sandbox(id) !== undefined || (wolf !== undefined && elsewhere.holds(wolf));
  }

  /** For tunnels of sandboxes: the owner of a session that has not ended. */
  async ownerOf(sessionId: string): Promise<string | undefined> {
    const session = await this.options.store.get(sessionId);
    return session && session.endedAt === null ? session.ownerId : undefined;
  }

  /** Wolves that are being compared with what their Wolfs run, as right after they came, and not because it is time again. */
  countComparing = (): number => Math.max(0, this.keeper.comparing - this.round.comparing);

  /** Of all of them, or of those that `unseen` names: the periodic comparison. Never rejects. */
  reconcileAll(wolfIds: readonly string[], unseen?: Unseen): Promise<void> {
    return this.round.run(wolfIds, unseen);
  }

  /** The periodic look at time, losses and room: nothing depends on an event that may be lost. Never rejects. */
  async tick(): Promise<void> {
    await this.exclusively("sessions", async () => {
      await this.attempt("sessions of lost wolves", () => this.losses.look());
      await this.attempt("deadlines of sessions", () => this.times.look());
    });
    await this.attempt("idle sessions", () => this.times.lookAtIdle());
    await this.attempt("changes of the fleet", async () => {
      await this.view.refresh();
      this.view.endQuarantines(this.options.clock.now().getTime());
    });
    this.ticks = (this.ticks + 1) % TICKS_PER_QUEUE_LOOK;
    if (this.ticks > 0) return;
    // Whoever queued it may be gone.
    await this.exclusively("queue", async () => {
      if ((await this.options.store.countQueued()) > 0) this.desk.wake();
    });
  }

  /** Wolves are lost; what was said of them is in PostgreSQL. Never rejects. */
  wolvesLost(): Promise<void> {
    return this.exclusively("sessions", () => this.losses.look());
  }

  /** Whoever has a session there knows until when. Never rejects. */
  announceDrain(wolfId: string, deadline: Date): Promise<void> {
    const { store, onExpiring } = this.options;
    return this.attempt("owners on a draining wolf", async () => {
      for (const session of await store.listLive(wolfId)) await onExpiring(session, "drained", deadline);
    });
  }

  /** Everything goes from a wolf whose drain has come to its deadline. */
  evict = (wolfId: string): Promise<void> => this.losses.evict(wolfId);

  /** An operator, an agent or a tunnel changed what placement knows of a wolf. */
  wolfChanged(wolfId: string): void {
    this.view.tunnelChanged(wolfId);
    this.desk.wake();
  }

  /** Replicas came or went, and with them ways to wolves. */
  replicasChanged(): void {
    this.view.replicasChanged();
  }

  /** Another replica asks for a comparison of a wolf whose tunnel is here. */
  look(wolfId: string): void {
    this.keeper.look(wolfId);
  }

  /** Another replica, or a statement past this service, changed these sessions or something about wolves. */
  happened({ sessionIds, fleet }: { sessionIds: Iterable<string>; fleet: boolean }): void {
    for (const id of sessionIds) this.waiters.changed(id);
    if (fleet) void this.attempt("changes of the fleet", async () => void (await this.view.refresh()));
  }

  /** Sessions were changed past this service, as when their wolf is removed: whoever waits looks again. */
  changedElsewhere(removedWolfId?: string): void {
    if (removedWolfId !== undefined) void this.keeper.forget(removedWolfId);
    this.waiters.allChanged();
    this.desk.wake();
  }

  /** Lets waiting requests go and stops timers. Locks of creations in flight are held on until `end`. */
  close(): void {
    this.desk.close();
    this.keeper.close();
    this.waiters.close();
  }

  /** Nothing is in flight any more, or no longer ours. */
  end(): void {
    this.starts.close();
  }

  /** As it is once it runs, has ended, or `ms` have passed. Rejects when it failed to start. */
  private async settled(session: Session, ms: number): Promise<Session> {
    const [{ id }, { store }] = [session, this.options];
    const on = new Set(["queued", "placed", "starting"]);
    const settled = await this.waiters.until(id, ms, async () => {
      const now = await store.get(id);
      return now && !on.has(now.status) ? now : undefined;
    });
    const now = settled ?? (await store.get(id)) ?? session;
    if (now.status !== "failed") return now;
    const { code, reason } = now.failure ?? { code: "internal", reason: "Unexpected failure." };
    throw new ApiError("session-start-failed", reason, { extras: { session_id: id, reason_code: code } });
  }

  /** Unless another replica is at it; never rejects. */
  private exclusively(what: string, run: () => Promise<void>): Promise<void> {
    const { exclusive = unshared } = this.options;
    return this.attempt(what, async () => void (await exclusive(what, run)));
  }

  private async attempt(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (err) {
      this.options.log.warn({ err, what }, "sessions not looked at");
    }
  }
}
