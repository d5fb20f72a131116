/** The life of a session as a table. An absent cell changes nothing: somebody else was faster. */
import type { SessionStatus } from "@wolfpack/api-contract";

export type SessionEvent = "lobbyCreated" | "running" | "stopRequested" | "stopped" | "failed";

export const sessionTransitions: Record<SessionStatus, Partial<Record<SessionEvent, SessionStatus>>> = {
  placed: { lobbyCreated: "starting", stopRequested: "stopping", failed: "failed" },
  starting: { running: "running", stopRequested: "stopping", failed: "failed" },
  running: { stopRequested: "stopping", failed: "failed" },
  stopping: { stopped: "stopped", failed: "failed" },
  stopped: {},
  failed: {},
  lost: { running: "running", stopRequested: "stopping", failed: "failed" },
};

/** The statuses in which an event has an effect: the guard of its SQL statement. */
export function statusesBefore(event: SessionEvent): SessionStatus[] {
  return (Object.keys(sessionTransitions) as SessionStatus[]).filter(
    (status) => sessionTransitions[status][event] !== undefined,
  );
}

/** Statuses that hold a slot and expect a lobby. */
export const liveStatuses: readonly SessionStatus[] = ["placed", "starting", "running", "stopping", "lost"];
