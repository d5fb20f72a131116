/**
 * One direction of one connection, pure: bytes go in with the time, and come out with the time at which they are due. It never
 * loses, repeats or reorders a byte, holds no more than its user lets in, and asks the dice only by how far the bytes have come,
 * so that a seed gives the same slices and the same losses however the kernel cuts what it reads.
 */
import { seededRandom } from "revdial/testing";
import type { Toxics } from "./toxics.ts";

/** How a direction ends. Close: the connection is over, in order; reset: it breaks. */
export type LaneEnd = "end" | "close" | "reset";

export interface Due {
  bytes: Uint8Array[];
  /** Comes after the bytes. */
  end?: LaneEnd;
}

/** With a rate, a piece takes no longer than this: it flows, and does not come in gulps. */
const PACE_MS = 20;
/** Node's timers count whole milliseconds: half of one early is as good as half of one late. */
const EARLY_MS = 0.5;

interface Held {
  dueAt: number;
  what: Uint8Array | LaneEnd;
}

export class Lane {
  /** Bytes taken and not yet given back. */
  heldBytes = 0;
  private toxics: Toxics;
  private readonly dice: () => number;
  /** Of its own: it is drawn once for each piece that comes, and must not move the others. */
  private readonly jitterDice: () => number;
  private readonly held: Held[] = [];
  /** Up to when the path is busy with what was taken before. */
  private busyUntil = 0;
  private lastDueAt = 0;
  /** Bytes to the end of this slice, to the next loss and to the limit. */
  private sliceLeft: number;
  private lossLeft: number;
  private limitLeft: number;
  /** When the connection is cut, whatever is held: by a timeout or a reset. */
  private cut: { at: number; how: LaneEnd } | undefined;
  private stalled = false;
  private ended = false;

  constructor(toxics: Toxics, dice: () => number, now: number) {
    this.toxics = toxics;
    this.dice = dice;
    this.jitterDice = seededRandom(Math.floor(dice() * 2 ** 32));
    this.sliceLeft = this.nextSlice();
    this.lossLeft = this.nextLoss();
    this.limitLeft = toxics.limitBytes ?? Number.POSITIVE_INFINITY;
    this.arm(now);
  }

  /** From now on. What is held already keeps its time; a timeout that is gone lets it through. */
  change(toxics: Toxics, now: number): void {
    const before = this.toxics;
    this.toxics = toxics;
    if (toxics.sliceBytes !== before.sliceBytes) this.sliceLeft = this.nextSlice();
    if (toxics.resetEveryBytes !== before.resetEveryBytes) this.lossLeft = this.nextLoss();
    if (toxics.limitBytes !== before.limitBytes)
      this.limitLeft = toxics.limitBytes ?? Number.POSITIVE_INFINITY;
    this.arm(now);
  }

  /** Holds everything from now on, or lets it through again, without closing. */
  stall(stalled: boolean): void {
    this.stalled = stalled;
  }

  private arm(now: number): void {
    const { timeoutMs, resetAfterMs } = this.toxics;
    this.cut = undefined;
    if (timeoutMs !== undefined && timeoutMs > 0) this.cut = { at: now + timeoutMs, how: "close" };
    if (resetAfterMs !== undefined && (this.cut === undefined || now + resetAfterMs <= this.cut.at))
      this.cut = { at: now + resetAfterMs, how: "reset" };
  }

  /** Nothing that comes after an end is taken. */
  take(bytes: Uint8Array, now: number): void {
    for (let rest = bytes; rest.length > 0 && !this.ended; ) {
      const { bytesPerSecond } = this.toxics;
      const paced =
        bytesPerSecond === undefined
          ? Number.POSITIVE_INFINITY
          : Math.max(1, Math.floor((bytesPerSecond * PACE_MS) / 1000));
      const size = Math.min(rest.length, paced, this.sliceLeft, this.lossLeft, this.limitLeft);
      if (size > 0) this.hold(rest.subarray(0, size), now);
      rest = rest.subarray(size);
      this.counted(size, now);
    }
  }

  /** The sender has ended this direction, or broken off. */
  finish(how: "end" | "reset", now: number): void {
    if (this.ended) return;
    this.mark(how, Math.max(now, this.lastDueAt) + (how === "end" ? this.toxics.slowCloseMs : 0));
  }

  /** What is due now, in order. */
  due(now: number): Due {
    const cut = this.cut;
    if (cut !== undefined && cut.at <= now + EARLY_MS) {
      this.ended = true;
      this.drop();
      return { bytes: [], end: cut.how };
    }
    const due: Due = { bytes: [] };
    if (this.isStalled) return due;
    let count = 0;
    for (const { dueAt, what } of this.held) {
      if (dueAt > now + EARLY_MS) break;
      count += 1;
      if (typeof what === "string") {
        due.end = what;
        break;
      }
      this.heldBytes -= what.length;
      due.bytes.push(what);
    }
    this.held.splice(0, count);
    return due;
  }

  /** When `due` has something next; undefined: not before something else happens. */
  get nextAt(): number | undefined {
    const next = this.isStalled ? undefined : this.held[0]?.dueAt;
    if (this.cut === undefined) return next;
    return Math.min(next ?? this.cut.at, this.cut.at);
  }

  private get isStalled(): boolean {
    return this.stalled || this.toxics.timeoutMs !== undefined;
  }

  private hold(bytes: Uint8Array, now: number): void {
    const { bytesPerSecond, latencyMs, jitterMs } = this.toxics;
    const sendMs = bytesPerSecond === undefined ? 0 : (bytes.length * 1000) / bytesPerSecond;
    this.busyUntil = Math.max(this.busyUntil, now) + sendMs;
    const jitter = jitterMs === 0 ? 0 : (2 * this.jitterDice() - 1) * jitterMs;
    const dueAt = Math.max(this.lastDueAt, this.busyUntil + Math.max(0, latencyMs + jitter));
    this.lastDueAt = dueAt;
    this.heldBytes += bytes.length;
    this.held.push({ dueAt, what: bytes });
  }

  private counted(size: number, now: number): void {
    this.sliceLeft -= size;
    this.lossLeft -= size;
    this.limitLeft -= size;
    if (this.limitLeft <= 0) return this.mark("close", Math.max(now, this.lastDueAt));
    if (this.lossLeft <= 0) return this.mark("reset", Math.max(now, this.lastDueAt));
    if (this.sliceLeft > 0) return;
    this.busyUntil = Math.max(this.busyUntil, now) + this.toxics.sliceDelayMs;
    this.sliceLeft = this.nextSlice();
  }

  private mark(how: LaneEnd, dueAt: number): void {
    this.ended = true;
    this.held.push({ dueAt, what: how });
  }

  private drop(): void {
    this.held.length = 0;
    this.heldBytes = 0;
    this.cut = undefined;
  }

  private nextSlice(): number {
    const { sliceBytes } = this.toxics;
    if (sliceBytes === 0) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.round(sliceBytes * (0.5 + this.dice())));
  }

  /** Losses have no memory: the distance to the next is exponential. */
  private nextLoss(): number {
    const { resetEveryBytes } = this.toxics;
    if (resetEveryBytes === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.round(-Math.log(1 - this.dice()) * resetEveryBytes));
  }
}
