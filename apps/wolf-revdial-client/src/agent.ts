/** The agent's run: enrol, dial, serve, and again, until it is told to stop. Decisions come from life.ts; this is the edge. */
import { availableParallelism } from "node:os";
import { type AgentInventory, agentNoticeTypes } from "@wolfpack/api-contract";
import { noTracing, type Tracing } from "@wolfpack/telemetry";
import { type RequestHandler, RevdialError, type Tunnel } from "revdial";
import { type Clock, pause } from "./clock.ts";
import type { Condition } from "./condition.ts";
import { type AgentConfig, ConfigError } from "./config.ts";
import { type Connections, createConnections, type Dialling } from "./connections.ts";
import { type DialAs, dial } from "./control-plane.ts";
import { createForwarder } from "./forward.ts";
import type { HostState } from "./host-state.ts";
import { type Credential, createCredential } from "./identity/credential.ts";
import { hostMark } from "./identity/key-file.ts";
import { adviceOf, clockSentence, endingOf } from "./identity/refusal.ts";
import { keepRenewed } from "./identity/renewal.ts";
import { tokenCredential } from "./identity/token-credential.ts";
import { inventoryOf } from "./inventory/static.ts";
import { type Ending, LASTED_MS, type LifeEvent, type LifeState, lifeTransitions, nextTry } from "./life.ts";
import { type LocalCheck, localCheck } from "./local-check.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { movable } from "./moves.ts";
import { printableWithout } from "./printable.ts";
import { sentence } from "./sentence.ts";
import { watchedAsk, watchedHandler } from "./served.ts";
import { createServing, type Serving } from "./serving.ts";
import { startWatches, type Watches } from "./watches.ts";
import { WebSocketPatience } from "./web-socket-patience.ts";
import { type WolfLine, wolfLine } from "./wolf-line.ts";

/** Exit code 3: what this agent is was refused before it ever worked. The message says why and what to do. */
export class CredentialRefused extends Error {
  override readonly name = "CredentialRefused";
}

export interface AgentEdges {
  log: Log;
  random: () => number;
  clock: Clock;
  /** Milliseconds since 1970. Default: the system's. */
  wallClock?: () => number;
  version: string;
  host: HostState;
  condition: Condition;
  metrics: Metrics;
  /** Default: nothing is traced. */
  tracing?: Tracing;
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
  private readonly dialAs: Omit<DialAs, "headers" | "signal" | "transport" | "onFallback" | "handler">;
  private readonly handler: RequestHandler;
  private readonly connections: Connections;
  private readonly credential: Credential;
  private readonly serving: Serving;
  private readonly patience = new WebSocketPatience();
  /** Of a Helix control plane only. */
  private readonly local: LocalCheck | undefined;
  /** Undefined where nobody would hear of what they see: inside a sandbox, and of a Helix control plane. */
  private watches: Watches | undefined;
  private state: LifeState = "connecting";
  private everReady = false;
  private handedOver = false;
  /** When the last tunnel ended. */
  private lostAt: number | undefined;
  /** When the last tunnel that lasted ended. */
  private goneAt: number | undefined;
  /** What was said of a key that waits for approval. */
  private pending: string | undefined;
  /** Ends the watches. */
  private readonly unwatch = new AbortController();
  /** Ends the tunnels beside the first. */
  private readonly unfurther = new AbortController();

  constructor(config: AgentConfig, edges: AgentEdges) {
    const { log, version, host, clock, signal } = edges;
    this.config = config;
    this.edges = edges;
    this.inventory = inventoryOf(config, version);
    this.line = wolfLine(config.wolf);
    this.local = config.protocol === "helix" ? this.checkedLine() : undefined;
    this.dialAs = {
      version,
      incarnation: host.incarnation,
      clock,
      onHandlerError: (err) => log.error({ err }, "a request could not be served"),
      ...(this.local === undefined ? {} : { pickups: this.pickups(this.local) }),
    };
    this.handler = handlerOf(config, edges, this.local ?? this.line);
    this.connections = this.furtherConnections();
    this.credential = this.local ? tokenCredential(config.token) : this.keyCredential();
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
      redial: config.transport === "auto" ? (wanted) => this.dialFirst(wanted, "websocket") : undefined,
      replace: (wanted) => this.dialFirst(wanted, config.transport),
      redialEveryMs: config.reconnectMaxMs,
    });
  }

  private keyCredential(): Credential {
    const { config, inventory } = this;
    const { host, log, wallClock = Date.now } = this.edges;
    return createCredential({
      config,
      inventory,
      place:
        host.folder === undefined
          ? undefined
          : {
              folder: host.folder,
              controlPlane: config.apiUrl.origin,
              wolfName: config.wolfId,
              host: hostMark(),
            },
      log,
      wallClock,
    });
  }

  private checkedLine(): LocalCheck {
    const { config, edges, line } = this;
    const { clock, condition } = edges;
    const onFound = (wolf: string) => condition.noticed(agentNoticeTypes.heartbeat, { wolf });
    return localCheck({ wolf: config.wolf, ask: line.ask, clock, onFound });
  }

  private pickups({ check }: LocalCheck): NonNullable<DialAs["pickups"]> {
    const { log, metrics } = this.edges;
    return {
      checkTarget: check,
      onPickupFailed: (reason) => {
        metrics.count("pickups_failed");
        log.warn({ reason: this.printable(reason) }, "a pick-up failed");
      },
    };
  }

  async run(): Promise<void> {
    const { config, edges, inventory, line, serving } = this;
    if (config.sessionId === undefined && this.local === undefined) {
      const { signal } = this.unwatch;
      this.watches = startWatches({ config, edges, inventory, line, notify: serving.notify, signal });
    }
    void this.lookAtWolf();
    const renewed = this.local ? undefined : this.keepRenewed();
    try {
      await this.stayConnected();
    } finally {
      this.step("stop");
      this.unfurther.abort();
      await Promise.all([serving.ended(), this.connections.ended()]);
      this.step("drained");
      this.unwatch.abort();
      await Promise.all([this.watches?.done, renewed]);
      edges.host.seat?.release();
    }
  }

  /** Where nobody watches it, a wrong address would be news only when the control plane asks for the first time. */
  private async lookAtWolf(): Promise<void> {
    const { log, signal } = this.edges;
    await this.local?.check().catch((error: unknown) => {
      if (!signal.aborted) log.warn({ err: this.printable(sentence(error)) }, "Wolf is not reached");
    });
  }

  private async stayConnected(): Promise<void> {
    const { clock, signal } = this.edges;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      let ending: Ending;
      try {
        const tunnel = await this.connect();
        const upAt = clock.now();
        ending = await this.serve(tunnel);
        if (clock.now() - upAt >= LASTED_MS) {
          attempt = 0;
          this.goneAt = this.lostAt;
        }
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
    const { signal } = this.edges;
    await this.credential.prepare(signal);
    this.step("registered");
    return this.dialFirst(signal, config.transport);
  }

  private dialFirst(signal: AbortSignal, transport: AgentConfig["transport"]): Promise<Tunnel> {
    const { onAnswer } = this.connections;
    return this.dial({ signal, transport, onAnswer, onMove: (afterMs) => this.serving.move(afterMs) });
  }

  private furtherConnections(): Connections {
    const { config, edges, unfurther } = this;
    const { log, clock, random, condition } = edges;
    const { connections: of, transport } = config;
    return createConnections({
      count: of,
      dial: (at, dialling) => this.dial({ ...dialling, transport, connection: { at, of } }),
      onUp: condition.furtherUp,
      log,
      clock,
      random,
      reconnectMaxMs: config.reconnectMaxMs,
      signal: AbortSignal.any([edges.signal, unfurther.signal]),
    });
  }

  private async dial({
    onMove,
    ...how
  }: Dialling & Pick<DialAs, "transport" | "connection">): Promise<Tunnel> {
    const { signal } = how;
    const credential = this.credential.forDial(signal);
    const tunnel = await dial(this.config, {
      ...this.dialAs,
      ...how,
      ...this.patience.dialOptions,
      handler: movable(this.handler, onMove),
      headers: credential.headers,
      onFallback: (error) => {
        const { code, status } = error;
        const reason = this.printable(sentence(error));
        this.edges.log.warn(
          { code, status, reason },
          "the WebSocket does not come up: falling back to plain HTTP",
        );
      },
    });
    credential.opened(tunnel);
    return tunnel;
  }

  private keepRenewed(): Promise<void> {
    const { clock, wallClock = Date.now, random, log } = this.edges;
    return keepRenewed({
      credential: this.credential,
      tunnel: () => this.serving.tunnel,
      clock,
      wallClock,
      random,
      log,
      onRenewed: this.serving.renew,
      signal: this.unwatch.signal,
    });
  }

  /** What others said, without our tokens. */
  private printable(text: string): string {
    return printableWithout([this.config.token, this.config.joinToken], text);
  }

  /** Serves until the tunnel ends. */
  private async serve(tunnel: Tunnel): Promise<Ending> {
    const { clock, condition, log, signal } = this.edges;
    const { code, reason, retryAfterMs } = await this.serving.serve(tunnel);
    this.lostAt = clock.now();
    condition.ended(code, reason);
    log[signal.aborted || this.handedOver ? "info" : "warn"]({ code, reason }, "tunnel down");
    return { kind: code === "REPLACED" ? "replaced" : "lost", retryAfterMs };
  }

  private live(tunnel: Tunnel): void {
    const { sessionId, wolfId, apiUrl } = this.config;
    const { clock, condition, log, metrics } = this.edges;
    const { transport } = tunnel;
    this.everReady = true;
    this.patience.came(tunnel);
    if (this.lostAt !== undefined) metrics.observed({ name: "reconnect", ms: clock.now() - this.lostAt });
    this.lostAt = undefined;
    condition.tunnelUp(tunnel);
    this.connections.firstUp(tunnel);
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
    this.unfurther.abort();
    this.unwatch.abort();
    void Promise.resolve(this.watches?.done).then(this.edges.host.seat?.release);
  }

  /** Throws CredentialRefused when trying again cannot help. */
  private failed(error: unknown, attempt: number): Ending {
    if (error instanceof ConfigError) throw error;
    const { condition, log, wallClock = Date.now } = this.edges;
    this.patience.failed(error);
    const ending = endingOf(error, this.credential);
    const message = this.printable(clockSentence(error, wallClock()) ?? sentence(error));
    condition.ended(error instanceof RevdialError ? error.code : "REGISTRATION_FAILED", message);
    const advice = adviceOf(ending, this.config, this.credential, { error, nowMs: wallClock() });
    if (this.nextTry(ending, attempt) === "give-up")
      throw new CredentialRefused(`${message}\n${advice}`, { cause: error });
    // Once for each key that waits: an admin may take days.
    const said = ending.kind === "pending" && this.pending === message;
    this.pending = ending.kind === "pending" ? message : undefined;
    log[said ? "debug" : "warn"]({ err: message, kind: ending.kind, advice }, "not connected");
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
    log[ending.kind === "pending" ? "debug" : "info"]({ wait_ms: Math.round(waitMs) }, "next try");
    condition.waits(waitMs);
    await pause(waitMs, clock, signal);
  }

  private nextTry(ending: Ending, attempt: number): number | "give-up" {
    const backoff = {
      baseMs: BACKOFF_BASE_MS,
      capMs: this.config.reconnectMaxMs,
      random: this.edges.random,
    };
    const awayMs = this.goneAt === undefined ? undefined : this.edges.clock.now() - this.goneAt;
    return nextTry(ending, { attempt, everReady: this.everReady, awayMs }, backoff);
  }

  private step(event: LifeEvent): void {
    const next = lifeTransitions[this.state][event];
    if (next === undefined || next === this.state) return;
    this.edges.log.debug({ from: this.state, to: next, event }, "life");
    this.state = next;
    this.edges.condition.step(next);
  }
}

function handlerOf(
  config: AgentConfig,
  { log, metrics, clock, tracing = noTracing }: AgentEdges,
  line: Pick<WolfLine, "ask">,
): RequestHandler {
  const watched = { tracing, metrics, now: () => clock.now() };
  const handler = createForwarder({
    wolf: watchedAsk(line.ask, watched),
    screen: config.screen,
    log,
    metrics,
    policy: config.policy,
    sessionId: config.sessionId,
    createsMax: Math.max(1, availableParallelism() - 1),
  });
  return watchedHandler(handler, watched);
}
