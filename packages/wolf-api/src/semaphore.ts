/** A bounded number of places with a bounded queue before them. */

export class Semaphore {
  private free: number;
  private readonly waitingMax: number;
  private readonly waiting: (() => void)[] = [];

  constructor(places: number, waitingMax: number) {
    this.free = places;
    this.waitingMax = waitingMax;
  }

  /** Resolves to the way to give the place back; to undefined when the queue is full, the wait too long or the caller gave up. */
  take(
    signal: AbortSignal,
    waitingMax = this.waitingMax,
    waitMs?: number,
  ): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.free > 0) {
      this.free -= 1;
      return Promise.resolve(this.release());
    }
    if (this.waiting.length >= waitingMax) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const next = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
        resolve(this.release());
      };
      const leave = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
        this.waiting.splice(this.waiting.indexOf(next), 1);
        resolve(undefined);
      };
      const timer = waitMs === undefined ? undefined : setTimeout(leave, waitMs);
      signal.addEventListener("abort", leave, { once: true });
      this.waiting.push(next);
    });
  }

  private release(): () => void {
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.waiting.shift();
      if (next) next();
      else this.free += 1;
    };
  }
}
