/**
 * What is kept for a while only, and how it goes afterwards: in steps, each of them short, so that nobody waits for what a statement
 * locks, until nothing old is left or the turn is over. Tables take turns within it: a backlog of one holds up no other.
 */
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../logger.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Counted from when it happened, or from the end that it was given. */
export const keptMs = {
  events: 30 * DAY_MS,
  "disk samples": 7 * DAY_MS,
  // Clocks of replicas differ; forgotten too early, a challenge could be answered again.
  "spent challenges": 10 * MINUTE_MS,
  "idempotency keys": 0,
  "browsers' sessions": 0,
} as const;
export type Kept = keyof typeof keptMs;

export interface RetentionStore {
  /** Removes at most `max` of what is older than `before`, the oldest first; returns how many. */
  remove(what: Kept, before: Date, max: number): Promise<number>;
  /** How many of those there are, counted up to `max`. */
  count(what: Kept, before: Date, max: number): Promise<number>;
}

export interface RetentionOptions {
  store: RetentionStore;
  clock: Clock;
  log: Log;
  /** This replica goes: the rest is left to the others, or to its next life. */
  stopping: () => boolean;
}

/** Between two turns. */
export const TURN_EVERY_MS = 10 * MINUTE_MS;
/** Of one turn, all tables together: shorter than its lock lasts (exclusive.prisma.ts). */
export const TURN_MS_MAX = 4 * MINUTE_MS;
/** In one statement, a fraction of a second. A turn has time for a hundred times what the largest fleet writes until the next. */
export const STEP_ROWS_MAX = 10_000;
/** Between two steps of many: the database has others to serve. */
export const STEP_PAUSE_MS = 50;
/** A backlog is counted up to here. */
const COUNTED_MAX = 1_000_000;

export type Retention = ReturnType<typeof createRetention>;

export function createRetention({ store, clock, log, stopping }: RetentionOptions) {
  /** Never rejects: what is not removed now is removed the next time, and the log says why. */
  async function turn(): Promise<void> {
    const now = clock.now().getTime();
    const before = (what: Kept) => new Date(now - keptMs[what]);
    let isOver = false;
    const timer = clock.setTimer(TURN_MS_MAX, () => {
      isOver = true;
    });
    const removed: Partial<Record<Kept, number>> = {};
    const waiting = Object.keys(keptMs) as Kept[];
    for (let what = waiting[0]; what !== undefined && !isOver && !stopping(); what = waiting[0]) {
      waiting.shift();
      try {
        const count = await store.remove(what, before(what), STEP_ROWS_MAX);
        if (count > 0) removed[what] = (removed[what] ?? 0) + count;
        if (count < STEP_ROWS_MAX) continue;
        waiting.push(what);
        await pause(clock, STEP_PAUSE_MS);
      } catch (err) {
        log.warn({ err, what }, "old rows not removed yet");
      }
    }
    timer.cancel();
    if (Object.keys(removed).length > 0) log.debug({ removed }, "old rows removed");
    if (isOver) for (const what of waiting) await tellOfRest(what, before(what));
  }

  async function tellOfRest(what: Kept, before: Date): Promise<void> {
    try {
      const left = await store.count(what, before, COUNTED_MAX);
      const isAll = left < COUNTED_MAX;
      if (left > 0)
        log.warn(
          { what, left, counted: isAll ? "all" : "in part" },
          "old rows are left: a turn has no time for all",
        );
    } catch (err) {
      log.warn({ err, what }, "old rows are left, and cannot be counted");
    }
  }

  return { turn };
}
