/** Time as decisions see it: given to them, so that tests move it by hand. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  now(): Date;
  /** Calls `run` once after `ms`. Does not keep the process alive. */
  setTimer(ms: number, run: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => new Date(),
  setTimer(ms, run) {
    // A longer Node timer would fire at once.
    const timer = setTimeout(run, Math.min(ms, 0x7fff_ffff));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Runs `run` again and again, `ms` after the last one ended. `run` must not reject. */
export function repeat(clock: Clock, ms: number, run: () => Promise<void>): Timer {
  let cancelled = false;
  let timer: Timer | undefined;
  const next = () => {
    if (cancelled) return;
    timer = clock.setTimer(ms, () => void run().finally(next));
  };
  next();
  return {
    cancel() {
      cancelled = true;
      timer?.cancel();
    },
  };
}
