/** One connection through the proxy: two sockets, a lane each way, and what happens when either ends. */
import { connect, type Socket } from "node:net";
import { Lane, type LaneEnd } from "./lane.ts";
import type { Profile } from "./profiles.ts";

/** Milliseconds, and a call after some of them. */
export interface ChaosClock {
  now(): number;
  /** Its result cancels. */
  setTimer(ms: number, run: () => void): () => void;
}

export interface Address {
  host: string;
  port: number;
}

export interface LinkEdges {
  clock: ChaosClock;
  dice: () => number;
  /** We broke it. */
  onCut: () => void;
  onForgotten: () => void;
  onClosed: (link: ChaosLink) => void;
}

/** Bytes on their way in one direction; above it the sender waits. Holds what 100 Mbit/s have under way in 80 ms. */
export const HELD_BYTES_MAX = 1024 * 1024;

interface Way {
  from: Socket;
  to: Socket;
  lane: Lane;
  cancel: () => void;
}

export class ChaosLink {
  private readonly edges: LinkEdges;
  private readonly ways: readonly [up: Way, down: Way];
  private profile: Profile;
  private heardAt: number;
  private cancelIdle: () => void = () => undefined;
  /** A middle box knows it no more: what comes is thrown away, and each side learns by itself. */
  private forgotten = false;
  private over = false;
  private open = 2;

  constructor(near: Socket, to: Address, profile: Profile, edges: LinkEdges) {
    const { clock, dice } = edges;
    this.edges = edges;
    this.profile = profile;
    this.heardAt = clock.now();
    const far = connect({ ...to, allowHalfOpen: true, noDelay: true });
    const way = (from: Socket, onto: Socket, lane: Lane): Way => ({
      from,
      to: onto,
      lane,
      cancel: () => undefined,
    });
    this.ways = [
      way(near, far, new Lane(profile.up, dice, clock.now())),
      way(far, near, new Lane(profile.down, dice, clock.now())),
    ];
    for (const one of this.ways) this.listenTo(one);
    this.watchIdle();
    for (const one of this.ways) this.move(one);
  }

  get heldBytes(): number {
    return this.ways.reduce((sum, { lane, to }) => sum + lane.heldBytes + to.writableLength, 0);
  }

  change(profile: Profile): void {
    const now = this.edges.clock.now();
    this.profile = profile;
    this.ways[0].lane.change(profile.up, now);
    this.ways[1].lane.change(profile.down, now);
    this.watchIdle();
    for (const way of this.ways) this.move(way);
  }

  stall(stalled: boolean): void {
    for (const way of this.ways) {
      way.lane.stall(stalled);
      this.move(way);
    }
  }

  /** Broken, for both sides at once. */
  cut(): void {
    if (!this.over) this.edges.onCut();
    this.finish("reset");
  }

  private listenTo(way: Way): void {
    const { from, to, lane } = way;
    const { clock } = this.edges;
    from.on("data", (bytes: Buffer) => {
      if (this.forgotten) return;
      this.heardAt = clock.now();
      lane.take(bytes, clock.now());
      if (lane.heldBytes >= HELD_BYTES_MAX) from.pause();
      this.move(way);
    });
    from.on("end", () => this.ends(way, "end"));
    from.on("error", () => this.ends(way, "reset"));
    from.on("close", () => this.closed(way));
    to.on("drain", () => this.move(way));
  }

  private ends(way: Way, how: "end" | "reset"): void {
    // Nobody tells the other side: it has to find out.
    if (this.forgotten) return void way.from.destroy();
    way.lane.finish(how, this.edges.clock.now());
    this.move(way);
  }

  private closed(way: Way): void {
    this.open -= 1;
    const peerWay = this.ways.find((other) => other !== way);
    // A side that is gone takes nothing any more; what it has sent still goes its way.
    peerWay?.cancel();
    if (this.open > 0) return;
    this.over = true;
    for (const one of this.ways) one.cancel();
    this.cancelIdle();
    this.edges.onClosed(this);
  }

  /** Gives on what is due, as fast as it is taken, and plans the next. */
  private move(way: Way): void {
    const { from, to, lane } = way;
    way.cancel();
    if (this.over || this.forgotten) return;
    // Nobody is there to take it: what comes is thrown away, so that its sender's end is seen.
    if (to.destroyed) return void (from.destroyed || from.resume());
    if (to.writableNeedDrain) return;
    const { bytes, end } = lane.due(this.edges.clock.now());
    for (const some of bytes) to.write(some);
    if (end !== undefined) return this.deliver(way, end);
    if (lane.heldBytes < HELD_BYTES_MAX && from.isPaused()) from.resume();
    const at = lane.nextAt;
    if (at === undefined || to.writableNeedDrain) return;
    const waitMs = Math.max(0, Math.ceil(at - this.edges.clock.now()));
    way.cancel = this.edges.clock.setTimer(waitMs, () => this.move(way));
  }

  private deliver({ from, to }: Way, end: LaneEnd): void {
    if (end === "end") return void to.end();
    // The sender has gone already: it was no cut of ours.
    if (!from.destroyed) this.edges.onCut();
    this.finish(end);
  }

  private finish(how: "close" | "reset"): void {
    this.over = true;
    for (const { from, cancel } of this.ways) {
      cancel();
      if (how === "close") from.destroySoon();
      else if (from.connecting) from.destroy();
      else from.resetAndDestroy();
    }
  }

  private watchIdle(): void {
    this.cancelIdle();
    const { forgottenAfterMs } = this.profile;
    if (forgottenAfterMs === undefined || this.forgotten || this.over) return;
    const leftMs = this.heardAt + forgottenAfterMs - this.edges.clock.now();
    if (leftMs > 0) {
      this.cancelIdle = this.edges.clock.setTimer(Math.ceil(leftMs), () => this.watchIdle());
      return;
    }
    this.forgotten = true;
    this.edges.onForgotten();
    for (const { cancel, from } of this.ways) {
      cancel();
      from.resume();
    }
  }
}
