/**
 * Receive windows (SPEC §7): how much credit a reader's progress gives back, and how far a window grows while its
 * reader keeps up. All growth of a tunnel together stays inside one budget, so that memory is bounded whatever the peer does.
 */
import type { Channel } from "./channel.ts";
import type { TunnelLimits } from "./limits.ts";

export class Windows {
  /** Last measured round trip; until there is one, a window grows as if it were long. */
  rttMs = 100;
  private readonly limits: TunnelLimits;
  /** Bytes by which live windows exceed their initial size. */
  private grownBytes = 0;

  constructor(limits: TunnelLimits) {
    this.limits = limits;
  }

  /** The reader took `bytes`: the credit to send now, or 0 while less than half a window has been taken. */
  consumed(channel: Channel, bytes: number, now: number): number {
    channel.consumedBytes += bytes;
    channel.grownSinceBytes += bytes;
    if (channel.consumedBytes * 2 < channel.windowBytes) return 0;
    const growth = this.growth(channel, now);
    channel.windowBytes += growth;
    this.grownBytes += growth;
    const credit = channel.consumedBytes + growth;
    channel.consumedBytes = 0;
    channel.receiveCredit += credit;
    return credit;
  }

  release(channel: Channel): void {
    this.grownBytes -= channel.windowBytes - this.limits.windowInitialBytes;
  }

  /** Doubles a window that was consumed whole within four round trips, as far as the tunnel's budget reaches. */
  private growth(channel: Channel, now: number): number {
    if (channel.grownSinceBytes < channel.windowBytes) return 0;
    const quick = now - channel.grownSinceAt <= Math.max(4 * this.rttMs, 4);
    channel.grownSinceBytes = 0;
    channel.grownSinceAt = now;
    if (!quick) return 0;
    const budget = this.limits.receiveBudgetBytes - this.grownBytes;
    return Math.max(
      0,
      Math.min(channel.windowBytes, this.limits.windowMaxBytes - channel.windowBytes, budget),
    );
  }
}
