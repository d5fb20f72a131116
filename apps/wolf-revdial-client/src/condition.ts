/**
 * What the agent knows of itself, for whoever asks from outside: the health listener, `status`, the service manager. It only
 * remembers; it decides nothing in the agent.
 */
import { agentNoticeTypes } from "@wolfpack/api-contract";
import type { Tunnel, TunnelMetrics } from "revdial";
import type { LifeState } from "./life.ts";

export interface ConditionOptions {
  /** "" inside a sandbox. */
  wolfId: string;
  /** Inside a sandbox. */
  sessionId?: string | undefined;
  controlPlane: string;
  version: string;
  /** Milliseconds that never go back. */
  now: () => number;
}

/** The body of /readyz and of `status --json`. */
export interface ConditionReport {
  state: LifeState;
  /** The tunnel is up and takes requests. */
  ready: boolean;
  /** False: the agent is stuck, and a restart is its cure. */
  alive: boolean;
  /** "" inside a sandbox. */
  wolf_id: string;
  /** Null beside a Wolf. */
  session_id: string | null;
  control_plane: string;
  version: string;
  uptime_s: number;
  /** Seconds in this state. */
  state_s: number;
  transport: string | null;
  rtt_ms: number | null;
  /** Tunnels so far; those beside the first are not counted. */
  tunnels: number;
  /** Tunnels that are up now, those beside the first included. */
  connections: number;
  /** Tries and tunnels that ended, by their cause. */
  endings: Record<string, number>;
  wolf: "ok" | "slow" | "stuck" | "unreachable" | "unknown";
  /** For how many seconds it has waited for its turn at Wolf's events; null: it does not. */
  events_wait_s: number | null;
  /** Why the last try or tunnel ended. */
  last_problem: string | null;
}

type Totals = Pick<
  TunnelMetrics,
  | "openedOutbound"
  | "openedInbound"
  | "refusedInbound"
  | "bytesSent"
  | "bytesReceived"
  | "pingsAnswered"
  | "creditStalls"
  | "resets"
>;

export interface Condition {
  step(state: LifeState): void;
  /** One listener, told after every step. */
  onStep(listener: () => void): void;
  /** The next step is this far away. */
  waits(ms: number): void;
  tunnelUp(tunnel: Tunnel): void;
  /** One beside the first. */
  furtherUp(tunnel: Tunnel): void;
  ended(cause: string, problem: string): void;
  /** Every notice passes here on its way up. */
  noticed(type: string, payload: unknown): void;
  /** It waits for Wolf's events, or does no longer. */
  eventsWait(waits: boolean): void;
  report(): ConditionReport;
  /** Of all tunnels so far. */
  totals(): Totals;
}

/** A ping goes every 5 s, and a tunnel without any sign of life ends after 15 s: one that is up for longer is not looked after. */
export const ANSWER_AGE_MS_MAX = 30_000;
/** Registration and dialling have bounds of their own, far below. */
export const STEP_MS_MAX = 120_000;

export function createCondition(options: ConditionOptions): Condition {
  const { wolfId, sessionId, controlPlane, version, now } = options;
  const startedAt = now();
  const open = new Set<Tunnel>();
  const endings: Record<string, number> = {};
  let past: Totals = noTotals;
  let state: LifeState = "connecting";
  let stateAt = startedAt;
  let stepDueAt = startedAt + STEP_MS_MAX;
  let live: Tunnel | undefined;
  let tunnels = 0;
  let answers = 0;
  let answeredAt = startedAt;
  let stepped = () => {};
  let wolf: ConditionReport["wolf"] = "unknown";
  let eventsWaitAt: number | undefined;
  let lastProblem: string | null = null;

  const isAlive = () => {
    if (state !== "ready" || live === undefined) return now() < stepDueAt;
    const { pingsAnswered } = live.metrics;
    if (pingsAnswered !== answers) {
      answers = pingsAnswered;
      answeredAt = now();
    }
    return now() - answeredAt < ANSWER_AGE_MS_MAX;
  };

  function count(tunnel: Tunnel): void {
    if (open.has(tunnel)) return;
    open.add(tunnel);
    void tunnel.closed.then(() => {
      open.delete(tunnel);
      past = sum(past, tunnel.metrics);
      if (live === tunnel) live = undefined;
    });
  }

  return {
    step(next) {
      state = next;
      stateAt = now();
      stepDueAt = stateAt + STEP_MS_MAX;
      stepped();
    },
    onStep(listener) {
      stepped = listener;
    },
    waits(ms) {
      stepDueAt = now() + ms + STEP_MS_MAX;
    },
    tunnelUp(tunnel) {
      live = tunnel;
      tunnels += 1;
      answers = 0;
      answeredAt = now();
      count(tunnel);
    },
    furtherUp: count,
    ended(cause, problem) {
      endings[cause] = (endings[cause] ?? 0) + 1;
      lastProblem = problem;
    },
    noticed(type, payload) {
      if (type === agentNoticeTypes.heartbeat) wolf = (payload as { wolf: typeof wolf }).wolf;
    },
    eventsWait(waits) {
      eventsWaitAt = waits ? (eventsWaitAt ?? now()) : undefined;
    },
    report: () => ({
      state,
      ready: state === "ready" && live?.draining === false,
      alive: isAlive(),
      wolf_id: wolfId,
      session_id: sessionId ?? null,
      control_plane: controlPlane,
      version,
      uptime_s: seconds(now() - startedAt),
      state_s: seconds(now() - stateAt),
      transport: live?.transport ?? null,
      rtt_ms: live?.rttMs === undefined ? null : Math.round(live.rttMs * 10) / 10,
      tunnels,
      connections: [...open].filter(({ draining }) => !draining).length,
      endings: { ...endings },
      wolf,
      events_wait_s: eventsWaitAt === undefined ? null : seconds(now() - eventsWaitAt),
      last_problem: lastProblem,
    }),
    totals: () => [...open].reduce((totals, { metrics }) => sum(totals, metrics), past),
  };
}

const seconds = (ms: number) => Math.floor(ms / 1000);

const noTotals: Totals = {
  openedOutbound: 0,
  openedInbound: 0,
  refusedInbound: 0,
  bytesSent: 0,
  bytesReceived: 0,
  pingsAnswered: 0,
  creditStalls: 0,
  resets: {},
};

function sum(a: Totals, b: Totals): Totals {
  const resets: Record<string, number> = { ...a.resets };
  for (const [code, count] of Object.entries(b.resets)) resets[code] = (resets[code] ?? 0) + count;
  return {
    openedOutbound: a.openedOutbound + b.openedOutbound,
    openedInbound: a.openedInbound + b.openedInbound,
    refusedInbound: a.refusedInbound + b.refusedInbound,
    bytesSent: a.bytesSent + b.bytesSent,
    bytesReceived: a.bytesReceived + b.bytesReceived,
    pingsAnswered: a.pingsAnswered + b.pingsAnswered,
    creditStalls: a.creditStalls + b.creditStalls,
    resets,
  };
}
