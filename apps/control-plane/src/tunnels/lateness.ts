/** How late this process is with what it has to do: what came in before a call of ours has its turn first. */
import { type Clock, repeat } from "../clock.ts";

export interface Lateness {
  /** At the last look; after a look that was late, less with each that is not. */
  ms(): number;
  stop(): void;
}

const LOOK_MS = 50;

/** `nowMs` never goes back. */
export function watchLateness(clock: Clock, nowMs: () => number): Lateness {
  let lateMs = 0;
  let dueMs = nowMs() + LOOK_MS;
  const looking = repeat(clock, LOOK_MS, async () => {
    const now = nowMs();
    lateMs = Math.max(0, now - dueMs, lateMs / 2);
    dueMs = now + LOOK_MS;
  });
  return {
    // A look that is overdue tells, too.
    ms: () => Math.max(lateMs, nowMs() - dueMs),
    stop: looking.cancel,
  };
}
