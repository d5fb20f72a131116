/** The life of a session as a table. An absent cell changes nothing: somebody else was faster. */
import type { SessionStatus } from "@wolfpack/api-contract";

export type SessionEvent =
  | "claimed"
  | "lobbyCreated"
  | "running"
  | "wolfLost"
  | "requeued"
  | "stopRequested"
  | "stopped"
  | "failed";

export const sessionTransitions: Record<SessionStatus, Partial<Record<SessionEvent, SessionStatus>>> = {
  // What waits holds nothing: it ends without asking a Wolf.
  queued: { claimed: "placed", stopped: "stopped", failed: "failed" },
  placed: { lobbyCreated: "starting", requeued: "queued", stopRequested: "stopping", failed: "failed" },
  starting: {
    running: "running",
    requeued: "queued",
    stopRequested: "stopping",
    failed: "failed",
  },
  running: { wolfLost: "lost", requeued: "queued", stopRequested: "stopping", failed: "failed" },
  stopping: { stopped: "stopped", failed: "failed" },
  lost: {
    running: "running",
    requeued: "queued",
    stopRequested: "stopping",
    stopped: "stopped",
    failed: "failed",
  },
  stopped: {},
  failed: {},
};

/** The statuses in which an event has an effect: the guard of its SQL statement. */
export function statusesBefore(event: SessionEvent): SessionStatus[] {
  return (Object.keys(sessionTransitions) as SessionStatus[]).filter(
    (status) => sessionTransitions[status][event] !== undefined,
  );
}

/** Statuses of sessions that have not ended; all but `queued` hold a slot. */
export const liveStatuses: readonly SessionStatus[] = [
  "queued",
  "placed",
  "starting",
  "running",
  "stopping",
  "lost",
];
