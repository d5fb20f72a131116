/** What the configuration says of sessions, as their service takes it. */
import type { Config } from "../config.ts";

/** After a status' own timeout; meanwhile its process or the reconciler may still end it in order. */
const OVERDUE_GRACE_MS = 10_000;
/** Of a wolf's lobbies, in a row. */
const LOOKS_MISSED_MAX = 3;

export function sessionSettings(config: Config) {
  const startMs = config.sessionStartTimeoutMs + OVERDUE_GRACE_MS;
  return {
    quotas: config.quotas,
    defaults: {
      image: config.defaultSandboxImage,
      policy: config.placementPolicy,
      queueMs: config.queueMs,
      ttlMs: config.sessionTtlMs,
      idleMs: config.sessionIdleMs,
    },
    placement: config.placement,
    quarantine: config.quarantine,
    queueMax: config.queueMax,
    renderNode: config.renderNode,
    limits: {
      placedMs: startMs,
      startingMs: startMs,
      stoppingMs: config.sessionStopTimeoutMs,
      lostMs: config.sessionLostKeepMs,
    },
    settleMs: config.lobbySettleMs,
    strayGraceMs: config.lobbyGraceMs,
    unseenMs: LOOKS_MISSED_MAX * config.reconcileIntervalMs,
    lockMs: config.sessionLockMs,
    createSlowMs: config.createSlowMs,
    attemptsMax: config.sessionAttemptsMax,
    warningMs: config.sessionWarningMs,
  };
}
