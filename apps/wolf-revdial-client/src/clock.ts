/** Time as the agent's loops see it: given to them, so that tests move it by hand. */
import type { Clock } from "revdial";

export type { Clock };

/** Its timers keep the process alive: between two tries there is nothing else that does. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, run) {
    // A longer Node timer would fire at once.
    const timer = setTimeout(run, Math.min(ms, 0x7fff_ffff));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `ms`, or at once when the signal aborts. */
export function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      timer.cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.setTimer(ms, done);
    signal.addEventListener("abort", done, { once: true });
  });
}
