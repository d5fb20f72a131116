/** How often one peer of a tunnel may ask or say something. */
import type { Clock } from "../clock.ts";

/** Tokens come back `perSecond`, up to `burst`. */
export class TokenBucket {
  private readonly clock: Clock;
  private readonly burst: number;
  private readonly perSecond: number;
  private tokens: number;
  private filledAt: number;

  constructor(clock: Clock, burst: number, perSecond: number) {
    this.clock = clock;
    this.burst = burst;
    this.perSecond = perSecond;
    this.tokens = burst;
    this.filledAt = clock.now().getTime();
  }

  /** False while there is none left. */
  take(): boolean {
    const now = this.clock.now().getTime();
    // The wall clock may step back, which fills nothing.
    const back = (Math.max(0, now - this.filledAt) / 1000) * this.perSecond;
    this.tokens = Math.min(this.burst, this.tokens + back);
    this.filledAt = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
