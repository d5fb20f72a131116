/** Paces what is asked for too often: at once when it was quiet, then at most once per interval, and never forgotten. */

export interface PaceTimers {
  now: () => number;
  /** Returns how to cancel it. */
  after: (ms: number, run: () => void) => () => void;
}

export const browserTimers: PaceTimers = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export interface Pace {
  ask(name: string, run: () => void, intervalMs: number): void;
  close(): void;
}

/** Names beyond this are forgotten oldest first; what was forgotten is only asked for sooner. */
const NAMES_MAX = 2000;

export function createPace(timers: PaceTimers = browserTimers): Pace {
  const lastAt = new Map<string, number>();
  const waiting = new Map<string, () => void>();

  function runNow(name: string, run: () => void): void {
    waiting.delete(name);
    lastAt.delete(name);
    lastAt.set(name, timers.now());
    if (lastAt.size > NAMES_MAX) {
      const [oldest] = lastAt.keys();
      if (oldest !== undefined) lastAt.delete(oldest);
    }
    run();
  }

  return {
    ask(name, run, intervalMs) {
      if (waiting.has(name)) return;
      const elapsed = timers.now() - (lastAt.get(name) ?? Number.NEGATIVE_INFINITY);
      if (elapsed >= intervalMs) runNow(name, run);
      else
        waiting.set(
          name,
          timers.after(intervalMs - elapsed, () => runNow(name, run)),
        );
    },
    close() {
      for (const cancel of waiting.values()) cancel();
      waiting.clear();
    },
  };
}
