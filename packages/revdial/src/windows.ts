/**
 * Receive windows (SPEC §7): what a channel may send us, how much a reader's progress gives back, and how far a window
 * grows while its reader keeps up. All windows of a tunnel share one budget: it bounds memory whatever the peer does.
 */
import type { Channel } from "./channel.ts";
import { RevdialError } from "./errors.ts";
import type { TunnelLimits } from "./limits.ts";

type WindowLimits = Pick<TunnelLimits, "windowInitialBytes" | "windowMaxBytes" | "receiveBudgetBytes">;

const PATH_MS_UNKNOWN = 100;
/** Share of a longer round trip that is believed at once: a path that has become longer is followed within some pings. */
const PATH_DRIFT = 0.03;
/** On a path of microseconds the programs at its ends are what takes time. */
const QUICK_MS_MIN = 1;
/** Round trips in which a window that is too small for its path is consumed. */
const QUICK_ROUND_TRIPS = 2;
/**
 * On a short path larger windows only fill the system's socket buffers, in which a small request waits like everybody. Measured on
 * loopback beside four downloads: p99 of 20 ms without this bound, 7 with it, 4 with 64 KiB, where one download loses a third.
 */
const SHORT_PATH_BYTES_MAX = 256 * 1024;
/** From here on a round trip costs more than too large a window. */
const LONG_PATH_MS_MIN = 5;
/** Of the budget: above it windows shrink. */
const PRESSURE_SHARE = 0.75;
const GROWTH_FACTOR = 2;
const GROWTH_FACTOR_ON_LONG_PATH = 4;
/** Of the budget: what channels may be granted before they have shown that they use it, one alone and all together. */
const HEAD_START_SHARE = 1 / 8;
const HEAD_STARTS_SHARE = 1 / 4;

export class Windows {
  /** The shortest round trip of late; until there is one, a window grows as if the path were long. */
  private pathMs: number | undefined;
  private readonly limits: WindowLimits;
  /** What a channel's window has grown to: the path takes as much. */
  private reachedBytes = 0;
  /** What live channels may still send us, and what of theirs nobody has taken yet. */
  private committedBytes = 0;

  constructor(limits: WindowLimits) {
    this.limits = limits;
  }

  /** A round trip was measured. A longer one than before is mostly our own queue, and no reason to send more into it. */
  measured(rttMs: number): void {
    const { pathMs = rttMs } = this;
    this.pathMs = rttMs <= pathMs ? rttMs : pathMs + (rttMs - pathMs) * PATH_DRIFT;
  }

  get budgetUsedBytes(): number {
    return this.committedBytes;
  }

  /** Takes a new channel's initial window out of the budget; false when there is no room for it. */
  admit(channel: Channel): boolean {
    if (this.committedBytes + channel.windowBytes > this.limits.receiveBudgetBytes) return false;
    this.commit(channel, channel.windowBytes);
    return true;
  }

  /**
   * Credit for a new channel on a long path where others have shown what it takes: they paid a round trip for each step, this one
   * does not have to. 0 where there is nothing to gain.
   */
  headStart(channel: Channel): number {
    const { pathMs = 0, limits, reachedBytes } = this;
    if (pathMs < LONG_PATH_MS_MIN || reachedBytes <= channel.windowBytes) return 0;
    const { receiveBudgetBytes } = limits;
    const bytes =
      Math.min(reachedBytes, Math.floor(receiveBudgetBytes * HEAD_START_SHARE)) - channel.windowBytes;
    if (bytes <= 0 || this.committedBytes + bytes > receiveBudgetBytes * HEAD_STARTS_SHARE) return 0;
    channel.windowBytes += bytes;
    channel.receiveCredit += bytes;
    this.commit(channel, channel.windowBytes);
    return bytes;
  }

  /** Bytes of the peer for one channel. Error: WINDOW_EXCEEDED, with nothing changed. */
  received(channel: Channel, bytes: number): void {
    if (bytes > channel.receiveCredit) {
      throw new RevdialError("WINDOW_EXCEEDED", `${bytes} bytes where ${channel.receiveCredit} were granted`);
    }
    channel.receiveCredit -= bytes;
    channel.unreadBytes += bytes;
  }

  /** The reader took `bytes`: the credit to send now, or 0 while less than half a window has been taken. */
  consumed(channel: Channel, bytes: number, remoteEnded: boolean, now: number): number {
    channel.unreadBytes -= bytes;
    if (remoteEnded) {
      this.commit(channel, channel.unreadBytes);
      return 0;
    }
    channel.consumedBytes += bytes;
    channel.grownSinceBytes += bytes;
    if (channel.consumedBytes * 2 < channel.windowBytes) return 0;
    const growth = this.growth(channel, now);
    channel.windowBytes += growth;
    this.commit(channel, channel.windowBytes);
    const credit = channel.consumedBytes + growth;
    channel.consumedBytes = 0;
    channel.receiveCredit += credit;
    return credit;
  }

  /** Nothing more can come: the budget holds only what is still unread. */
  remoteEnded(channel: Channel): void {
    this.commit(channel, channel.unreadBytes);
  }

  /** The channel is closed. */
  release(channel: Channel): void {
    channel.unreadBytes = 0;
    this.commit(channel, 0);
  }

  private commit(channel: Channel, bytes: number): void {
    this.committedBytes += bytes - channel.committedBytes;
    channel.committedBytes = bytes;
  }

  /**
   * Multiplies a window that was consumed whole within two round trips. Growth stops at half of the budget: the other half
   * stays for the initial windows of channels to come. When those have used it up, grown windows give back what they can.
   */
  private growth(channel: Channel, now: number): number {
    const { receiveBudgetBytes, windowInitialBytes, windowMaxBytes } = this.limits;
    if (this.committedBytes > receiveBudgetBytes * PRESSURE_SHARE) {
      this.reachedBytes = 0;
      return -Math.min(channel.consumedBytes, Math.max(0, channel.windowBytes - windowInitialBytes));
    }
    if (channel.grownSinceBytes < channel.windowBytes) return 0;
    const { pathMs = PATH_MS_UNKNOWN } = this;
    const quick = now - channel.grownSinceAt <= Math.max(QUICK_ROUND_TRIPS * pathMs, QUICK_MS_MIN);
    channel.grownSinceBytes = 0;
    channel.grownSinceAt = now;
    if (!quick) return 0;
    const room = Math.floor(receiveBudgetBytes / 2) - this.committedBytes;
    const factor = pathMs < LONG_PATH_MS_MIN ? GROWTH_FACTOR : GROWTH_FACTOR_ON_LONG_PATH;
    const ceiling =
      pathMs < LONG_PATH_MS_MIN ? Math.min(SHORT_PATH_BYTES_MAX, windowMaxBytes) : windowMaxBytes;
    const step = (factor - 1) * channel.windowBytes;
    const growth = Math.max(0, Math.min(step, ceiling - channel.windowBytes, room));
    this.reachedBytes = Math.max(this.reachedBytes, channel.windowBytes + growth);
    return growth;
  }
}
