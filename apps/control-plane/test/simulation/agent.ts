/** A simulated agent: dials a replica, comes back with backoff, speaks in notices, and carries requests to its Wolf. */
import { type AgentRelist, agentNoticeTypes, type GpuType } from "@wolfpack/api-contract";
import { classLimits } from "@wolfpack/wolf-api";
import type { TunnelEnd } from "revdial";
import type { Dice } from "./dice.ts";
import { hostFacts, hostUsage } from "./host.ts";
import type { AgentSide, Path, SimTunnel } from "./network.ts";
import { Process } from "./process.ts";
import type { SimWolf, WolfReply, WolfRequest } from "./wolf.ts";
import type { World } from "./world.ts";

/** As the agent's own (apps/wolf-revdial-client). */
const BACKOFF = { baseMs: 500, capMs: 30_000 };
const LASTED_MS = 30_000;
const HOUR_MS = 3_600_000;
const CONNECT_MS = 10_000;
const RECENT_RESTART_MS = 60_000;

/** Answers that the way to the control plane may give. */
export type Dialled = { outcome: "open"; tunnel: SimTunnel } | { outcome: "refused"; retryAfterMs?: number };

export interface AgentOptions {
  world: World;
  dice: Dice;
  wolf: SimWolf;
  path: Path;
  maxSandboxes: number;
  gpuType: GpuType;
  region: string | undefined;
  labels: Record<string, string>;
  encoderSessionsMax: number | undefined;
  vramMb: number;
  /** Video memory that others use there. */
  otherMb: number;
  heartbeatMs: number;
  /** Shares of events that are told twice, and after the next one. */
  twice: number;
  swapped: number;
  /** Shares of requests within whose time its Wolf dies, and it itself. */
  crashAtRequest: number;
  /** Tries to open a tunnel; never calls back when nothing comes back. */
  dial(agent: AgentSide, done: (dialled: Dialled) => void): void;
}

export class SimAgent implements AgentSide {
  process: Process;
  incarnation: bigint;
  maxSandboxes: number;
  private readonly options: AgentOptions;
  private tunnel: SimTunnel | undefined;
  private attempt = 0;
  private seq = 0;
  private lost: AgentRelist["reason"] | undefined;
  private held: Record<string, unknown> | undefined;
  private dialling = 0;
  private upSinceMs = 0;

  constructor(options: AgentOptions) {
    this.options = options;
    this.maxSandboxes = options.maxSandboxes;
    this.process = this.boot();
    this.incarnation = BigInt(options.dice.int(1, 2 ** 31));
    options.wolf.onEvent = (event, data) => this.process.enter(() => this.relay(event, data));
    this.begin();
  }

  get id(): string {
    return this.options.wolf.id;
  }

  /** Its tunnel, if it has one that it takes for alive. */
  get live(): SimTunnel | undefined {
    return this.tunnel;
  }

  /** The program ends and is started again; `told`: its host's system closes the connection. */
  crash(told: boolean, forMs: number): void {
    if (!this.process.alive) return;
    this.options.world.note(`${this.id} agent ${told ? "crashes" : "vanishes"}`);
    this.options.world.count("agent crashes");
    const tunnels = [...this.options.path.tunnels].filter(({ agent }) => agent === this);
    this.process.kill();
    for (const tunnel of tunnels) tunnel.died("agent", told);
    this.tunnel = undefined;
    this.options.world.timeline.after(forMs, () => {
      this.process = this.boot();
      this.incarnation = BigInt(this.options.dice.int(1, 2 ** 31));
      this.seq = 0;
      this.lost = undefined;
      this.held = undefined;
      this.attempt = 0;
      this.begin();
    });
  }

  pause(forMs: number): void {
    if (!this.process.serves) return;
    const { process } = this;
    process.pause();
    this.reviewAll();
    this.options.world.timeline.after(forMs, () => {
      process.resume();
      this.reviewAll();
    });
  }

  /** Says anew what the host can take. */
  resize(maxSandboxes: number): void {
    this.maxSandboxes = maxSandboxes;
    this.process.enter(() => this.sayInventory());
  }

  ask(request: WolfRequest, reply: (reply: WolfReply) => void): void {
    const { wolf } = this.options;
    const { process } = this;
    let over = false;
    const answer = (what: WolfReply) => {
      if (over) return;
      over = true;
      limit.cancel();
      reply(what);
    };
    const { timeoutMs } =
      classLimits[{ list: "read", create: "create", stop: "change" }[request.kind] as "read"];
    const limit = process.after(timeoutMs, () =>
      answer({
        ok: false,
        code: "WOLF_TIMEOUT",
        mayHaveRun: true,
        words: "Wolf did not answer its agent in time",
      }),
    );
    wolf.ask(request, (what) => process.enter(() => answer(what)));
    this.tempt();
  }

  /** A request is the moment at which most depends on who lives on. */
  private tempt(): void {
    const { crashAtRequest, dice, wolf, world } = this.options;
    const withinMs = wolf.temper.createMs[1] * 1.5;
    if (dice.chance(crashAtRequest)) world.timeline.after(dice.between(0, withinMs), () => wolf.crash());
    if (dice.chance(crashAtRequest))
      world.timeline.after(dice.between(0, withinMs), () =>
        this.crash(dice.chance(0.7), dice.between(500, 30_000)),
      );
  }

  /** Nothing goes wrong by itself any more. */
  calm(): void {
    this.options.crashAtRequest = 0;
  }

  goingAway(tunnel: SimTunnel, end: TunnelEnd): void {
    if (this.tunnel !== tunnel) return;
    this.tunnel = undefined;
    this.again(end);
  }

  ended(tunnel: SimTunnel, end: TunnelEnd): void {
    if (this.tunnel !== tunnel) return;
    this.tunnel = undefined;
    this.again(end);
  }

  /** Nobody keeps a host's clock right. */
  private boot(): Process {
    const { dice, world } = this.options;
    return new Process(world, dice.pick([0, 0, dice.between(-HOUR_MS, HOUR_MS)]));
  }

  private reviewAll(): void {
    for (const tunnel of [...this.options.path.tunnels]) tunnel.review();
  }

  private begin(): void {
    this.process.after(this.options.dice.between(0, 2000), () => this.connect());
    const beat = () => {
      this.sayHeartbeat();
      this.process.after(this.options.heartbeatMs, beat);
    };
    this.process.after(this.options.dice.between(0, this.options.heartbeatMs), beat);
  }

  private connect(): void {
    if (this.tunnel !== undefined) return;
    this.dialling += 1;
    const { dialling, process } = this;
    const isOver = () => this.dialling !== dialling || this.process !== process;
    const limit = process.after(CONNECT_MS, () => {
      if (isOver()) return;
      this.dialling += 1;
      this.again();
    });
    this.options.dial(this, (dialled) =>
      process.enter(() => {
        if (isOver()) return dialled.outcome === "open" ? dialled.tunnel.leave("too late") : undefined;
        limit.cancel();
        if (dialled.outcome === "refused") return this.again(dialled);
        this.tunnel = dialled.tunnel;
        this.upSinceMs = this.options.world.nowMs;
        this.sayInventory();
        this.sayHeartbeat();
        this.say(agentNoticeTypes.capabilities, { schema_hash: "0".repeat(64), features: [], missing: [] });
        this.sayLost();
      }),
    );
  }

  private again({ code, retryAfterMs = 0 }: { code?: string; retryAfterMs?: number } = {}): void {
    const { dice, world } = this.options;
    if (world.nowMs - this.upSinceMs >= LASTED_MS) this.attempt = 0;
    // Whoever is told when to come back does not count how often it has failed.
    const attempt = retryAfterMs > 0 ? 0 : this.attempt;
    const jitterMs = dice.random() * Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** attempt);
    // Another agent of this wolf has taken over, or so the control plane believes.
    const waitMs = code === "REPLACED" ? BACKOFF.capMs / 2 : retryAfterMs;
    this.attempt = Math.min(this.attempt + 1, 30);
    this.process.after(waitMs + jitterMs, () => this.connect());
  }

  private say(type: string, payload: unknown): boolean {
    return this.tunnel?.tell(type, payload) ?? false;
  }

  private sayInventory(): void {
    const { gpuType, labels, region, encoderSessionsMax, vramMb } = this.options;
    this.say(agentNoticeTypes.inventory, {
      gpu_type: gpuType,
      max_sandboxes: this.maxSandboxes,
      labels,
      ...(region === undefined ? {} : { region }),
      agent_version: "0.0.0",
      ...(encoderSessionsMax === undefined ? {} : { encoder_sessions_max: encoderSessionsMax }),
      host: hostFacts(gpuType, vramMb),
    });
  }

  private sayHeartbeat(): void {
    const { wolf, world } = this.options;
    const recent = world.nowMs - wolf.restartedAtMs < RECENT_RESTART_MS;
    this.say(agentNoticeTypes.heartbeat, {
      wolf: wolf.answers,
      // Somebody's own programs, and what each lobby takes whether it asked for it or not.
      usage: hostUsage(
        this.options.gpuType,
        this.options.otherMb + 300 * wolf.lobbies.size,
        wolf.lobbies.size,
      ),
      restarts: { count: wolf.restarts, recent },
    });
  }

  private relay(event: string, data: Record<string, unknown>): void {
    this.seq += 1;
    const notice = { seq: this.seq, event, data };
    const { dice } = this.options;
    if (this.held === undefined && dice.chance(this.options.swapped)) {
      this.held = notice;
      this.process.after(2000, () => this.tellHeld());
      return;
    }
    this.tell(notice);
    if (dice.chance(this.options.twice)) this.tell(notice);
    this.tellHeld();
  }

  private tellHeld(): void {
    const { held } = this;
    this.held = undefined;
    if (held !== undefined) this.tell(held);
  }

  private tell(notice: Record<string, unknown>): void {
    if (!this.say(agentNoticeTypes.wolfEvent, notice)) this.lost = "events-dropped";
    else this.sayLost();
  }

  private sayLost(): void {
    if (this.lost !== undefined && this.say(agentNoticeTypes.relist, { reason: this.lost }))
      this.lost = undefined;
  }
}
