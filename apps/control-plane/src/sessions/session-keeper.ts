/**
 * Keeps sessions true to what Wolf runs: hears of their containers, compares the lobbies that a Wolf lists with the sessions
 * expected there, and ends what is over. A session's status is what Wolf was seen to do, never what it was asked for.
 */
import type { AgentWolfEvent } from "@wolfpack/api-contract";
import { type Lobby, WolfApiError } from "@wolfpack/wolf-api";
import type { Clock, Timer } from "../clock.ts";
import { because, becauseAgent } from "../events/author.ts";
import type { Log } from "../logger.ts";
import type { Tunnels, WolfVoice } from "../tunnels/tunnels.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import type { KnownSessions } from "./known-sessions.ts";
import { isUnknownLobby, type Lobbies, type LobbyApi } from "./lobbies.ts";
import { LobbyEvents } from "./lobby-events.ts";
import { type ReconcileAction, type ReconcileInput, reconcile } from "./reconcile.ts";
import { Retries } from "./retries.ts";
import type { SessionChanges } from "./session-changes.ts";
import type { SessionStarts } from "./session-starts.ts";
import type { Session, SessionStore } from "./session-store.ts";
import { pinOf, sessionOf } from "./session-tag.ts";
import { type Stray, StrayLobbies } from "./stray-lobbies.ts";

export interface SessionKeeperOptions {
  store: SessionStore;
  wolves: Pick<WolfStore, "reconciled">;
  tunnels: Tunnels;
  lobbies: Lobbies;
  changes: SessionChanges;
  starts: SessionStarts;
  clock: Clock;
  log: Log;
  settleMs: number;
  strayGraceMs: number;
  /** So long unseen, and what happened to a wolf's sessions meanwhile is not known. */
  unseenMs: number;
  /** As placement knows it. */
  wolfOf: (wolfId: string) => Pick<Wolf, "otherLobbies"> | undefined;
  /** What a wolf runs has been compared: it may have room now. */
  onReconciled: () => void;
  /** The wolf's tunnel is not here: whoever has it is to compare. */
  elsewhere: (wolfId: string) => void;
  known: KnownSessions;
}

/** Between two looks at a wolf's lobbies that its events ask for: a flood of them costs one look each. */
const EVENT_LOOKS_EVERY_MS = 1000;
/** Lobbies of one tunnel whose start waits to be written; for more, the reconciler is asked. */
const STARTS_WAITING_MAX = 256;
const LOOK_AGAIN_MS = 1000;

export class SessionKeeper {
  private readonly options: SessionKeeperOptions;
  private readonly lobbyEvents = new LobbyEvents();
  private readonly strayLobbies: StrayLobbies;
  /** Lobbies that were seen to start, by wolf and epoch of the tunnel that told: written together, one statement at a time. */
  private readonly starting = new Map<string, Set<string>>();
  /** Wolves that were looked at for an event a moment ago; true when another event came since. */
  private readonly looked = new Map<string, boolean>();
  private readonly timers = new Set<Timer>();
  /** One reconciliation per wolf at a time; those asked for meanwhile share the next. */
  private readonly running = new Map<string, Promise<void>>();
  private readonly again = new Map<string, Promise<void>>();
  /** What was last written of a wolf's comparison: one that says the same again is not written. */
  private readonly compared = new Map<string, string>();
  /** For what failed or was left undone: sessions that change meanwhile must not wait for the next round over all wolves. */
  private readonly retries: Retries;
  /** When a wolf's lobbies were last seen. */
  private readonly seen = new Map<string, Date>();
  private closed = false;

  constructor(options: SessionKeeperOptions) {
    this.options = options;
    this.retries = new Retries({
      clock: options.clock,
      later: (ms, run) => this.later(ms, run),
      look: (wolfId) => void this.reconcileWolf(wolfId),
    });
    this.strayLobbies = new StrayLobbies(options.strayGraceMs);
    options.tunnels.onWolfConnected((wolfId) => void this.reconcileWolf(wolfId));
    options.tunnels.onWolfEvent((from, event) => this.wolfEvent(from, event));
    options.tunnels.onWolfRelist((wolfId) => this.look(wolfId));
  }

  close(): void {
    this.closed = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  /** A session's lobby has been created: it runs once its container was seen to, or when it is still listed later. */
  async lobbyCreated(session: Session, wolfId: string, lobbyId: string): Promise<void> {
    if (this.lobbyEvents.endOf(wolfId, lobbyId) !== undefined) return void this.reconcileWolf(wolfId);
    if (this.lobbyEvents.hasStarted(wolfId, lobbyId)) return this.ran(session.id, lobbyId);
    this.later(this.options.settleMs, () => {
      if (!this.lobbyEvents.hasStarted(wolfId, lobbyId)) void this.reconcileWolf(wolfId);
    });
  }

  private async ran(sessionId: string, lobbyId: string): Promise<void> {
    const ran = await this.options.changes.ran(sessionId, lobbyId);
    if (ran !== undefined) await this.options.starts.succeeded(ran);
  }

  private later(ms: number, run: () => void): void {
    if (this.closed) return;
    const timer = this.options.clock.setTimer(ms, () => {
      this.timers.delete(timer);
      run();
    });
    this.timers.add(timer);
  }

  /** Wolves whose lobbies are being compared. */
  get comparing(): number {
    return this.running.size;
  }

  isComparing = (wolfId: string): boolean => this.running.has(wolfId);

  /** Never rejects. */
  reconcileWolf(wolfId: string): Promise<void> {
    const current = this.running.get(wolfId);
    if (current === undefined) {
      const run = because("reconciled", () => this.reconcileOnce(wolfId))
        .catch((err: unknown) => {
          this.options.log.warn({ err, wolf_id: wolfId }, "reconciliation failed");
          this.retries.failed(wolfId);
        })
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
    const { clock, store, tunnels, settleMs, starts, unseenMs } = this.options;
    const lobbies = this.options.lobbies(wolfId);
    const epoch = tunnels.wolfEpoch(wolfId);
    // A wolf that cannot be asked changes nothing; it is asked when it is back. Whoever has its tunnel hears its events, and decides.
    if (epoch === undefined) this.options.elsewhere(wolfId);
    if (lobbies === undefined || epoch === undefined) return void this.retries.succeeded(wolfId);
    const listedAt = clock.now();
    const listed = await lobbies.listLobbies();
    const seenBefore = this.seen.get(wolfId);
    const sessions = await this.options.known.listLive(wolfId, store);
    const now = clock.now();
    const input = { sessions, lobbies: listed, listedAt, now, settleMs, creating: starts.creating };
    const endOf = (lobbyId: string) => this.lobbyEvents.endOf(wolfId, lobbyId);
    const { actions, strays } = reconcile({ ...input, endOf });
    this.lookAgain(wolfId, input);
    await this.touch(sessions, listed, seenBefore === undefined || +listedAt - +seenBefore > unseenMs);
    this.seen.set(wolfId, listedAt);
    const { gone, undone } = await this.act(wolfId, lobbies, [
      ...actions,
      ...(await this.judge(wolfId, strays)),
    ]);
    const others = listed.filter(({ id }) => !gone.has(id) && !isOwned(id, sessions, listed)).length;
    await this.compare(wolfId, epoch, others);
    if (undone > 0) this.retries.failed(wolfId);
    else this.retries.succeeded(wolfId);
  }

  /** What this list could not say, a later one does. As of the same moment: what settles between two is seen by neither. */
  private lookAgain(wolfId: string, input: ReconcileInput): void {
    const { sessions, lobbies: listed, listedAt, settleMs, creating } = input;
    const now = input.now.getTime();
    const waits = sessions.flatMap(({ id, lobbyId, statusSince, lockExpiresAt, status }) => {
      if (creating.has(id)) return [];
      const lockedMs = (lockExpiresAt?.getTime() ?? 0) - now;
      // Somebody else works on it; if that one is gone, it is ours.
      if ((status === "placed" || status === "stopping") && lockedMs > 0) return [lockedMs + 1];
      const isListed = listed.some((lobby) => lobby.id === lobbyId || sessionOf(lobby) === id);
      if (!isListed) return statusSince >= listedAt ? [LOOK_AGAIN_MS] : [];
      // Whoever created it may be gone, and with that process the timer that would have looked once it has settled.
      const settlesMs = statusSince.getTime() + settleMs - now;
      if (status === "starting") return settlesMs > 0 ? [settlesMs] : [];
      return status === "placed" ? [settleMs] : [];
    });
    if (waits.length > 0) this.later(Math.min(...waits), () => void this.reconcileWolf(wolfId));
  }

  /** Whoever streams it makes use of it. Who did while nobody looked is not known: then all have been used. */
  private async touch(
    sessions: readonly Session[],
    listed: readonly Lobby[],
    wasUnseen: boolean,
  ): Promise<void> {
    const used = listed.filter(({ connected_sessions = [] }) => wasUnseen || connected_sessions.length > 0);
    const usedIds = new Set(used.map(({ id }) => id));
    const ids = sessions.flatMap(({ id, lobbyId, idleSeconds }) =>
      idleSeconds !== null && lobbyId !== null && usedIds.has(lobbyId) ? [id] : [],
    );
    if (ids.length > 0) await this.options.store.touch(ids, this.options.clock.now());
  }

  /** When a wolf's lobbies were last seen by this process; undefined: never. */
  seenAt(wolfId: string): Date | undefined {
    return this.seen.get(wolfId);
  }

  /** A wolf that was removed, once what is under way for it has ended. */
  async forget(wolfId: string): Promise<void> {
    await this.running.get(wolfId);
    this.seen.delete(wolfId);
    this.compared.delete(wolfId);
    this.strayLobbies.forget(wolfId);
  }

  /** A session left this wolf without its lobby being seen to be gone. */
  lobbyLeft(wolfId: string): void {
    this.compared.delete(wolfId);
    this.look(wolfId);
  }

  /** Ids of the lobbies that are gone now, and how many steps failed. */
  private async act(
    wolfId: string,
    lobbies: LobbyApi,
    actions: readonly ReconcileAction[],
  ): Promise<{ gone: ReadonlySet<string>; undone: number }> {
    const gone = new Set<string>();
    let undone = 0;
    for (const action of actions) {
      this.options.log.info({ wolf_id: wolfId, action: action.action, ...idsOf(action) }, "reconciled");
      try {
        await this.perform(action, lobbies);
        if (action.action === "stopLobby") gone.add(action.lobbyId);
      } catch (err) {
        undone += 1;
        // Tried again. What Wolf refuses holds up nothing else; a Wolf that does not answer would, each time.
        this.options.log.warn({ err, wolf_id: wolfId, action: action.action }, "reconciliation step failed");
        if (err instanceof WolfApiError && err.code !== "WOLF_REFUSED") throw err;
      }
    }
    return { gone, undone };
  }

  /** From here on placement may count on what is known of the wolf. */
  private async compare(wolfId: string, epoch: number, others: number): Promise<void> {
    const { wolves, clock, onReconciled, wolfOf } = this.options;
    const words = `${epoch} ${others}`;
    // Another replica may have ended a session there meanwhile.
    const known = wolfOf(wolfId)?.otherLobbies;
    if (this.compared.get(wolfId) === words && (known === undefined || known === others)) return;
    // A write that fails may have happened all the same.
    this.compared.delete(wolfId);
    if (!(await wolves.reconciled(wolfId, epoch, others, clock.now()))) return;
    this.compared.set(wolfId, words);
    onReconciled();
  }

  /** What to do with lobbies that no session of their wolf has. */
  private async judge(wolfId: string, strays: readonly Stray[]): Promise<ReconcileAction[]> {
    const { store, clock, log, strayGraceMs } = this.options;
    const tags = strays.map(({ sessionId }) => sessionId);
    const [owners, recorded] =
      tags.length === 0
        ? [[], new Set<string>()]
        : await Promise.all([store.listOwners(strays), store.recorded(tags)]);
    const said = this.strayLobbies.judge(wolfId, strays, { owners, recorded }, clock.now());
    const { stop, fresh, foreign, unknown } = said;
    for (const { lobbyId, sessionId } of unknown)
      log.warn(
        { wolf_id: wolfId, lobby_id: lobbyId, session_id: sessionId },
        "a lobby is that of a session which this database does not know, and is kept: was an older state restored?",
      );
    for (const { lobbyId, ownerId, ownerWolfId } of foreign)
      log.warn(
        { wolf_id: wolfId, lobby_id: lobbyId, session_id: ownerId, owner_wolf_id: ownerWolfId },
        "a lobby is that of another wolf's session and is left alone: is one Wolf connected under two names?",
      );
    if (fresh.length > 0) this.later(strayGraceMs, () => void this.reconcileWolf(wolfId));
    return stop.map(({ lobbyId, sessionId }) => ({ action: "stopLobby", lobbyId, tag: sessionId }));
  }

  private async perform(action: ReconcileAction, lobbies: LobbyApi): Promise<void> {
    const { store, clock, changes, starts } = this.options;
    if (action.action === "stopLobby") return this.stopLobby(action, lobbies);
    if (action.action === "running") return this.ran(action.sessionId, action.lobbyId);
    if (action.action === "adopt") {
      await store.lobbyCreated(action.sessionId, action.lobbyId, clock.now());
      return changes.changed(action.sessionId);
    }
    const { session } = action;
    const { wolfId, attempts, status } = session;
    // It may have left the wolf while the actions before this one were waited for.
    const here = { from: [status], attempt: { wolfId: wolfId ?? "", attempts }, lobbyGone: true };
    if (action.action === "ended") await changes.finish(session, { status: "stopped" }, here);
    else if (action.action === "restart") await starts.takeOver(session);
    else if (status === "starting")
      await starts.failed(session, action.failure, "later", { lobbyGone: true });
    else await changes.finish(session, { status: "failed", failure: action.failure }, here);
  }

  private async stopLobby(
    { lobbyId, tag, thenEnd }: Extract<ReconcileAction, { action: "stopLobby" }>,
    lobbies: LobbyApi,
  ): Promise<void> {
    const { store, changes } = this.options;
    const pin = (await store.pinsOf([tag])).get(tag);
    const request = pin === undefined ? { lobby_id: lobbyId } : { lobby_id: lobbyId, pin: pinOf(pin) };
    await lobbies.stopLobby(request).catch((error: unknown) => {
      if (!isUnknownLobby(error)) throw error;
    });
    // The wolf stays one that its session has left: what it began there may still come up, more than once.
    if (thenEnd === undefined) return;
    const how = { from: ["stopping"], lobbyGone: true } as const;
    await changes.finish({ id: thenEnd, wolfId: null }, { status: "stopped" }, how);
  }

  private wolfEvent(from: WolfVoice, event: AgentWolfEvent): void {
    for (const news of this.lobbyEvents.hear(from, event)) {
      if (news.news === "look") this.look(from.wolfId);
      if (news.news === "started") this.sawStart(from, news.lobbyId);
    }
  }

  /** Asks Wolf at once, and after that at most once per second however many events want it. */
  look(wolfId: string): void {
    if (this.closed) return;
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
    const waiting = this.starting.get(tunnel);
    if (waiting !== undefined) {
      if (waiting.size < STARTS_WAITING_MAX) waiting.add(lobbyId);
      else this.look(wolfId);
      return;
    }
    const lobbies = new Set([lobbyId]);
    this.starting.set(tunnel, lobbies);
    void becauseAgent(wolfId, "wolf-event", () => this.writeStarts(wolfId, epoch, lobbies))
      .catch((err: unknown) => {
        this.options.log.warn({ err, wolf_id: wolfId }, "starts not written");
        this.look(wolfId);
      })
      .finally(() => this.starting.delete(tunnel));
  }

  private async writeStarts(wolfId: string, epoch: number, lobbies: Set<string>): Promise<void> {
    const { store, clock, changes, starts, log } = this.options;
    while (lobbies.size > 0) {
      const batch = [...lobbies];
      lobbies.clear();
      for (const ran of await store.lobbiesRunning({ id: wolfId, epoch }, batch, clock.now())) {
        log.info({ session_id: ran.id }, "session runs");
        changes.changed(ran.id);
        await starts.succeeded(ran);
      }
    }
  }

  /** The quick way of a stop: its own lobby at once, without listing all. What fails here, the reconciler tries again. */
  async stopLobbyOf({ id, lobbyId }: Session, wolfId: string): Promise<void> {
    const lobbies = this.options.lobbies(wolfId);
    if (lobbyId === null || lobbies === undefined) return this.reconcileWolf(wolfId);
    try {
      await this.stopLobby({ action: "stopLobby", lobbyId, tag: id, thenEnd: id }, lobbies);
    } catch (err) {
      this.options.log.warn({ err, session_id: id, wolf_id: wolfId }, "stop not done yet");
      this.retries.failed(wolfId);
    }
  }
}

/** For the log: never the session itself, which has a PIN. */
function idsOf(action: ReconcileAction): Record<string, unknown> {
  if ("session" in action) return { session_id: action.session.id };
  if (action.action === "stopLobby") return { lobby_id: action.lobbyId, session_id: action.tag };
  return { session_id: action.sessionId, lobby_id: action.lobbyId };
}

/** One of these sessions has it. */
function isOwned(lobbyId: string, sessions: readonly Session[], listed: readonly Lobby[]): boolean {
  const lobby = listed.find(({ id }) => id === lobbyId);
  const tag = lobby && sessionOf(lobby);
  return sessions.some(
    ({ id, lobbyId: own }) => own === lobbyId || (own === null && tag !== undefined && tag === id),
  );
}
