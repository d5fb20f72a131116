/** The one timer of a tunnel: wakes its core when that has something to do, and no sooner. */
import type { Clock, Timer } from "./clock.ts";

export class Wake {
  private readonly clock: Clock;
  private readonly wake: () => void;
  private timer: Timer | undefined;
  private at = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, wake: () => void) {
    this.clock = clock;
    this.wake = wake;
  }

  /** Only ever earlier: who is woken too soon looks again. */
  noLaterThan(at: number): void {
    if (at < this.at) this.set(at);
  }

  set(at: number): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.at = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.timer = this.clock.setTimer(Math.max(0, at - this.clock.now()), () => {
      this.at = Number.POSITIVE_INFINITY;
      this.wake();
    });
  }

  cancel(): void {
    this.set(Number.POSITIVE_INFINITY);
  }
}
