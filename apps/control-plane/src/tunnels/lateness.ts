/** How late this process is with what it has to do: what came in before a call of ours has its turn first. */
import { type Clock, repeat } from "../clock.ts";

export interface Lateness {
  /** At the last look; after a look that was late, less with each that is not. */
  ms(): number;
  stop(): void;
}

const LOOK_MS = 50;
/** A call of the API has a dozen such waits one after the other, and so has an agent, which gives up on a WebSocket after 5 s. */
const LATE_MS_MAX = 40;

/** Whether what can wait should: users go first. */
export const isLate = ({ ms }: Pick<Lateness, "ms">): boolean => ms() > LATE_MS_MAX;

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
