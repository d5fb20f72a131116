/** The agent's life as a table, and what follows from the way a try or a tunnel ended. Pure: no sockets, no clock. */
import { type BackoffOptions, backoffMs } from "./backoff.ts";

export type LifeState = "connecting" | "authenticating" | "ready" | "waiting" | "draining" | "stopped";
export type LifeEvent = "registered" | "tunnelUp" | "ended" | "retry" | "stop" | "drained";

export const lifeTransitions: Record<LifeState, Partial<Record<LifeEvent, LifeState>>> = {
  connecting: { registered: "authenticating", ended: "waiting", stop: "stopped" },
  authenticating: { tunnelUp: "ready", ended: "waiting", stop: "stopped" },
  // A second tunnel is a move to another connection, not a loss.
  ready: { tunnelUp: "ready", ended: "waiting", stop: "draining" },
  waiting: { retry: "connecting", stop: "stopped" },
  draining: { drained: "stopped", ended: "stopped", stop: "draining" },
  stopped: {},
};

/** How a try, or a tunnel, ended. */
export interface Ending {
  /**
   * `credential`: 401 or 403. `session`: the control plane knows no such session. `pending`: an admin has to approve this host's
   * key. `replaced`: another agent of this wolf took over. `lost`: everything else.
   */
  kind: "credential" | "session" | "pending" | "replaced" | "lost";
  /** The server's wish. */
  retryAfterMs?: number | undefined;
}

export interface Retry {
  attempt: number;
  /** A tunnel was up at least once in this process. */
  everReady: boolean;
  /** Since the last tunnel that had lasted ended: of one that ends at once nothing is to be hoped. Undefined: there was none. */
  awayMs?: number | undefined;
}

/** What was refused is tried again this rarely once it had worked: a credential may be on its way to being rotated. */
const REFUSED_WAIT_MS = 60_000;
/** A longer wish is a mistake; and a timer above 2^31 - 1 ms would fire at once. */
export const RETRY_AFTER_MS_MAX = 3_600_000;
/** A tunnel that lasted this long proves the server well: the count of failures starts anew. */
export const LASTED_MS = 30_000;

/** Milliseconds until the next try, or `give-up` when trying again cannot help. */
export function nextTry(
  { kind, retryAfterMs }: Ending,
  { attempt, everReady, awayMs }: Retry,
  backoff: BackoffOptions,
): number | "give-up" {
  if (kind === "credential" || kind === "session")
    return everReady
      ? REFUSED_WAIT_MS + backoffMs(0, { ...backoff, baseMs: REFUSED_WAIT_MS, capMs: REFUSED_WAIT_MS })
      : "give-up";
  // Two agents with one name would throw each other out at full speed.
  // Whom an admin lets wait, asks now and then.
  if (kind === "replaced" || kind === "pending")
    return backoff.capMs / 2 + backoffMs(0, { ...backoff, baseMs: backoff.capMs / 2 });
  // A wish of zero would be a loop at full speed: it counts as none.
  if (retryAfterMs !== undefined && retryAfterMs > 0)
    return Math.min(retryAfterMs, RETRY_AFTER_MS_MAX) + backoffMs(0, backoff);
  // Nobody waits for more than twice as long as it has been away: after an outage of seconds a fleet is back in seconds, and not when the
  // unluckiest of its dice says so.
  const capMs = Math.min(backoff.capMs, Math.max(backoff.baseMs, 2 * (awayMs ?? backoff.capMs)));
  return backoffMs(attempt, { ...backoff, capMs });
}
