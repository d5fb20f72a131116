/** How the control plane of every run is set: as in production where a run is long enough to see it, shorter where it is not. */
import { PlacementWeights } from "@wolfpack/api-contract";
import type { SessionServiceOptions } from "../../src/sessions/session-service-options.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

export const settings = {
  tunnelLostAfterMs: 20 * SECOND,
  restartGraceMs: 60 * SECOND,
  wolfStaleAfterMs: 2 * MINUTE,
  monitorIntervalMs: MINUTE,
  massLoss: { sharePercent: 50, wolvesMin: 3, windowMs: MINUTE },
  overrideMs: 10 * MINUTE,
  reconcileIntervalMs: 30 * SECOND,
  tickMs: SECOND,
  createTimeoutMs: MINUTE,
  callTimeoutMs: 15 * SECOND,
  quotas: { sessionsMax: 20, createsPerMinute: 30 },
  queueMax: 1000,
  settleMs: 10 * SECOND,
  strayGraceMs: 30 * SECOND,
  unseenMs: 90 * SECOND,
  lockMs: 15 * SECOND,
  createSlowMs: 30 * SECOND,
  attemptsMax: 3,
  warningMs: 30 * SECOND,
  limits: { placedMs: 90 * SECOND, startingMs: MINUTE, stoppingMs: MINUTE, lostMs: 3 * MINUTE },
  defaults: {
    image: "ghcr.io/games-on-whales/xfce:edge",
    policy: "least-loaded",
    queueMs: 4 * MINUTE,
    ttlMs: null,
    idleMs: null,
  },
  quarantine: {
    flapsMax: 5,
    flapWindowMs: 5 * MINUTE,
    createFailuresMax: 3,
    firstMs: MINUTE,
    maxMs: 10 * MINUTE,
  },
  placement: {
    randomBest: 3,
    weights: PlacementWeights.parse({ load: 1, cost: 1, region: 1, image: 1, rtt: 1, packing: 0 }),
  },
} as const satisfies Pick<
  SessionServiceOptions,
  | "quotas"
  | "queueMax"
  | "settleMs"
  | "strayGraceMs"
  | "unseenMs"
  | "lockMs"
  | "createSlowMs"
  | "attemptsMax"
  | "warningMs"
  | "limits"
  | "defaults"
  | "quarantine"
  | "placement"
> &
  Record<string, unknown>;
