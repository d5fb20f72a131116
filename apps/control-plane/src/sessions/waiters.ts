/** Requests that wait for a session to change: woken by events, bounded by time, never polling. */
import type { Clock } from "../clock.ts";

interface Waiter {
  look: () => void;
  giveUp: () => void;
}

export class Waiters {
  private readonly clock: Clock;
  private readonly waiting = new Map<string, Set<Waiter>>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Asks `probe` now and after every change; resolves to its first answer, or to undefined after `ms`. */
  until<T>(id: string, ms: number, probe: () => Promise<T | undefined>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      let over = false;
      const finish = (settle: () => void) => {
        if (over) return;
        over = true;
        timer.cancel();
        const others = this.waiting.get(id);
        others?.delete(waiter);
        if (others?.size === 0) this.waiting.delete(id);
        settle();
      };
      const waiter: Waiter = {
        look: () => {
          probe().then(
            (answer) => answer !== undefined && finish(() => resolve(answer)),
            (error) => finish(() => reject(error)),
          );
        },
        giveUp: () => finish(() => resolve(undefined)),
      };
      const timer = this.clock.setTimer(ms, waiter.giveUp);
      const others = this.waiting.get(id) ?? new Set();
      others.add(waiter);
      this.waiting.set(id, others);
      waiter.look();
    });
  }

  /** The session changed: everybody who waits for it looks again. */
  changed(id: string): void {
    for (const waiter of this.waiting.get(id) ?? []) waiter.look();
  }

  /** Any session may have changed. */
  allChanged(): void {
    for (const id of [...this.waiting.keys()]) this.changed(id);
  }

  close(): void {
    for (const waiters of [...this.waiting.values()]) for (const waiter of [...waiters]) waiter.giveUp();
  }
}
