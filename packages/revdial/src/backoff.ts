/** How long to wait before dialling again: a decision of values, with the dice given. */
import { RevdialError } from "./errors.ts";

export interface BackoffLimits {
  /** Shortest delay. Default 250 ms, from 1 to 2,147,483,647. */
  backoffMinMs: number;
  /** Longest delay of our own; a peer's wish may be longer. Default 30,000 ms, from 1 to 2,147,483,647. */
  backoffMaxMs: number;
}

/** What a peer may ask for at most: one day. */
const WISH_MS_MAX = 86_400_000;
/** A wrong credential does not heal by asking often. */
const HOPELESS_STATUSES = new Set([401, 403]);

/**
 * `failures` in a row, from 1; `dice` in [0, 1), what is below counts as 0 and all else as 1. Jitter over the whole range keeps many
 * agents from coming back at once.
 */
export function backoffMs(failures: number, dice: number, limits: BackoffLimits, error?: unknown): number {
  const { backoffMinMs, backoffMaxMs } = limits;
  const told = error instanceof RevdialError ? error : undefined;
  const ceilingMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** failures);
  const share = dice < 1 ? Math.max(0, dice) : 1;
  const ownMs = HOPELESS_STATUSES.has(told?.status ?? 0)
    ? backoffMaxMs
    : backoffMinMs + share * (ceilingMs - backoffMinMs);
  return Math.max(ownMs, Math.min(told?.retryAfterMs ?? 0, WISH_MS_MAX));
}
