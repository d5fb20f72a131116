/** A session that runs, for tests of decisions, and what services of sessions are set to. */
import { SessionSpec } from "@wolfpack/api-contract";
import type { SessionServiceOptions } from "../src/sessions/session-service-options.ts";
import type { Session } from "../src/sessions/session-store.ts";

const at = new Date("2026-11-23T12:00:00.000Z");

export const aSpec = (overrides: Partial<SessionSpec> = {}): SessionSpec => ({
  ...SessionSpec.parse({
    image: "xfce",
    gpu_type: null,
    resolution: { width: 640, height: 480, refresh_rate: 60 },
  }),
  ...overrides,
});

export const anExplanation = (text = "It fits."): Session["placement"] => ({
  policy: "least-loaded",
  outcome: "placed",
  candidates: 1,
  removed: [],
  ranked: [],
  counterfactuals: [],
  text,
});

export function aSession(overrides: Partial<Session> = {}): Session {
  return {
    id: "ses_00000000000000000000000000",
    ownerId: "usr_00000000000000000000000000",
    name: "desk",
    status: "running",
    statusSince: at,
    wolfId: "wlf_00000000000000000000000000",
    lobbyId: "lobby",
    spec: aSpec(),
    placement: anExplanation(),
    failure: null,
    stopReason: null,
    queuedAt: null,
    queueDeadline: null,
    priority: 4,
    turn: 0,
    attempts: 1,
    avoid: [],
    culprits: [],
    leftWolves: [],
    lockToken: null,
    lockExpiresAt: null,
    expiresAt: null,
    idleSeconds: null,
    lastActiveAt: null,
    warnedAt: null,
    pin: null,
    createdAt: at,
    updatedAt: at,
    startedAt: null,
    endedAt: null,
    ...overrides,
  };
}

type Settings = Pick<
  SessionServiceOptions,
  | "quotas"
  | "defaults"
  | "placement"
  | "quarantine"
  | "queueMax"
  | "renderNode"
  | "limits"
  | "settleMs"
  | "strayGraceMs"
  | "unseenMs"
  | "lockMs"
  | "createSlowMs"
  | "attemptsMax"
  | "warningMs"
>;

export const sessionSettings = (overrides: Partial<Settings> = {}): Settings => ({
  quotas: { sessionsMax: 10_000, createsPerMinute: 10_000 },
  defaults: { image: "xfce", policy: "least-loaded", queueMs: 1_800_000, ttlMs: null, idleMs: null },
  placement: {
    randomBest: 3,
    weights: { load: 1, packing: 0, cost: 0, region: 1, image: 0.2, rtt: 0 },
  },
  quarantine: {
    flapsMax: 5,
    flapWindowMs: 600_000,
    createFailuresMax: 3,
    firstMs: 60_000,
    maxMs: 3_600_000,
  },
  queueMax: 1000,
  renderNode: "/dev/dri/renderD128",
  limits: { placedMs: 70_000, startingMs: 70_000, stoppingMs: 60_000, lostMs: 86_400_000 },
  settleMs: 10_000,
  strayGraceMs: 30_000,
  unseenMs: 90_000,
  lockMs: 4000,
  createSlowMs: 30_000,
  attemptsMax: 3,
  warningMs: 300_000,
  ...overrides,
});
