/** What may begin only so often. */
import { type Clock, pause } from "./clock.ts";

/** So many at once after a quiet time, then so many a second. */
export interface Pace {
  clock: Clock;
  burst: number;
  perSecond: number;
}

/** What it gives resolves when the next may begin. */
export function paced({ clock, burst, perSecond }: Pace): () => Promise<void> {
  const everyMs = 1000 / perSecond;
  /** Until then everything that may begin has begun: `burst` turns ahead of now at the most. */
  let takenUntilMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.now().getTime();
    // The wall clock may step back: nobody waits for longer than a full bucket takes.
    const from = Math.min(Math.max(takenUntilMs, nowMs), nowMs + burst * everyMs);
    takenUntilMs = from + everyMs;
    const waitMs = takenUntilMs - nowMs - burst * everyMs;
    return waitMs <= 0 ? Promise.resolve() : pause(clock, waitMs);
  };
}
