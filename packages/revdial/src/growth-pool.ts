/**
 * What the windows of many tunnels may grow by together: each tunnel has a budget of its own, and a process that has thousands of
 * them needs one for all. First windows are not of it, so that no channel is refused because others have grown.
 */
import { COUNT_MAX } from "./bounds.ts";
import { RevdialError } from "./errors.ts";

export class GrowthPool {
  /** From 0, then no window of these tunnels grows, to 2^53 - 1. */
  readonly bytesMax: number;
  private bytes = 0;

  /** Error: ARGUMENT. */
  constructor(bytesMax: number) {
    if (!Number.isSafeInteger(bytesMax) || bytesMax < 0)
      throw new RevdialError("ARGUMENT", `bytesMax is no whole number from 0 to ${COUNT_MAX}`);
    this.bytesMax = bytesMax;
  }

  /** By which windows are larger than at first, and what nobody has read of those that are over. */
  get usedBytes(): number {
    return this.bytes;
  }

  /** @internal Of one window; negative as it shrinks. */
  use(bytes: number): void {
    this.bytes += bytes;
  }

  /** @internal Left by all but one who uses `ownBytes`. */
  leftByOthers(ownBytes: number): number {
    return this.bytesMax - (this.bytes - ownBytes);
  }
}

/** Of all tunnels of this process that are given no other. */
const GROWTH_BYTES_MAX = 256 * 1024 * 1024;
export const growthOfTheProcess = new GrowthPool(GROWTH_BYTES_MAX);
