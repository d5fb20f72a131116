/** The agent's run: register, dial, serve, and again, until it is told to stop. Decisions come from life.ts; this is the edge. */
import { availableParallelism } from "node:os";
import { type AgentInventory, agentNoticeTypes } from "@wolfpack/api-contract";
import { RevdialError, type Tunnel } from "revdial";
import type { Condition } from "./condition.ts";
import type { AgentConfig } from "./config.ts";
import { dial, RegistrationFailed, register } from "./control-plane.ts";
import { createForwarder } from "./forward.ts";
import type { HostState } from "./host-state.ts";
import { gpuTypeOf, readCards } from "./inventory/drm.ts";
import { watchHost } from "./inventory/host-watch.ts";
import { type Ending, LASTED_MS, type LifeEvent, type LifeState, lifeTransitions, nextTry } from "./life.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { printableWithout } from "./printable.ts";
import { onlyScreenOf } from "./sandbox.ts";
import { sentence } from "./sentence.ts";
import { createServing } from "./serving.ts";
import { pause, watchWolf } from "./wolf-watch.ts";

/** Exit code 3: the credential was refused before it ever worked. */
export class CredentialRefused extends Error {
  override readonly name = "CredentialRefused";
}

export interface AgentEdges {
  log: Log;
  random: () => number;
  /** Milliseconds that never go back. */
  now: () => number;
  version: string;
  host: HostState;
  condition: Condition;
  metrics: Metrics;
  /** Where tools of the host are looked for; undefined: the system's default. */
  path: string | undefined;
  /** Stops: drain, then return. */
  signal: AbortSignal;
}

const BACKOFF_BASE_MS = 500;

/** Resolves when it was stopped, or a newer agent of this host took over. Rejects with CredentialRefused. */
export async function runAgent(
  config: AgentConfig,
  { log, random, now, version, host, condition, metrics, path, signal }: AgentEdges,
): Promise<void> {
  const { incarnation, seat } = host;
  const inventory: AgentInventory = {
    gpu_type: config.gpuType ?? gpuTypeOf(readCards().map(({ gpu }) => gpu)),
    max_sandboxes: config.maxSandboxes,
    labels: config.labels,
    agent_version: version,
    ...(config.region === undefined ? {} : { region: config.region }),
    ...(config.costPerHour === undefined ? {} : { cost_per_hour: config.costPerHour }),
  };
  const { sessionId } = config;
  const forward = createForwarder({
    wolf: config.wolf,
    screen: config.screen,
    log,
    metrics,
    policy: config.policy,
    createsMax: Math.max(1, availableParallelism() - 1),
  });
  const backoff = { baseMs: BACKOFF_BASE_MS, capMs: config.reconnectMaxMs, random };
  let state: LifeState = "connecting";
  let everReady = false;
  let handedOver = false;

  const step = (event: LifeEvent) => {
    const next = lifeTransitions[state][event];
    if (next === undefined || next === state) return;
    log.debug({ from: state, to: next, event }, "life");
    state = next;
    condition.step(state);
  };
  const dialAs = {
    version,
    incarnation,
    handler: sessionId === undefined ? forward : onlyScreenOf(sessionId, forward),
    onHandlerError: (err: unknown) => log.error({ err }, "a request could not be served"),
  };
  const serving = createServing({
    log,
    signal,
    onLive(tunnel) {
      const { transport } = tunnel;
      everReady = true;
      condition.tunnelUp(tunnel);
      step("tunnelUp");
      void tunnel.goingAway.then(({ code }) => {
        if (code === "REPLACED" && seat?.wanted) handOver();
      });
      const whose = sessionId === undefined ? { wolf_id: config.wolfId } : { session_id: sessionId };
      log.info({ ...whose, control_plane: config.apiUrl.host, transport }, "tunnel up");
      if (watches === undefined) return;
      tellInventory();
      watches.wolf.announce();
    },
    onDrain() {
      step("stop");
      log.info("draining");
    },
    redial:
      config.transport === "auto"
        ? (wanted) => dial(config, { ...dialAs, signal: wanted, transport: "websocket" })
        : undefined,
    redialEveryMs: config.reconnectMaxMs,
  });
  const stopping = new AbortController();
  const tellInventory = () => {
    const facts = watches?.host.facts;
    serving.notify(agentNoticeTypes.inventory, {
      ...inventory,
      ...(facts === undefined ? {} : { host: facts }),
    });
  };
  const watches = sessionId === undefined ? watchAll() : undefined;

  /** What is looked at beside the tunnel: the host, and its Wolf. */
  function watchAll() {
    const host = watchHost({
      wolf: config.wolf,
      mounts: config.disks,
      thresholds: config.diskThresholds,
      path,
      now,
      log,
      pause,
      signal: stopping.signal,
      onFacts: tellInventory,
    });
    const wolf = watchWolf({
      host,
      wolf: config.wolf,
      log,
      random,
      notify(type, payload) {
        condition.noticed(type, payload);
        return serving.notify(type, payload);
      },
      signal: stopping.signal,
      ...(seat === undefined ? {} : { eventsFree: seat.taken }),
    });
    return { host, wolf, done: Promise.all([wolf.done, host.done]) };
  }

  /** A newer agent of this host has the tunnel: it gets Wolf's events at once, and we finish what is in flight. */
  function handOver(): void {
    if (handedOver) return;
    handedOver = true;
    step("stop");
    log.info("a newer agent of this host took over: finishing what is in flight");
    stopping.abort();
    void Promise.resolve(watches?.done).then(seat?.release);
  }

  async function connect(): Promise<Tunnel> {
    if (sessionId === undefined) await register(config, inventory, signal);
    step("registered");
    return dial(config, {
      ...dialAs,
      signal,
      transport: config.transport,
      onFallback(error) {
        const { code, status } = error;
        const reason = printableWithout(config.token, sentence(error));
        log.warn({ code, status, reason }, "the WebSocket does not come up: falling back to plain HTTP");
      },
    });
  }

  /** Serves until the tunnel ends. */
  async function serve(tunnel: Tunnel): Promise<Ending> {
    const { code, reason, retryAfterMs } = await serving.serve(tunnel);
    condition.ended(code, reason);
    log[signal.aborted || handedOver ? "info" : "warn"]({ code, reason }, "tunnel down");
    return { kind: code === "REPLACED" ? "replaced" : "lost", retryAfterMs };
  }

  try {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      let ending: Ending;
      try {
        const tunnel = await connect();
        const upAt = now();
        ending = await serve(tunnel);
        if (now() - upAt >= LASTED_MS) attempt = 0;
      } catch (error) {
        ending = endingOf(error);
        if (signal.aborted) break;
        const message = printableWithout(config.token, sentence(error));
        condition.ended(error instanceof RevdialError ? error.code : "REGISTRATION_FAILED", message);
        log.warn({ err: message, kind: ending.kind }, "not connected");
        if (nextTry(ending, { attempt, everReady }, backoff) === "give-up")
          throw new CredentialRefused(message, { cause: error });
      }
      step("ended");
      if (signal.aborted || handedOver) break;
      const waitMs = nextTry(ending, { attempt, everReady }, backoff);
      if (ending.kind === "replaced")
        log.warn(
          sessionId === undefined
            ? "another agent connected as this wolf: is --wolf-id used twice?"
            : "another agent connected for this session: is --session-id used twice?",
        );
      if (typeof waitMs === "number") {
        log.info({ wait_ms: Math.round(waitMs) }, "next try");
        condition.waits(waitMs);
        await pause(waitMs, signal);
      }
      step("retry");
    }
  } finally {
    step("stop");
    await serving.ended();
    step("drained");
    stopping.abort();
    await watches?.done;
    seat?.release();
  }
}

function endingOf(error: unknown): Ending {
  if (!(error instanceof RegistrationFailed || error instanceof RevdialError)) return { kind: "lost" };
  const { status, retryAfterMs } = error;
  return { kind: status === 401 || status === 403 ? "credential" : "lost", retryAfterMs };
}
