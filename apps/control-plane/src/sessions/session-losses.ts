/** What becomes of sessions whose wolf is lost, or has to be empty: a table by status and disconnect policy, and its thin edge. */
import type { DisconnectPolicy, SessionStatus } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { because } from "../events/author.ts";
import type { Log } from "../logger.ts";
import type { SessionChanges } from "./session-changes.ts";
import type { Session, SessionStore } from "./session-store.ts";

/** `move`: back into the queue, for another wolf. `wait`: lost until its wolf is back. `end`: without asking the wolf. */
export type Fate = "move" | "wait" | "end" | "stop" | "leave";

const byPolicy = { keep: "wait", replace: "move", stop: "end" } as const;

/** A desktop that nobody has seen yet is made elsewhere, whatever its policy. */
export const fateOnLoss: Record<SessionStatus, Fate | Record<DisconnectPolicy, Fate>> = {
  queued: "leave",
  placed: "move",
  starting: "move",
  running: byPolicy,
  // Its wolf stops what still runs when it returns.
  stopping: "end",
  lost: "leave",
  stopped: "leave",
  failed: "leave",
};

/** The wolf is there, and is to be empty. */
export const fateOnEviction: Record<SessionStatus, Fate | Record<DisconnectPolicy, Fate>> = {
  queued: "leave",
  placed: "move",
  starting: "move",
  running: { keep: "stop", replace: "move", stop: "stop" },
  stopping: "leave",
  lost: { keep: "stop", replace: "move", stop: "stop" },
  stopped: "leave",
  failed: "leave",
};

export function fateOf({ status, spec }: Pick<Session, "status" | "spec">, table: typeof fateOnLoss): Fate {
  const fate = table[status];
  return typeof fate === "string" ? fate : fate[spec.disconnect_policy];
}

export interface SessionLossesOptions {
  store: SessionStore;
  changes: SessionChanges;
  clock: Clock;
  log: Log;
  /** Never rejects. */
  stopLobbyOf: (session: Session, wolfId: string) => Promise<void>;
}

/** Of one look; what is left is the next one's. */
const SESSIONS_PER_LOOK = 200;

export class SessionLosses {
  private readonly options: SessionLossesOptions;

  constructor(options: SessionLossesOptions) {
    this.options = options;
  }

  /** Sessions on wolves that are lost, by what PostgreSQL says of both. */
  look(): Promise<void> {
    return because("wolf-lost", () => this.lookAtLost());
  }

  private async lookAtLost(): Promise<void> {
    for (const session of await this.options.store.listOnLostWolves(SESSIONS_PER_LOOK))
      await this.meet(session, fateOf(session, fateOnLoss), "wolf-lost");
  }

  /** Everything goes from a wolf whose drain has come to its deadline. */
  evict(wolfId: string): Promise<void> {
    return because("drain", () => this.empty(wolfId));
  }

  private async empty(wolfId: string): Promise<void> {
    for (const session of await this.options.store.listLive(wolfId))
      await this.meet(session, fateOf(session, fateOnEviction), "drained");
  }

  private async meet(session: Session, fate: Fate, why: "wolf-lost" | "drained"): Promise<void> {
    const { store, changes, clock, log, stopLobbyOf } = this.options;
    const { id, status, wolfId } = session;
    if (fate === "leave" || wolfId === null) return;
    log.info({ session_id: id, wolf_id: wolfId, status, fate, why }, "session loses its wolf");
    const whileLost = why === "wolf-lost";
    if (fate === "move") {
      await changes.requeue(session, [status], { avoid: false, whileLost });
    } else if (fate === "wait") {
      if (await store.markLost(id, clock.now())) changes.changed(id);
    } else {
      const stopping = await store.requestStop(id, why, clock.now(), { whileLost });
      if (stopping?.status !== "stopping") return;
      // One Wolf that does not answer keeps no other waiting; the reconciler tries again.
      if (fate === "stop") void stopLobbyOf(stopping, wolfId);
      else await changes.finish(stopping, { status: "stopped" }, { from: ["stopping"] });
    }
  }
}
