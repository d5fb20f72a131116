/**
 * How many channels the peer may open (SPEC §6.7): at first all there are, then one for each slot that is free again. It knows
 * what it has, so an OPEN without a grant is no accident of timing; and a peer that opens and cancels as fast as it can is
 * only as fast as we give slots back: when their handlers have stopped, and at the pace that our limits allow.
 */
import { RevdialError } from "./errors.ts";
import type { TunnelLimits } from "./limits.ts";

type GrantLimits = Pick<TunnelLimits, "channelsMax" | "opensPerSecondMax" | "resetsPerWindowMax">;

const CANCEL_SPAN_MS = 10_000;
/** Of `channelsMax`: so many free slots are worth a frame, however many the peer has left. */
const BATCH_SHARE = 1 / 16;

/** So many in each span of time. */
class Pace {
  private readonly max: number;
  private readonly spanMs: number;
  /** When the span is over and the next begins. */
  endsAt = Number.NEGATIVE_INFINITY;
  private used = 0;

  constructor(max: number, spanMs: number) {
    this.max = max;
    this.spanMs = spanMs;
  }

  room(now: number): number {
    if (now >= this.endsAt) {
      this.endsAt = now + this.spanMs;
      this.used = 0;
    }
    return this.max - this.used;
  }

  use(count: number): void {
    this.used += count;
  }
}

export class Grants {
  /** When `due` may have more to grant though no slot becomes free until then. */
  wakeAt = Number.POSITIVE_INFINITY;
  /** Channels the peer may still open. */
  private left: number;
  /** Free and not granted again; and those of them that a cancel has made free. */
  private free = 0;
  private cancelled = 0;
  /** Cancelled channels whose slots are still in use. Which slot is whose does not matter: their number is bounded. */
  private cancelling = 0;
  private readonly batch: number;
  private readonly opens: Pace;
  private readonly cancels: Pace;

  constructor({ channelsMax, opensPerSecondMax, resetsPerWindowMax }: GrantLimits) {
    this.left = channelsMax;
    this.batch = Math.max(1, Math.floor(channelsMax * BATCH_SHARE));
    this.opens = new Pace(opensPerSecondMax, 1000);
    this.cancels = new Pace(resetsPerWindowMax, CANCEL_SPAN_MS);
  }

  /** The peer opens one. Error: OPEN_FLOOD. */
  opened(): void {
    if (this.left === 0) throw new RevdialError("OPEN_FLOOD", "more channels than were granted");
    this.left -= 1;
  }

  /** The peer did not wait for the answer. */
  peerCancelled(): void {
    this.cancelling += 1;
  }

  slotFree(): void {
    if (this.cancelling === 0) {
      this.free += 1;
      return;
    }
    this.cancelling -= 1;
    this.cancelled += 1;
  }

  /** Channels to grant now: 0 while they are too few to be worth a frame, or too many for their pace. */
  due(now: number): number {
    const free = this.free + this.cancelled;
    if (free === 0) return 0;
    this.wakeAt = Number.POSITIVE_INFINITY;
    if (free < this.batch && free < this.left) return 0;
    const room = this.opens.room(now);
    const ofCancelled = Math.min(this.cancelled, room, this.cancels.room(now));
    const count = ofCancelled + Math.min(this.free, room - ofCancelled);
    this.opens.use(count);
    this.cancels.use(ofCancelled);
    this.cancelled -= ofCancelled;
    this.free -= count - ofCancelled;
    this.left += count;
    const waits = this.free + this.cancelled > 0;
    if (waits) this.wakeAt = count === room ? this.opens.endsAt : this.cancels.endsAt;
    return count;
  }
}
