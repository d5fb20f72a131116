/** Time as decisions see it: given to them, so that tests move it by hand. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  now(): Date;
  /** Whole milliseconds since some moment, for how long something takes: whoever sets the clock does not change it. */
  elapsedMs(): number;
  /** Calls `run` once after `ms`. Does not keep the process alive. */
  setTimer(ms: number, run: () => void): Timer;
}

/** Node's longest timer, 24.8 days. A longer one would fire at once. */
const NODE_TIMER_MS_MAX = 0x7fff_ffff;

export const systemClock: Clock = {
  now: () => new Date(),
  elapsedMs: () => Math.floor(performance.now()),
  setTimer(ms, run) {
    let timer: NodeJS.Timeout;
    const wait = (leftMs: number) => {
      const partMs = Math.min(leftMs, NODE_TIMER_MS_MAX);
      timer = setTimeout(() => (leftMs > partMs ? wait(leftMs - partMs) : run()), partMs);
      timer.unref();
    };
    wait(ms);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `ms`. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(ms, resolve));
}

export interface Repeated extends Timer {
  /** Resolves when the run that is under way has ended; cancelling does not end it. */
  readonly idle: Promise<void>;
}

/** Runs `run` again and again, `ms` after the last one ended. `run` must not reject. */
export function repeat(clock: Clock, ms: number, run: () => Promise<void>): Repeated {
  let cancelled = false;
  let timer: Timer | undefined;
  let running = Promise.resolve();
  const next = () => {
    if (cancelled) return;
    timer = clock.setTimer(ms, () => {
      running = run().finally(next);
    });
  };
  next();
  return {
    get idle() {
      return running;
    },
    cancel() {
      cancelled = true;
      timer?.cancel();
    },
  };
}

/** Resolves when `work` has, and after `ms` at the latest. */
export async function within(clock: Clock, ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: Timer | undefined;
  const over = new Promise<void>((resolve) => {
    timer = clock.setTimer(ms, resolve);
  });
  await Promise.race([work, over]).finally(() => timer?.cancel());
}
