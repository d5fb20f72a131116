/**
 * Receive windows (SPEC §7): what a channel may send us, how much a reader's progress gives back, and how far a window
 * grows while its reader keeps up. All windows of a tunnel share one budget, and the grown ones of all tunnels a pool: these bound
 * memory whatever the peers do.
 */
import { COUNT_MAX } from "./bounds.ts";
import type { Channel } from "./channel.ts";
import { RevdialError } from "./errors.ts";
import { GrowthPool } from "./growth-pool.ts";
import type { TunnelLimits } from "./limits.ts";

type WindowLimits = Pick<
  TunnelLimits,
  "channelsMax" | "windowInitialBytes" | "windowMaxBytes" | "receiveBudgetBytes"
>;

const PATH_MS_UNKNOWN = 100;
/** Share of a longer round trip that is believed at once: a path that has become longer is followed within some pings. */
const PATH_DRIFT = 0.03;
/** On a path of microseconds the programs at its ends are what takes time. */
const QUICK_MS_MIN = 1;
/** Round trips in which a window that is too small for its path is consumed. */
const QUICK_ROUND_TRIPS = 2;
/**
 * Of all grown windows together on a short path: more only fills the system's socket buffers, in which a small request waits like
 * everybody. Measured on loopback: beside four downloads p99 is 20 ms without this bound and 7 with it; a download that is alone
 * has it all and is a sixth faster than with a quarter.
 */
const SHORT_PATH_BYTES_MAX = 1024 * 1024;
/** From here on a round trip costs more than too large a window. */
const LONG_PATH_MS_MIN = 5;
/** Progress that is told at the latest: on a long path, half of a large window is too much to wait for. */
const CREDIT_BYTES_MAX = 512 * 1024;
const GROWTH_FACTOR = 2;
const GROWTH_FACTOR_ON_LONG_PATH = 4;
/** Of the budget, at most: what is kept for the first windows of channels to come. */
const RESERVE_SHARE_MAX = 1 / 2;
/**
 * Of what the growth of others has left: one channel may grow by that. So there is always something left to grow into, whoever holds
 * the rest and stalls; and those that consume meet at equal windows, since each shrinks as another grows (the dynamic threshold of
 * Choudhury and Hahne, 1998). A smaller share would leave more beside stalled channels, and make a lone download on a long path slower.
 */
const GROWTH_SHARE = 3 / 4;

export class Windows {
  /** The shortest round trip of late; until there is one, a window grows as if the path were long. */
  private pathMs: number | undefined;
  private readonly limits: WindowLimits;
  private readonly pool: GrowthPool;
  /** What a channel's window has grown to: the path takes as much. */
  private reachedBytes = 0;
  /** What live channels may still send us, and what nobody has taken yet, of closed ones as well. */
  private committedBytes = 0;
  /** What of that is above the first window of its channel. */
  private grownBytes = 0;
  /** Live channels whose window is larger than at first. */
  private grown = 0;
  /** What growth never takes. */
  private readonly reserveBytes: number;

  /** `pool`: shared with other tunnels. Default: none is. */
  constructor(limits: WindowLimits, pool = new GrowthPool(COUNT_MAX)) {
    const { channelsMax, windowInitialBytes, receiveBudgetBytes } = limits;
    this.limits = limits;
    this.pool = pool;
    this.reserveBytes = Math.min(channelsMax * windowInitialBytes, receiveBudgetBytes * RESERVE_SHARE_MAX);
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

  /** Bytes of the peer for one channel. Error: WINDOW_EXCEEDED, with nothing changed. */
  received(channel: Channel, bytes: number): void {
    if (bytes > channel.receiveCredit) {
      throw new RevdialError("WINDOW_EXCEEDED", `${bytes} bytes where ${channel.receiveCredit} were granted`);
    }
    channel.receiveCredit -= bytes;
    channel.unreadBytes += bytes;
  }

  /** The reader took `bytes`: the credit to send now, or 0 while little of the window has been taken. */
  consumed(channel: Channel, bytes: number, remoteEnded: boolean, now: number): number {
    channel.unreadBytes -= bytes;
    if (remoteEnded) {
      this.commit(channel, channel.unreadBytes);
      return 0;
    }
    channel.grownSinceAt ??= now;
    channel.consumedBytes += bytes;
    channel.grownSinceBytes += bytes;
    if (channel.consumedBytes < Math.min(channel.windowBytes / 2, CREDIT_BYTES_MAX)) return 0;
    const growth = this.growth(channel, now);
    this.resize(channel, channel.windowBytes + growth);
    const credit = channel.consumedBytes + growth;
    channel.consumedBytes = 0;
    channel.receiveCredit += credit;
    return credit;
  }

  /** Nothing more can come, since its direction or the channel is over: the budget holds only what is still unread. */
  remoteEnded(channel: Channel): void {
    this.resize(channel, 0);
    this.commit(channel, channel.unreadBytes);
  }

  private resize(channel: Channel, bytes: number): void {
    const { windowInitialBytes } = this.limits;
    this.grown += Number(bytes > windowInitialBytes) - Number(channel.windowBytes > windowInitialBytes);
    channel.windowBytes = bytes;
    this.commit(channel, bytes);
  }

  private commit(channel: Channel, bytes: number): void {
    const growth = this.grownPart(bytes) - this.grownPart(channel.committedBytes);
    this.grownBytes += growth;
    this.pool.use(growth);
    this.committedBytes += bytes - channel.committedBytes;
    channel.committedBytes = bytes;
  }

  private grownPart(bytes: number): number {
    return Math.max(0, bytes - this.limits.windowInitialBytes);
  }

  /** What all windows may grow by together: nothing once there are more first windows than room was kept for. */
  private get growthBytesMax(): number {
    if (this.committedBytes - this.grownBytes > this.reserveBytes) return 0;
    return this.limits.receiveBudgetBytes - this.reserveBytes;
  }

  /** What a channel's window may grow to, and goes back to when others need it. */
  private ceiling(channel: Channel): number {
    const { windowInitialBytes, windowMaxBytes } = this.limits;
    const ownBytes = this.grownPart(channel.committedBytes);
    const leftBytes = this.growthBytesMax - (this.grownBytes - ownBytes);
    const shareBytes = Math.floor(
      Math.max(0, Math.min(leftBytes, this.pool.leftByOthers(ownBytes))) * GROWTH_SHARE,
    );
    const bytes = Math.min(windowMaxBytes, windowInitialBytes + shareBytes);
    if (this.isLong) return bytes;
    const sharers = this.grown + Number(channel.windowBytes <= windowInitialBytes);
    return Math.min(bytes, Math.max(windowInitialBytes, Math.floor(SHORT_PATH_BYTES_MAX / sharers)));
  }

  private get isLong(): boolean {
    return (this.pathMs ?? PATH_MS_UNKNOWN) >= LONG_PATH_MS_MIN;
  }

  /**
   * From the first window, on a long path, to what others have shown that it takes: they paid a round trip for each step. Not
   * before that window was consumed: what an idle stream has been granted is missing to all others for as long as it lives.
   */
  private leap(channel: Channel): number {
    if (!this.isLong || channel.windowBytes > this.limits.windowInitialBytes) return 0;
    return this.reachedBytes - channel.windowBytes;
  }

  /** Multiplies a window that was consumed whole within two round trips; negative where it is above its ceiling. */
  private growth(channel: Channel, now: number): number {
    const ceiling = this.ceiling(channel);
    if (channel.windowBytes > ceiling) return -Math.min(channel.consumedBytes, channel.windowBytes - ceiling);
    if (channel.grownSinceBytes < channel.windowBytes) return 0;
    const { pathMs = PATH_MS_UNKNOWN } = this;
    const quick = now - (channel.grownSinceAt ?? now) <= Math.max(QUICK_ROUND_TRIPS * pathMs, QUICK_MS_MIN);
    channel.grownSinceBytes = 0;
    channel.grownSinceAt = now;
    if (!quick) return 0;
    const factor = this.isLong ? GROWTH_FACTOR_ON_LONG_PATH : GROWTH_FACTOR;
    const step = (factor - 1) * channel.windowBytes;
    const growth = Math.min(Math.max(step, this.leap(channel)), ceiling - channel.windowBytes);
    this.reachedBytes = Math.max(this.reachedBytes, channel.windowBytes + growth);
    return growth;
  }
}
