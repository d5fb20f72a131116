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
