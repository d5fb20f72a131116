/** Use cases of sessions: create, show, list, stop. What Wolf really runs is the keeper's. */
import type { Action, CreateSessionRequest, ListSessionsQuery, SessionSpec } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import { reachOf, requireMay } from "../identity/policy.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import { place } from "../placement/placement.ts";
import type { Tunnels } from "../tunnels/tunnel-gateway.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { SessionKeeper } from "./session-keeper.ts";
import type { Claim, Quotas, Session, SessionStore } from "./session-store.ts";
import { Waiters } from "./waiters.ts";

export interface SessionServiceOptions {
  store: SessionStore;
  wolves: Pick<WolfStore, "candidates">;
  tunnels: Tunnels;
  clock: Clock;
  log: Log;
  quotas: Quotas;
  defaultImage: string;
  renderNode: string;
  /** Bound of a sandbox's way from placed to running. */
  startTimeoutMs: number;
  /** A lobby that is still listed after this time runs, even without a container event. */
  settleMs: number;
  /** From seeing a lobby with our tag that no live session has to stopping it. */
  strayGraceMs: number;
}

export type SessionService = ReturnType<typeof createSessionService>;

export const sessionNotFound = (): ApiError => new ApiError("session-not-found", "There is no such session.");

function overQuota(claim: Exclude<Claim, { outcome: "claimed" | "lost" }>, now: Date): ApiError {
  const { limit, current } = claim;
  const extras = { limit, current };
  if (claim.outcome === "too-many")
    return new ApiError("quota-exceeded", `You have ${current} live sessions and may have ${limit}.`, {
      extras,
    });
  const seconds = Math.max(1, Math.ceil((claim.freeAt.getTime() - now.getTime()) / 1000));
  return new ApiError("rate-limited", `You have created ${current} sessions in a minute and may ${limit}.`, {
    extras,
    headers: { "retry-after": String(seconds) },
  });
}

/** How long a stop waits for a creation in flight before it answers 202. */
const STOP_WAIT_MS = 10_000;

export function createSessionService(options: SessionServiceOptions) {
  const { store, wolves, tunnels, clock, log, defaultImage } = options;
  const waiters = new Waiters(clock);
  const keeper = new SessionKeeper({
    store,
    tunnels,
    waiters,
    clock,
    log,
    renderNode: options.renderNode,
    startTimeoutMs: options.startTimeoutMs,
    settleMs: options.settleMs,
    strayGraceMs: options.strayGraceMs,
  });
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
        const now = clock.now();
        const session = { id, ownerId, name: name ?? id, spec, placement: explanation };
        const claim = await store.claim(session, wolf, options.quotas, now);
        if (claim.outcome === "claimed") return { session: claim.session, wolf };
        if (claim.outcome !== "lost") throw overQuota(claim, now);
      }
    }
  }

  /** The session, for who may do this to it; a foreign one reads like one that does not exist. */
  async function visible(principal: UserPrincipal, action: Action, id: string): Promise<Session> {
    const session = await store.get(id);
    if (session === undefined) throw sessionNotFound();
    requireMay(principal, action, session.ownerId, sessionNotFound);
    return session;
  }

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
      void keeper.start(session, wolf);
      const now = (await settled) ?? (await store.get(id)) ?? session;
      if (now.status === "failed") {
        const { code, reason } = now.failure ?? { code: "internal", reason: "Unexpected failure." };
        throw new ApiError("session-start-failed", reason, { extras: { session_id: id, reason_code: code } });
      }
      return now;
    },

    get: visible,

    list(principal: UserPrincipal, query: ListSessionsQuery): Promise<Session[]> {
      const ownerId = reachOf(principal, "session.read") === "any" ? query.owner_id : principal.userId;
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
      await visible(principal, "session.stop", id);
      const session = await store.requestStop(id, clock.now());
      if (session === undefined) throw sessionNotFound();
      if (session.endedAt !== null || session.wolfId === null) return session;
      log.info({ session_id: id, wolf_id: session.wolfId, force }, "stop requested");
      const { wolfId } = session;
      if (force) {
        await keeper.finish(id, { status: "stopped" });
        void keeper.stopLobbyOf(session, wolfId);
      } else if (keeper.isCreating(id)) {
        await waiters.until(id, STOP_WAIT_MS, async () =>
          (await store.get(id))?.endedAt ? true : undefined,
        );
      } else {
        await keeper.stopLobbyOf(session, wolfId);
      }
      return (await store.get(id)) ?? session;
    },

    reconcileAll: (wolfIds: readonly string[]): Promise<void> => keeper.reconcileAll(wolfIds),

    isReachable: (session: Session): boolean =>
      session.endedAt === null &&
      (tunnels.sandbox(session.id) !== undefined ||
        (session.wolfId !== null && tunnels.wolf(session.wolfId) !== undefined)),

    /** For tunnels of sandboxes: the owner of a session that has not ended. */
    async ownerOf(sessionId: string): Promise<string | undefined> {
      const session = await store.get(sessionId);
      return session && session.endedAt === null ? session.ownerId : undefined;
    },

    /** Sessions were changed past this service, as when their wolf is removed: whoever waits looks again. */
    changedElsewhere: (): void => waiters.allChanged(),

    /** Lets waiting requests go and stops timers. */
    close(): void {
      keeper.close();
      waiters.close();
    },
  };
}
