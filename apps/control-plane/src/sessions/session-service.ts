/**
 * Use cases of sessions: create, show, list, stop, and keeping them true to what Wolf runs. A session's status is what Wolf
 * was seen to do, never what it was asked for.
 */
import type {
  AgentWolfEvent,
  CreateSessionRequest,
  ListSessionsQuery,
  SessionSpec,
  SessionStatus,
} from "@wolfpack/api-contract";
import { WolfApiError, wolfEventPrefix } from "@wolfpack/wolf-api";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import { place } from "../placement/placement.ts";
import type { Tunnels } from "../tunnels/tunnel-gateway.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { failureOf, isUnknownLobby, lobbiesOf } from "./lobbies.ts";
import { type ReconcileAction, reconcile, startTimeout } from "./reconcile.ts";
import type { Session, SessionOutcome, SessionStore } from "./session-store.ts";
import { lobbyRequest, SOFTWARE_NODE } from "./session-tag.ts";
import { Waiters } from "./waiters.ts";

export interface SessionServiceOptions {
  store: SessionStore;
  wolves: Pick<WolfStore, "candidates">;
  tunnels: Tunnels;
  clock: Clock;
  log: Log;
  defaultImage: string;
  renderNode: string;
  /** Bound of a sandbox's way from placed to running. */
  startTimeoutMs: number;
  /** A lobby that is still listed after this time runs, even without a container event. */
  settleMs: number;
}

export type SessionService = ReturnType<typeof createSessionService>;

export const sessionNotFound = (): ApiError => new ApiError("session-not-found", "There is no such session.");

/** Container events may come before the answer that names their lobby; this many are remembered. */
const STARTED_LOBBIES_MAX = 4096;
/** How long a stop waits for a creation in flight before it answers 202. */
const STOP_WAIT_MS = 10_000;
/** After a start's own timeout; meanwhile its process or the reconciler may still end it in order. */
const OVERDUE_GRACE_MS = 10_000;
const LOOK_AGAIN_MS = 1000;
const keyOf = (wolfId: string, lobbyId: string) => `${wolfId} ${lobbyId}`;
const event = (name: string) => `${wolfEventPrefix}${name}`;

export function createSessionService(options: SessionServiceOptions) {
  const { store, wolves, tunnels, clock, log, defaultImage, renderNode, startTimeoutMs, settleMs } = options;
  const waiters = new Waiters(clock);
  const creating = new Set<string>();
  /** Lobbies whose container was seen to start, by `keyOf`: a wolf speaks of its own lobbies only. */
  const started = new Set<string>();
  /** Sessions that wait for their container, by lobby, as above. */
  const awaited = new Map<string, string>();
  let placing: Promise<unknown> = Promise.resolve();

  /** Placements take turns: each sees the claims of those before it, so equal wolves fill evenly. */
  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = placing.then(run);
    placing = turn.catch(() => undefined);
    return turn;
  }

  /** Until a claim succeeds or a fresh read shows no room: a claim only fails because somebody else made progress. */
  async function placeAndClaim(
    ownerId: string,
    name: string | undefined,
    spec: SessionSpec,
  ): Promise<{ session: Session; wolf: Wolf }> {
    for (;;) {
      const candidates = await wolves.candidates();
      const decision = place(
        { gpuType: spec.gpu_type ?? undefined },
        candidates,
        (id) => tunnels.wolf(id) !== undefined,
      );
      const { explanation } = decision;
      if (decision.outcome === "rejected") {
        throw new ApiError("no-capacity", explanation.text, {
          extras: { candidates: explanation.candidates, removed: explanation.removed },
        });
      }
      const id = newId("ses");
      for (const wolf of decision.ranked) {
        const session = await store.claim(
          { id, ownerId, name: name ?? id, spec, placement: explanation },
          wolf,
          clock.now(),
        );
        if (session) return { session, wolf };
      }
    }
  }

  async function fail(session: Session, error: unknown): Promise<void> {
    const failure = failureOf(error);
    log.warn(
      { err: error, session_id: session.id, wolf_id: session.wolfId, code: failure.code },
      "session failed to start",
    );
    await finish(session.id, { status: "failed", failure });
  }

  /** From placed to starting; what happens then, events and the list of lobbies say. */
  async function start(session: Session, { id: wolfId, gpuType }: Wolf): Promise<void> {
    creating.add(session.id);
    try {
      const lobbies = lobbiesOf(tunnels, wolfId, startTimeoutMs);
      if (lobbies === undefined)
        throw new WolfApiError("WOLF_UNREACHABLE", "the wolf's tunnel is gone", { mayHaveRun: false });
      const { lobby_id: lobbyId } = await lobbies.createLobby(
        lobbyRequest(session, gpuType === "none" ? SOFTWARE_NODE : renderNode),
      );
      if (await store.lobbyCreated(session.id, lobbyId, clock.now())) {
        const key = keyOf(wolfId, lobbyId);
        awaited.set(key, session.id);
        if (started.has(key)) await ran(session.id, key);
        else later(settleMs, () => void (awaited.delete(key) && reconcileWolf(wolfId)));
      }
      waiters.changed(session.id);
    } catch (error) {
      await fail(session, error).catch((err: unknown) =>
        log.error({ err, session_id: session.id }, "failure not written"),
      );
    } finally {
      creating.delete(session.id);
    }
    // A stop that came meanwhile, or a lobby that a failed call may have left behind, is the reconciler's to finish.
    const now = await store.get(session.id).catch(() => undefined);
    if (now?.status !== "starting" && now?.status !== "running") await reconcileWolf(wolfId);
  }

  async function ran(sessionId: string, key: string): Promise<void> {
    awaited.delete(key);
    if (await store.running(sessionId, clock.now())) log.info({ session_id: sessionId }, "session runs");
    waiters.changed(sessionId);
  }

  const timers = new Set<ReturnType<Clock["setTimer"]>>();
  function later(ms: number, run: () => void): void {
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      run();
    });
    timers.add(timer);
  }

  /**
   * A process may die, a wolf be lost or hang for good, in the middle of a start: what the reconciler could not decide in
   * time has failed, and its slot is free.
   */
  async function failOverdue(): Promise<void> {
    try {
      const before = new Date(clock.now().getTime() - startTimeoutMs - OVERDUE_GRACE_MS);
      for (const { id, status } of await store.listOverdue(before)) {
        if (!creating.has(id)) await finish(id, { status: "failed", failure: startTimeout }, [status]);
      }
    } catch (err) {
      log.warn({ err }, "overdue starts not looked at");
    }
  }

  /** One reconciliation per wolf at a time; those asked for meanwhile share the next. */
  const running = new Map<string, Promise<void>>();
  const again = new Map<string, Promise<void>>();
  function reconcileWolf(wolfId: string): Promise<void> {
    const current = running.get(wolfId);
    if (current === undefined) {
      const run = reconcileOnce(wolfId)
        .catch((err: unknown) => log.warn({ err, wolf_id: wolfId }, "reconciliation failed"))
        .finally(() => running.delete(wolfId));
      running.set(wolfId, run);
      return run;
    }
    const waiting = again.get(wolfId);
    if (waiting) return waiting;
    const next = current.then(() => {
      again.delete(wolfId);
      return reconcileWolf(wolfId);
    });
    again.set(wolfId, next);
    return next;
  }

  async function reconcileOnce(wolfId: string): Promise<void> {
    const lobbies = lobbiesOf(tunnels, wolfId, startTimeoutMs);
    if (lobbies === undefined) return; // A wolf that cannot be asked changes nothing.
    const listedAt = clock.now();
    const listed = await lobbies.listLobbies();
    const sessions = await store.listLive(wolfId);
    // Not in the list, and changed since it was asked for: gone or new, a later list says which.
    const unsure = sessions.some(
      ({ id, lobbyId, updatedAt }) =>
        lobbyId !== null &&
        updatedAt >= listedAt &&
        !creating.has(id) &&
        !listed.some((lobby) => lobby.id === lobbyId),
    );
    if (unsure) later(LOOK_AGAIN_MS, () => void reconcileWolf(wolfId));
    const actions = reconcile({
      sessions,
      lobbies: listed,
      listedAt,
      now: clock.now(),
      settleMs,
      startTimeoutMs,
      creating,
    });
    for (const action of actions) {
      log.info({ wolf_id: wolfId, ...action }, "reconciled");
      try {
        await perform(action, lobbies);
      } catch (err) {
        // Tried again the next time. What Wolf refuses holds up nothing else; a Wolf that does not answer would, each time.
        log.warn({ err, wolf_id: wolfId, action: action.action }, "reconciliation step failed");
        if (err instanceof WolfApiError && err.code !== "WOLF_REFUSED") return;
      }
    }
  }

  async function perform(
    action: ReconcileAction,
    lobbies: { stopLobby(request: { lobby_id: string }): Promise<void> },
  ): Promise<void> {
    const now = clock.now();
    if (action.action === "stopLobby") {
      await lobbies.stopLobby({ lobby_id: action.lobbyId }).catch((error: unknown) => {
        if (!isUnknownLobby(error)) throw error;
      });
      if (action.thenEnd !== undefined) await finish(action.thenEnd, { status: "stopped" });
      return;
    }
    const { sessionId } = action;
    if (action.action === "fail") return finish(sessionId, { status: "failed", failure: action.failure });
    if (action.action === "ended") return finish(sessionId, { status: "stopped" });
    if (action.action === "adopt") await store.lobbyCreated(sessionId, action.lobbyId, now);
    else await store.running(sessionId, now);
    waiters.changed(sessionId);
  }

  /** The one way a session ends here: its slot is free, its own tunnel goes, whoever waits is told. */
  async function finish(sessionId: string, outcome: SessionOutcome, from?: SessionStatus[]): Promise<void> {
    if (await store.end(sessionId, outcome, clock.now(), from)) {
      log.info({ session_id: sessionId, ...outcome }, "session ended");
      tunnels.dropSandbox(sessionId);
    }
    waiters.changed(sessionId);
  }

  function wolfEvent(wolfId: string, { event: name, data }: AgentWolfEvent): void {
    const lobbyId = data.session_id ?? data.lobby_id;
    if (typeof lobbyId !== "string") return;
    const key = keyOf(wolfId, lobbyId);
    if (name === event("DockerContainerCreated")) {
      started.add(key);
      if (started.size > STARTED_LOBBIES_MAX) started.delete(started.values().next().value as string);
      const sessionId = awaited.get(key);
      if (sessionId !== undefined)
        void ran(sessionId, key).catch((err: unknown) =>
          log.warn({ err, session_id: sessionId }, "start not written"),
        );
    } else if (name === event("StopLobbyEvent") || name === event("DockerContainerStopped")) {
      awaited.delete(key);
      started.delete(key);
      void reconcileWolf(wolfId);
    }
  }

  /** The session as its owner or an admin may see it; a foreign one reads like one that does not exist. */
  async function visible(principal: UserPrincipal, id: string): Promise<Session> {
    const session = await store.get(id);
    if (session === undefined || (session.ownerId !== principal.userId && principal.role !== "admin"))
      throw sessionNotFound();
    return session;
  }

  tunnels.onWolfConnected((wolfId) => void reconcileWolf(wolfId));
  tunnels.onWolfEvent(wolfEvent);

  return {
    async create(principal: UserPrincipal, request: CreateSessionRequest): Promise<Session> {
      const spec: SessionSpec = {
        image: request.image ?? defaultImage,
        gpu_type: request.gpu_type ?? null,
        resolution: request.resolution,
      };
      const { session, wolf } = await inTurn(() => placeAndClaim(principal.userId, request.name, spec));
      const { id } = session;
      log.info(
        { session_id: id, wolf_id: wolf.id, owner_id: session.ownerId, placement: session.placement.text },
        "session placed",
      );
      const settled = waiters.until(id, request.wait_seconds * 1000, async () => {
        const now = await store.get(id);
        return now && now.status !== "placed" && now.status !== "starting" ? now : undefined;
      });
      void start(session, wolf);
      const now = (await settled) ?? (await store.get(id)) ?? session;
      if (now.status === "failed") {
        const { code, reason } = now.failure ?? { code: "internal", reason: "Unexpected failure." };
        throw new ApiError("session-start-failed", reason, { extras: { session_id: id, reason_code: code } });
      }
      return now;
    },

    get: visible,

    list(principal: UserPrincipal, query: ListSessionsQuery): Promise<Session[]> {
      const ownerId = principal.role === "admin" ? query.owner_id : principal.userId;
      return store.list({
        limit: query.limit + 1,
        after: query.cursor,
        status: query.status,
        wolfId: query.wolf_instance_id,
        ownerId,
      });
    },

    /** The session afterwards: stopped, or stopping while its wolf cannot be asked. */
    async stop(principal: UserPrincipal, id: string, force: boolean): Promise<Session> {
      await visible(principal, id);
      const session = await store.requestStop(id, clock.now());
      if (session === undefined) throw sessionNotFound();
      if (session.endedAt !== null || session.wolfId === null) return session;
      log.info({ session_id: id, wolf_id: session.wolfId, force }, "stop requested");
      const { wolfId } = session;
      if (force) {
        await finish(id, { status: "stopped" });
        void stopLobbyOf(session, wolfId);
      } else if (creating.has(id)) {
        await waiters.until(id, STOP_WAIT_MS, async () =>
          (await store.get(id))?.endedAt ? true : undefined,
        );
      } else {
        await stopLobbyOf(session, wolfId);
      }
      return (await store.get(id)) ?? session;
    },

    /** The periodic look: every wolf with a tunnel, and starts that nobody can finish any more. */
    async reconcileAll(wolfIds: readonly string[]): Promise<void> {
      await Promise.all(wolfIds.map(reconcileWolf));
      await failOverdue();
    },

    isReachable: (session: Session): boolean =>
      session.endedAt === null &&
      (tunnels.sandbox(session.id) !== undefined ||
        (session.wolfId !== null && tunnels.wolf(session.wolfId) !== undefined)),

    /** For tunnels of sandboxes: the owner of a session that has not ended. */
    async ownerOf(sessionId: string): Promise<string | undefined> {
      const session = await store.get(sessionId);
      return session && session.endedAt === null ? session.ownerId : undefined;
    },

    /** Lets waiting requests go and stops timers. */
    close(): void {
      for (const timer of timers) timer.cancel();
      timers.clear();
      waiters.close();
    },
  };

  /** The quick way of a stop: its own lobby at once, without listing all. What fails here, the reconciler tries again. */
  async function stopLobbyOf({ id, lobbyId }: Session, wolfId: string): Promise<void> {
    const lobbies = lobbiesOf(tunnels, wolfId, startTimeoutMs);
    if (lobbyId === null || lobbies === undefined) return reconcileWolf(wolfId);
    try {
      await perform({ action: "stopLobby", lobbyId, thenEnd: id }, lobbies);
    } catch (err) {
      log.warn({ err, session_id: id, wolf_id: wolfId }, "stop not done yet");
    }
  }
}
