/** The agent's run: register, dial, serve, and again, until it is told to stop. Decisions come from life.ts; this is the edge. */
import { availableParallelism } from "node:os";
import type { AgentInventory } from "@wolfpack/api-contract";
import { type RequestHandler, RevdialError, type Tunnel } from "revdial";
import { type Clock, pause } from "./clock.ts";
import type { Condition } from "./condition.ts";
import type { AgentConfig } from "./config.ts";
import { type DialAs, dial, RegistrationFailed, register } from "./control-plane.ts";
import { createForwarder } from "./forward.ts";
import type { HostState } from "./host-state.ts";
import { gpuTypeOf, readCards } from "./inventory/drm.ts";
import { type Ending, LASTED_MS, type LifeEvent, type LifeState, lifeTransitions, nextTry } from "./life.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { printableWithout } from "./printable.ts";
import { problemOf, sentence } from "./sentence.ts";
import { createServing, type Serving } from "./serving.ts";
import { startWatches, type Watches } from "./watches.ts";
import { type WolfLine, wolfLine } from "./wolf-line.ts";

/** Exit code 3: what this agent is was refused before it ever worked. The message says why and what to do. */
export class CredentialRefused extends Error {
  override readonly name = "CredentialRefused";
}

export interface AgentEdges {
  log: Log;
  random: () => number;
  clock: Clock;
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
export async function runAgent(config: AgentConfig, edges: AgentEdges): Promise<void> {
  return new Agent(config, edges).run();
}

class Agent {
  private readonly config: AgentConfig;
  private readonly edges: AgentEdges;
  private readonly inventory: AgentInventory;
  private readonly line: WolfLine;
  private readonly dialAs: Omit<DialAs, "signal" | "transport" | "onFallback">;
  private readonly serving: Serving;
  /** Undefined inside a sandbox. */
  private watches: Watches | undefined;
  private state: LifeState = "connecting";
  private everReady = false;
  private handedOver = false;
  /** Ends the watches. */
  private readonly unwatch = new AbortController();

  constructor(config: AgentConfig, edges: AgentEdges) {
    const { log, version, host, clock, signal } = edges;
    this.config = config;
    this.edges = edges;
    this.inventory = inventoryOf(config, version);
    this.line = wolfLine(config.wolf);
    this.dialAs = {
      version,
      incarnation: host.incarnation,
      clock,
      handler: handlerOf(config, edges, this.line),
      onHandlerError: (err) => log.error({ err }, "a request could not be served"),
    };
    this.serving = createServing({
      log,
      clock,
      signal,
      onLive: (tunnel) => this.live(tunnel),
      onDrain: () => {
        this.step("stop");
        log.info("draining");
      },
      onReplaced: () => {
        if (host.seat?.wanted) this.handOver();
      },
      redial:
        config.transport === "auto"
          ? (wanted) => dial(config, { ...this.dialAs, signal: wanted, transport: "websocket" })
          : undefined,
      redialEveryMs: config.reconnectMaxMs,
    });
  }

  async run(): Promise<void> {
    const { config, edges, inventory, line, serving } = this;
    if (config.sessionId === undefined) {
      const { signal } = this.unwatch;
      this.watches = startWatches({ config, edges, inventory, line, notify: serving.notify, signal });
    }
    try {
      await this.stayConnected();
    } finally {
      this.step("stop");
      await serving.ended();
      this.step("drained");
      this.unwatch.abort();
      await this.watches?.done;
      edges.host.seat?.release();
    }
  }

  private async stayConnected(): Promise<void> {
    const { clock, signal } = this.edges;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      let ending: Ending;
      try {
        const tunnel = await this.connect();
        const upAt = clock.now();
        ending = await this.serve(tunnel);
        if (clock.now() - upAt >= LASTED_MS) attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        ending = this.failed(error, attempt);
      }
      this.step("ended");
      if (signal.aborted || this.handedOver) return;
      await this.wait(ending, attempt);
      this.step("retry");
    }
  }

  private async connect(): Promise<Tunnel> {
    const { config } = this;
    const { log, signal } = this.edges;
    if (config.sessionId === undefined) await register(config, this.inventory, signal);
    this.step("registered");
    return dial(config, {
      ...this.dialAs,
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
  private async serve(tunnel: Tunnel): Promise<Ending> {
    const { condition, log, signal } = this.edges;
    const { code, reason, retryAfterMs } = await this.serving.serve(tunnel);
    condition.ended(code, reason);
    log[signal.aborted || this.handedOver ? "info" : "warn"]({ code, reason }, "tunnel down");
    return { kind: code === "REPLACED" ? "replaced" : "lost", retryAfterMs };
  }

  private live(tunnel: Tunnel): void {
    const { sessionId, wolfId, apiUrl } = this.config;
    const { condition, log } = this.edges;
    const { transport } = tunnel;
    this.everReady = true;
    condition.tunnelUp(tunnel);
    this.step("tunnelUp");
    const whose = sessionId === undefined ? { wolf_id: wolfId } : { session_id: sessionId };
    log.info({ ...whose, control_plane: apiUrl.host, transport }, "tunnel up");
    this.watches?.announce();
  }

  /** A newer agent of this host has the tunnel: it gets Wolf's events at once, and we finish what is in flight. */
  private handOver(): void {
    if (this.handedOver) return;
    this.handedOver = true;
    this.step("stop");
    this.edges.log.info("a newer agent of this host took over: finishing what is in flight");
    this.unwatch.abort();
    void Promise.resolve(this.watches?.done).then(this.edges.host.seat?.release);
  }

  /** Throws CredentialRefused when trying again cannot help. */
  private failed(error: unknown, attempt: number): Ending {
    const { condition, log } = this.edges;
    const ending = endingOf(error);
    const message = printableWithout(this.config.token, sentence(error));
    condition.ended(error instanceof RevdialError ? error.code : "REGISTRATION_FAILED", message);
    const advice = adviceOf(ending, this.config);
    if (this.nextTry(ending, attempt) === "give-up")
      throw new CredentialRefused(`${message}\n${advice}`, { cause: error });
    log.warn({ err: message, kind: ending.kind, advice }, "not connected");
    return ending;
  }

  private async wait(ending: Ending, attempt: number): Promise<void> {
    const { clock, condition, log, signal } = this.edges;
    const waitMs = this.nextTry(ending, attempt);
    if (ending.kind === "replaced")
      log.warn(
        this.config.sessionId === undefined
          ? "another agent connected as this wolf: is --wolf-id used twice?"
          : "another agent connected for this session: is --session-id used twice?",
      );
    if (waitMs === "give-up") return;
    log.info({ wait_ms: Math.round(waitMs) }, "next try");
    condition.waits(waitMs);
    await pause(waitMs, clock, signal);
  }

  private nextTry(ending: Ending, attempt: number): number | "give-up" {
    const backoff = {
      baseMs: BACKOFF_BASE_MS,
      capMs: this.config.reconnectMaxMs,
      random: this.edges.random,
    };
    return nextTry(ending, { attempt, everReady: this.everReady }, backoff);
  }

  private step(event: LifeEvent): void {
    const next = lifeTransitions[this.state][event];
    if (next === undefined || next === this.state) return;
    this.edges.log.debug({ from: this.state, to: next, event }, "life");
    this.state = next;
    this.edges.condition.step(next);
  }
}

/** What does not change while the agent runs. */
function inventoryOf(config: AgentConfig, version: string): AgentInventory {
  return {
    gpu_type: config.gpuType ?? gpuTypeOf(readCards(config.gpuFolder).map(({ gpu }) => gpu)),
    max_sandboxes: config.maxSandboxes,
    labels: config.labels,
    agent_version: version,
    ...(config.region === undefined ? {} : { region: config.region }),
    ...(config.costPerHour === undefined ? {} : { cost_per_hour: config.costPerHour }),
  };
}

function handlerOf(config: AgentConfig, { log, metrics }: AgentEdges, line: WolfLine): RequestHandler {
  return createForwarder({
    wolf: line.ask,
    screen: config.screen,
    log,
    metrics,
    policy: config.policy,
    sessionId: config.sessionId,
    createsMax: Math.max(1, availableParallelism() - 1),
  });
}

function endingOf(error: unknown): Ending {
  if (!(error instanceof RegistrationFailed || error instanceof RevdialError)) return { kind: "lost" };
  const { status, retryAfterMs } = error;
  if (problemOf(error)?.code === "session-not-found") return { kind: "session", retryAfterMs };
  return { kind: status === 401 || status === 403 ? "credential" : "lost", retryAfterMs };
}

/** What whoever reads of a refusal can do. */
function adviceOf({ kind }: Ending, { sessionId }: AgentConfig): string | undefined {
  if (kind !== "credential" && kind !== "session") return undefined;
  if (sessionId === undefined)
    return "Check RUNNER_TOKEN or --token-file against the control plane's RUNNER_TOKEN.";
  const key = "that the token is an API key of the session's owner";
  return kind === "credential"
    ? `Check ${key}.`
    : `Check --session-id, and ${key}; a session that has ended does not come back.`;
}
