/** Time that stands still until a test moves it. */
import type { Clock } from "../src/clock.ts";

export interface ManualClock extends Clock {
  /** Moves time forward and runs what is due, in order; timers set meanwhile run too when they are due. */
  advance(ms: number): void;
  /** Timers that wait. */
  readonly pending: number;
}

interface Waiting {
  at: number;
  order: number;
  run: () => void;
}

export function manualClock(start = new Date("2026-11-23T12:00:00.000Z")): ManualClock {
  let now = start.getTime();
  let order = 0;
  const timers = new Set<Waiting>();
  return {
    now: () => new Date(now),
    elapsedMs: () => now - start.getTime(),
    setTimer(ms, run) {
      order += 1;
      const timer = { at: now + Math.max(0, ms), order, run };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    advance(ms) {
      const until = now + ms;
      for (;;) {
        const [next] = [...timers]
          .filter(({ at }) => at <= until)
          .sort((a, b) => a.at - b.at || a.order - b.order);
        if (next === undefined) break;
        timers.delete(next);
        now = Math.max(now, next.at);
        next.run();
      }
      now = until;
    },
    get pending() {
      return timers.size;
    },
  };
}
