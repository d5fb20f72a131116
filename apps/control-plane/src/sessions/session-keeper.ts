/**
 * Keeps sessions true to what Wolf runs: starts them, hears of their containers, compares the lobbies that a Wolf lists with
 * the sessions expected there, and ends what is over. A session's status is what Wolf was seen to do, never what it was asked for.
 */
import type { AgentWolfEvent, SessionStatus } from "@wolfpack/api-contract";
import { WolfApiError } from "@wolfpack/wolf-api";
import type { Clock, Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Tunnels, WolfVoice } from "../tunnels/tunnel-gateway.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { failureOf, isUnknownLobby, lobbiesOf } from "./lobbies.ts";
import { LobbyEvents } from "./lobby-events.ts";
import { type ReconcileAction, reconcile, startTimeout } from "./reconcile.ts";
import type { Session, SessionOutcome, SessionStore } from "./session-store.ts";
import { lobbyRequest, SOFTWARE_NODE } from "./session-tag.ts";
import { type Stray, StrayLobbies } from "./stray-lobbies.ts";
import type { Waiters } from "./waiters.ts";

export interface SessionKeeperOptions {
  store: SessionStore;
  tunnels: Tunnels;
  waiters: Waiters;
  clock: Clock;
  log: Log;
  renderNode: string;
  startTimeoutMs: number;
  settleMs: number;
  strayGraceMs: number;
}

/** Between two looks at a wolf's lobbies that its events ask for: a flood of them costs one look each. */
const EVENT_LOOKS_EVERY_MS = 1000;
/** Lobbies of one tunnel whose start waits to be written; for more, the reconciler is asked. */
const STARTS_WAITING_MAX = 256;
/** After a start's own timeout; meanwhile its process or the reconciler may still end it in order. */
const OVERDUE_GRACE_MS = 10_000;
const LOOK_AGAIN_MS = 1000;

export class SessionKeeper {
  private readonly options: SessionKeeperOptions;
  private readonly creating = new Set<string>();
  private readonly lobbyEvents = new LobbyEvents();
  private readonly strayLobbies: StrayLobbies;
  /** Lobbies that were seen to start, by wolf and epoch of the tunnel that told: written together, one statement at a time. */
  private readonly starts = new Map<string, Set<string>>();
  /** Wolves that were looked at for an event a moment ago; true when another event came since. */
  private readonly looked = new Map<string, boolean>();
  private readonly timers = new Set<Timer>();
  /** One reconciliation per wolf at a time; those asked for meanwhile share the next. */
  private readonly running = new Map<string, Promise<void>>();
  private readonly again = new Map<string, Promise<void>>();

  constructor(options: SessionKeeperOptions) {
    this.options = options;
    this.strayLobbies = new StrayLobbies(options.strayGraceMs);
    options.tunnels.onWolfConnected((wolfId) => void this.reconcileWolf(wolfId));
    options.tunnels.onWolfEvent((from, event) => this.wolfEvent(from, event));
    options.tunnels.onWolfRelist((wolfId) => this.look(wolfId));
  }

  /** Its lobby is being created by this process. */
  isCreating(sessionId: string): boolean {
    return this.creating.has(sessionId);
  }

  /** The periodic look: every wolf with a tunnel, and starts that nobody can finish any more. */
  async reconcileAll(wolfIds: readonly string[]): Promise<void> {
    await Promise.all(wolfIds.map((wolfId) => this.reconcileWolf(wolfId)));
    await this.failOverdue();
  }

  close(): void {
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  /** From placed to starting; what happens then, events and the list of lobbies say. */
  async start(session: Session, { id: wolfId, gpuType }: Wolf): Promise<void> {
    this.creating.add(session.id);
    try {
      const lobbies = lobbiesOf(this.options.tunnels, wolfId, this.options.startTimeoutMs);
      if (lobbies === undefined)
        throw new WolfApiError("WOLF_UNREACHABLE", "the wolf's tunnel is gone", { mayHaveRun: false });
      const { lobby_id: lobbyId } = await lobbies.createLobby(
        lobbyRequest(session, gpuType === "none" ? SOFTWARE_NODE : this.options.renderNode),
      );
      if (await this.options.store.lobbyCreated(session.id, lobbyId, this.options.clock.now())) {
        if (this.lobbyEvents.hasStarted(wolfId, lobbyId)) await this.ran(session.id);
        else
          this.later(this.options.settleMs, () => {
            if (!this.lobbyEvents.hasStarted(wolfId, lobbyId)) void this.reconcileWolf(wolfId);
          });
      }
      this.options.waiters.changed(session.id);
    } catch (error) {
      await this.fail(session, error).catch((err: unknown) =>
        this.options.log.error({ err, session_id: session.id }, "failure not written"),
      );
    } finally {
      this.creating.delete(session.id);
    }
    // A stop that came meanwhile, or a lobby that a failed call may have left behind, is the reconciler's to finish.
    const now = await this.options.store.get(session.id).catch(() => undefined);
    const over =
      typeof now?.lobbyId === "string" && this.lobbyEvents.endOf(wolfId, now.lobbyId) !== undefined;
    if (over || (now?.status !== "starting" && now?.status !== "running")) await this.reconcileWolf(wolfId);
  }

  private async fail(session: Session, error: unknown): Promise<void> {
    const failure = failureOf(error);
    this.options.log.warn(
      { err: error, session_id: session.id, wolf_id: session.wolfId, code: failure.code },
      "session failed to start",
    );
    await this.finish(session.id, { status: "failed", failure });
  }

  private async ran(sessionId: string): Promise<void> {
    if (await this.options.store.running(sessionId, this.options.clock.now()))
      this.options.log.info({ session_id: sessionId }, "session runs");
    this.options.waiters.changed(sessionId);
  }

  private later(ms: number, run: () => void): void {
    const timer = this.options.clock.setTimer(ms, () => {
      this.timers.delete(timer);
      run();
    });
    this.timers.add(timer);
  }

  /**
   * A process may die, a wolf be lost or hang for good, in the middle of a start: what the reconciler could not decide in
   * time has failed, and its slot is free.
   */
  private async failOverdue(): Promise<void> {
    try {
      const before = new Date(
        this.options.clock.now().getTime() - this.options.startTimeoutMs - OVERDUE_GRACE_MS,
      );
      for (const { id, status } of await this.options.store.listOverdue(before)) {
        if (!this.creating.has(id))
          await this.finish(id, { status: "failed", failure: startTimeout }, [status]);
      }
    } catch (err) {
      this.options.log.warn({ err }, "overdue starts not looked at");
    }
  }

  /** Never rejects. */
  reconcileWolf(wolfId: string): Promise<void> {
    const current = this.running.get(wolfId);
    if (current === undefined) {
      const run = this.reconcileOnce(wolfId)
        .catch((err: unknown) => this.options.log.warn({ err, wolf_id: wolfId }, "reconciliation failed"))
        .finally(() => this.running.delete(wolfId));
      this.running.set(wolfId, run);
      return run;
    }
    const waiting = this.again.get(wolfId);
    if (waiting) return waiting;
    const next = current.then(() => {
      this.again.delete(wolfId);
      return this.reconcileWolf(wolfId);
    });
    this.again.set(wolfId, next);
    return next;
  }

  private async reconcileOnce(wolfId: string): Promise<void> {
    const lobbies = lobbiesOf(this.options.tunnels, wolfId, this.options.startTimeoutMs);
    if (lobbies === undefined) return; // A wolf that cannot be asked changes nothing.
    const listedAt = this.options.clock.now();
    const listed = await lobbies.listLobbies();
    const sessions = await this.options.store.listLive(wolfId);
    // Not in the list, and changed since it was asked for: gone or new, a later list says which.
    const unsure = sessions.some(
      ({ id, lobbyId, updatedAt }) =>
        lobbyId !== null &&
        updatedAt >= listedAt &&
        !this.creating.has(id) &&
        !listed.some((lobby) => lobby.id === lobbyId),
    );
    if (unsure) this.later(LOOK_AGAIN_MS, () => void this.reconcileWolf(wolfId));
    const { actions, strays } = reconcile({
      sessions,
      lobbies: listed,
      listedAt,
      now: this.options.clock.now(),
      settleMs: this.options.settleMs,
      startTimeoutMs: this.options.startTimeoutMs,
      creating: this.creating,
      endOf: (lobbyId) => this.lobbyEvents.endOf(wolfId, lobbyId),
    });
    for (const action of [...actions, ...(await this.judge(wolfId, strays))]) {
      this.options.log.info({ wolf_id: wolfId, ...action }, "reconciled");
      try {
        await this.perform(action, lobbies);
      } catch (err) {
        // Tried again the next time. What Wolf refuses holds up nothing else; a Wolf that does not answer would, each time.
        this.options.log.warn({ err, wolf_id: wolfId, action: action.action }, "reconciliation step failed");
        if (err instanceof WolfApiError && err.code !== "WOLF_REFUSED") return;
      }
    }
  }

  /** What to do with lobbies that no session of their wolf has. */
  private async judge(wolfId: string, strays: readonly Stray[]): Promise<ReconcileAction[]> {
    const { store, clock, log, strayGraceMs } = this.options;
    const owners = strays.length === 0 ? [] : await store.listOwners(strays);
    const { stop, fresh, foreign } = this.strayLobbies.judge(wolfId, strays, owners, clock.now());
    for (const { lobbyId, ownerId, ownerWolfId } of foreign)
      log.warn(
        { wolf_id: wolfId, lobby_id: lobbyId, session_id: ownerId, owner_wolf_id: ownerWolfId },
        "a lobby is that of another wolf's session and is left alone: is one Wolf connected under two names?",
      );
    if (fresh.length > 0) this.later(strayGraceMs, () => void this.reconcileWolf(wolfId));
    return stop.map(({ lobbyId }) => ({ action: "stopLobby", lobbyId }));
  }

  private async perform(
    action: ReconcileAction,
    lobbies: { stopLobby(request: { lobby_id: string }): Promise<void> },
  ): Promise<void> {
    const now = this.options.clock.now();
    if (action.action === "stopLobby") {
      await lobbies.stopLobby({ lobby_id: action.lobbyId }).catch((error: unknown) => {
        if (!isUnknownLobby(error)) throw error;
      });
      if (action.thenEnd !== undefined) await this.finish(action.thenEnd, { status: "stopped" });
      return;
    }
    const { sessionId } = action;
    if (action.action === "fail")
      return this.finish(sessionId, { status: "failed", failure: action.failure });
    if (action.action === "ended") return this.finish(sessionId, { status: "stopped" });
    if (action.action === "adopt") await this.options.store.lobbyCreated(sessionId, action.lobbyId, now);
    else await this.options.store.running(sessionId, now);
    this.options.waiters.changed(sessionId);
  }

  /** The one way a session ends here: its slot is free, its own tunnel goes, whoever waits is told. */
  async finish(sessionId: string, outcome: SessionOutcome, from?: SessionStatus[]): Promise<void> {
    if (await this.options.store.end(sessionId, outcome, this.options.clock.now(), from)) {
      this.options.log.info({ session_id: sessionId, ...outcome }, "session ended");
      this.options.tunnels.dropSandbox(sessionId);
    }
    this.options.waiters.changed(sessionId);
  }

  private wolfEvent(from: WolfVoice, event: AgentWolfEvent): void {
    for (const news of this.lobbyEvents.hear(from, event)) {
      if (news.news === "look") this.look(from.wolfId);
      if (news.news === "started") this.sawStart(from, news.lobbyId);
    }
  }

  /** Asks Wolf at once, and after that at most once per second however many events want it. */
  private look(wolfId: string): void {
    if (this.looked.has(wolfId)) return void this.looked.set(wolfId, true);
    this.looked.set(wolfId, false);
    void this.reconcileWolf(wolfId);
    this.later(EVENT_LOOKS_EVERY_MS, () => {
      const again = this.looked.get(wolfId);
      this.looked.delete(wolfId);
      if (again) this.look(wolfId);
    });
  }

  /** Writes starts that one tunnel told of one statement after the other; those that come meanwhile share the next. */
  private sawStart({ wolfId, epoch }: WolfVoice, lobbyId: string): void {
    const tunnel = `${wolfId} ${epoch}`;
    const waiting = this.starts.get(tunnel);
    if (waiting !== undefined) {
      if (waiting.size < STARTS_WAITING_MAX) waiting.add(lobbyId);
      else this.look(wolfId);
      return;
    }
    const lobbies = new Set([lobbyId]);
    this.starts.set(tunnel, lobbies);
    void this.writeStarts(wolfId, epoch, lobbies)
      .catch((err: unknown) => {
        this.options.log.warn({ err, wolf_id: wolfId }, "starts not written");
        this.look(wolfId);
      })
      .finally(() => this.starts.delete(tunnel));
  }

  private async writeStarts(wolfId: string, epoch: number, lobbies: Set<string>): Promise<void> {
    while (lobbies.size > 0) {
      const batch = [...lobbies];
      lobbies.clear();
      const now = this.options.clock.now();
      for (const id of await this.options.store.lobbiesRunning({ id: wolfId, epoch }, batch, now)) {
        this.options.log.info({ session_id: id }, "session runs");
        this.options.waiters.changed(id);
      }
    }
  }

  /** The quick way of a stop: its own lobby at once, without listing all. What fails here, the reconciler tries again. */
  async stopLobbyOf({ id, lobbyId }: Session, wolfId: string): Promise<void> {
    const lobbies = lobbiesOf(this.options.tunnels, wolfId, this.options.startTimeoutMs);
    if (lobbyId === null || lobbies === undefined) return this.reconcileWolf(wolfId);
    try {
      await this.perform({ action: "stopLobby", lobbyId, thenEnd: id }, lobbies);
    } catch (err) {
      this.options.log.warn({ err, session_id: id, wolf_id: wolfId }, "stop not done yet");
    }
  }
}
