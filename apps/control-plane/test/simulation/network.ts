/**
 * Paths between hosts and replicas, and the tunnels on them. A path delays, and can be cut in either direction: bytes wait then, as
 * TCP's do, until it heals or one end gives the other up.
 */
import { WolfApiError } from "@wolfpack/wolf-api";
import type { Tunnel, TunnelEnd } from "revdial";
import type { Dice } from "./dice.ts";
import type { Process } from "./process.ts";
import type { Planned } from "./timeline.ts";
import type { WolfReply, WolfRequest } from "./wolf.ts";
import type { World } from "./world.ts";

/** As revdial's default: a peer that answers no ping for so long is dead. */
const DEAD_AFTER_MS = 14_500;

export type Direction = "up" | "down";

/** The path of one host; `up` leads from its agent to the control plane. */
export class Path {
  readonly tunnels = new Set<SimTunnel>();
  delayMs: readonly [min: number, max: number];
  /** Requests arrive and pings are answered, and nothing else comes up: a proxy that buffers, an agent that hangs. */
  muted = false;
  private readonly open: Record<Direction, boolean> = { up: true, down: true };
  private readonly dice: Dice;

  constructor(dice: Dice, delayMs: readonly [min: number, max: number]) {
    this.dice = dice;
    this.delayMs = delayMs;
  }

  get whole(): boolean {
    return this.open.up && this.open.down && !this.muted;
  }

  isOpen(direction: Direction): boolean {
    return this.open[direction];
  }

  set(change: Partial<Record<Direction, boolean>>): void {
    Object.assign(this.open, change);
    for (const tunnel of [...this.tunnels]) tunnel.review();
  }

  oneWayMs(): number {
    return this.dice.between(...this.delayMs);
  }
}

/** One direction of one tunnel: in order, late, or waiting. */
class Pipe {
  private readonly world: World;
  private readonly path: Path;
  private readonly direction: Direction;
  private waiting: (() => void)[] = [];
  private lastAtMs = 0;

  constructor(world: World, path: Path, direction: Direction) {
    this.world = world;
    this.path = path;
    this.direction = direction;
  }

  send(arrive: () => void): void {
    if (!this.path.isOpen(this.direction)) return void this.waiting.push(arrive);
    this.lastAtMs = Math.max(this.lastAtMs, this.world.nowMs + this.path.oneWayMs());
    this.world.timeline.after(this.lastAtMs - this.world.nowMs, () => {
      // Cut meanwhile: it is on its way again once the path has healed.
      if (this.path.isOpen(this.direction)) arrive();
      else this.waiting.push(arrive);
    });
  }

  flush(): void {
    for (const arrive of this.waiting.splice(0)) this.send(arrive);
  }
}

/** The agent's end, as the tunnel calls it. */
export interface AgentSide {
  process: Process;
  incarnation: bigint;
  ask(request: WolfRequest, reply: (reply: WolfReply) => void): void;
  /** No new requests come on this one. */
  goingAway(tunnel: SimTunnel, end: TunnelEnd): void;
  ended(tunnel: SimTunnel, end: TunnelEnd): void;
}

interface Call {
  settle(reply: WolfReply): void;
  deadline: { cancel(): void };
}

type Notice = (type: string, payload: Uint8Array) => void;

const never = (): never => {
  throw new Error("not part of the simulation");
};

/** Both ends of one tunnel. The replica's is revdial's interface, as far as the gateway uses it. */
export class SimTunnel implements Tunnel {
  readonly transport = "simulated";
  readonly ready = Promise.resolve();
  readonly reached: Promise<void>;
  readonly closed: Promise<TunnelEnd>;
  readonly goingAway: Promise<TunnelEnd>;
  readonly rttMs: number;
  readonly path: Path;
  readonly replica: Process;
  readonly agent: AgentSide;
  /** Of the moment at which it dialled: it has another one after a crash. */
  private readonly agentProcess: Process;
  private readonly up: Pipe;
  private readonly down: Pipe;
  private readonly ends = Promise.withResolvers<TunnelEnd>();
  private readonly reaches = Promise.withResolvers<void>();
  private readonly goes = Promise.withResolvers<TunnelEnd>();
  private readonly calls = new Set<Call>();
  private readonly listeners = new Set<Notice>();
  private isDraining = false;
  private isTaken = false;
  private isOver: Record<"replica" | "agent", boolean> = { replica: false, agent: false };
  private silence: Partial<Record<"replica" | "agent", { cancel(): void }>> = {};
  private drained: Planned | undefined;

  constructor(world: World, path: Path, replica: Process, agent: AgentSide) {
    this.path = path;
    this.replica = replica;
    this.agent = agent;
    this.agentProcess = agent.process;
    this.up = new Pipe(world, path, "up");
    this.down = new Pipe(world, path, "down");
    this.reached = this.reaches.promise;
    this.reached.catch(() => undefined);
    this.closed = this.ends.promise;
    this.goingAway = this.goes.promise;
    this.rttMs = 2 * path.oneWayMs();
    path.tunnels.add(this);
    this.review();
  }

  /** The answer to the agent that dialled; it has come too late for one that has given up. */
  offer(take: () => void): void {
    this.down.send(() =>
      this.agentProcess.enter(() => {
        if (this.isOver.agent) return;
        this.isTaken = true;
        take();
        this.review();
        // The answer to the first ping.
        this.up.send(() => this.replica.enter(() => this.reaches.resolve()));
      }),
    );
  }

  get peer() {
    return { agent: "simulated-agent", incarnation: this.agent.incarnation } as Tunnel["peer"];
  }
  get draining(): boolean {
    return this.isDraining;
  }
  get load(): number {
    return this.calls.size;
  }
  /** The agent knows that it has it. */
  get taken(): boolean {
    return this.isTaken;
  }
  /** It carries requests both ways, as far as anybody could know who sees all. */
  get works(): boolean {
    return (
      this.isTaken &&
      !this.isOver.replica &&
      !this.isOver.agent &&
      this.path.whole &&
      this.replica.serves &&
      this.agentProcess.serves
    );
  }
  get metrics(): Tunnel["metrics"] {
    return never();
  }

  request = never;
  connect = never;
  dispatcher = never;
  serve(): void {}
  notify(): boolean {
    return !this.isOver.replica;
  }

  onNotice(listener: Notice): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** A notice of the agent; false when it was dropped. */
  tell(type: string, payload: unknown): boolean {
    if (this.isOver.agent) return false;
    if (this.path.muted) return true;
    const bytes = new TextEncoder().encode(JSON.stringify(payload));
    this.up.send(() =>
      this.replica.enter(() => {
        if (!this.isOver.replica) for (const listener of [...this.listeners]) listener(type, bytes);
      }),
    );
    return true;
  }

  /** A request of the replica to the host's Wolf, through its agent. */
  call(request: WolfRequest, deadlineMs: number): Promise<WolfReply & { ok: true }> {
    const { promise, resolve, reject } = Promise.withResolvers<WolfReply & { ok: true }>();
    if (this.isDraining || this.isOver.replica) {
      reject(new WolfApiError("WOLF_UNREACHABLE", "the tunnel takes no requests", { mayHaveRun: false }));
      return promise;
    }
    const call: Call = {
      settle: (reply) => {
        if (!this.calls.delete(call)) return;
        call.deadline.cancel();
        if (reply.ok) resolve(reply);
        else
          reject(
            new WolfApiError(reply.code, reply.words, {
              mayHaveRun: reply.mayHaveRun,
              ...(reply.code === "WOLF_REFUSED" ? { status: 500, wolfMessage: reply.words } : {}),
            }),
          );
        if (this.isDraining && this.calls.size === 0) this.finish();
      },
      deadline: this.replica.after(deadlineMs, () =>
        call.settle({
          ok: false,
          code: "WOLF_TIMEOUT",
          mayHaveRun: true,
          words: `no answer within ${deadlineMs} ms`,
        }),
      ),
    };
    this.calls.add(call);
    this.down.send(() =>
      this.agentProcess.enter(() => {
        if (this.isOver.agent) return;
        this.agent.ask(request, (reply) => {
          if (this.isOver.agent || this.path.muted) return;
          this.up.send(() => this.replica.enter(() => call.settle(reply)));
        });
      }),
    );
    return promise;
  }

  close(options: Parameters<Tunnel["close"]>[0] = {}): Promise<TunnelEnd> {
    const { code = "DRAINING", reason = "", retryAfterMs, drainMs = 30_000 } = options;
    if (this.isDraining || this.isOver.replica) return this.closed;
    this.isDraining = true;
    const end: TunnelEnd = { code, reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
    this.goes.resolve(end);
    this.last = end;
    this.down.send(() =>
      this.agentProcess.enter(() => {
        if (!this.isOver.agent) this.agent.goingAway(this, end);
      }),
    );
    if (this.calls.size === 0 || drainMs === 0) this.finish();
    else this.drained = this.replica.after(drainMs, () => this.finish());
    return this.closed;
  }
  private last: TunnelEnd = { code: "DRAINING", reason: "" };

  destroy(reason?: Error): void {
    this.endReplica({ code: "DESTROYED", reason: reason?.message ?? "" });
  }

  private finish(): void {
    this.drained?.cancel();
    this.endReplica(this.last);
  }

  /** The agent ends it, or its process has died and the host's system says so. */
  leave(reason: string): void {
    this.endAgent({ code: "CLOSED", reason });
  }

  /** One end's process died: the other is told by its system, or by nobody (the host has lost its power). */
  died(side: "replica" | "agent", told: boolean): void {
    const lost: TunnelEnd = { code: "TRANSPORT_LOST", reason: "the connection was reset" };
    this.isOver[side] = true;
    if (!told) return this.review();
    if (side === "replica") this.down.send(() => this.agentProcess.enter(() => this.endAgent(lost)));
    else this.up.send(() => this.replica.enter(() => this.endReplica(lost)));
  }

  /** The path or one of the processes has changed: whoever hears nothing any more waits for the other's death. */
  review(): void {
    const { path } = this;
    if (path.isOpen("up")) this.up.flush();
    if (path.isOpen("down")) this.down.flush();
    const process = this.agentProcess;
    this.listen(
      "replica",
      path.isOpen("up") && process.serves && this.isTaken && !this.isOver.agent,
      this.replica,
      () => this.endReplica({ code: "DEAD_PEER", reason: "the peer answers no pings" }),
    );
    this.listen("agent", path.isOpen("down") && this.replica.serves && !this.isOver.replica, process, () =>
      this.endAgent({ code: "DEAD_PEER", reason: "the peer answers no pings" }),
    );
  }

  private listen(side: "replica" | "agent", hears: boolean, process: Process, dead: () => void): void {
    if (hears || this.isOver[side]) {
      this.silence[side]?.cancel();
      delete this.silence[side];
    } else this.silence[side] ??= process.after(DEAD_AFTER_MS, dead);
  }

  private endReplica(end: TunnelEnd): void {
    if (this.isOver.replica) return;
    this.isOver.replica = true;
    this.isDraining = true;
    for (const call of [...this.calls])
      call.settle({ ok: false, code: "WOLF_UNREACHABLE", mayHaveRun: true, words: "the tunnel has ended" });
    this.reaches.reject(new Error(end.reason));
    this.goes.resolve(end);
    this.ends.resolve(end);
    this.forget();
    this.down.send(() => this.agentProcess.enter(() => this.endAgent(end)));
  }

  private endAgent(end: TunnelEnd): void {
    if (this.isOver.agent) return;
    this.isOver.agent = true;
    this.agent.ended(this, end);
    this.forget();
    this.up.send(() => this.replica.enter(() => this.endReplica({ ...end, code: "TRANSPORT_LOST" })));
  }

  private forget(): void {
    for (const side of ["replica", "agent"] as const)
      if (this.isOver[side]) {
        this.silence[side]?.cancel();
        delete this.silence[side];
      }
    if (this.isOver.replica && this.isOver.agent) this.path.tunnels.delete(this);
    else this.review();
  }
}
