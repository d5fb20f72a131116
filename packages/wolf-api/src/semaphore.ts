/** A bounded number of places with a bounded queue before them. */

/** As much of an AbortSignal as is needed to know that a caller has gone: one that is less costs less. */
export interface Leaving {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void, options?: { once: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Gives so many places back; default all that are left. */
export type GiveBack = (count?: number) => void;

export class Semaphore {
  private free: number;
  private readonly waitingMax: number;
  private readonly waiting: { count: number; start: () => void }[] = [];

  constructor(places: number, waitingMax: number) {
    this.free = places;
    this.waitingMax = waitingMax;
  }

  /**
   * Takes `count` places, in the order of the calls. Resolves to the way to give them back; to undefined when the queue is
   * full, the wait too long or the caller gave up.
   */
  take(
    signal: Leaving,
    {
      waitingMax = this.waitingMax,
      waitMs,
      count = 1,
    }: { waitingMax?: number; waitMs?: number; count?: number } = {},
  ): Promise<GiveBack | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.waiting.length === 0 && this.free >= count) {
      this.free -= count;
      return Promise.resolve(this.release(count));
    }
    if (this.waiting.length >= waitingMax) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const end = (giveBack: GiveBack | undefined) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
        resolve(giveBack);
      };
      const next = { count, start: () => end(this.release(count)) };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(next), 1);
        end(undefined);
        this.admit(); // Those behind may have waited for its many places.
      };
      const timer = waitMs === undefined ? undefined : setTimeout(leave, waitMs);
      signal.addEventListener("abort", leave, { once: true });
      this.waiting.push(next);
    });
  }

  private release(count: number): GiveBack {
    let left = count;
    return (given = left) => {
      const back = Math.max(0, Math.min(given, left));
      left -= back;
      this.free += back;
      this.admit();
    };
  }

  private admit(): void {
    for (let [next] = this.waiting; next !== undefined && next.count <= this.free; [next] = this.waiting) {
      this.waiting.shift();
      this.free -= next.count;
      next.start();
    }
  }
}
