/** Time as the edges see it. Decisions never ask for it: they are told. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds on a scale that never goes back; its zero has no meaning. */
  now(): number;
  /** Calls `run` once after `ms` (bounded to 2^31 - 1: a longer Node timer would fire at once). Does not keep the process alive. */
  setTimer(ms: number, run: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, run) {
    const timer = setTimeout(run, Math.min(ms, 0x7fff_ffff));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `ms`, or at once when the signal aborts. */
export async function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.setTimer(ms, resolve);
  const stop = () => resolve();
  signal.addEventListener("abort", stop, { once: true });
  await promise;
  timer.cancel();
  signal.removeEventListener("abort", stop);
}
