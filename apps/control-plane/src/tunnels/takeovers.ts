/** How often the tunnel of one wolf may be taken from its agent by another: two agents with one identity would do nothing else. */
import type { Clock } from "../clock.ts";

export interface TakeoverLimit {
  /** Counts a takeover that is about to be; otherwise the milliseconds after which one may be again. */
  take(wolfId: string): number | undefined;
  /** The same without counting. */
  waitMs(wolfId: string): number | undefined;
}

export interface TakeoverLimitOptions {
  clock: Clock;
  /** Within a minute, per wolf. Default 10: more than a nervous network needs. */
  takeoversMax?: number;
  /** Told once of each storm: until a minute has passed without a refusal. */
  onStorm: (wolfId: string) => void;
}

const TAKEOVERS_PER_MINUTE_MAX = 10;
const WINDOW_MS = 60_000;

interface Counted {
  /** Milliseconds, the oldest first. */
  takenAt: number[];
  refusedAt: number | undefined;
}

export function takeoverLimit({
  clock,
  takeoversMax = TAKEOVERS_PER_MINUTE_MAX,
  onStorm,
}: TakeoverLimitOptions): TakeoverLimit {
  /** Those that were heard of last are last, so that each look forgets as many as are over, and sees one besides. */
  const wolves = new Map<string, Counted>();

  function forget(isRecent: (at: number) => boolean): void {
    for (const [wolfId, { takenAt, refusedAt }] of wolves) {
      if (isRecent(Math.max(takenAt.at(-1) ?? 0, refusedAt ?? 0))) return;
      wolves.delete(wolfId);
    }
  }

  /** What is known of the wolf's last minute. */
  function lastMinute(wolfId: string, now: number): Counted {
    // The wall clock may step back: what is in the future is not counted.
    const isRecent = (at: number) => at <= now && now - at < WINDOW_MS;
    forget(isRecent);
    const { takenAt, refusedAt } = wolves.get(wolfId) ?? { takenAt: [], refusedAt: undefined };
    const isRefused = refusedAt !== undefined && isRecent(refusedAt);
    return { takenAt: takenAt.filter(isRecent), refusedAt: isRefused ? refusedAt : undefined };
  }

  function heardOf(wolfId: string, counted: Counted): void {
    wolves.delete(wolfId);
    wolves.set(wolfId, counted);
  }

  function refusal(wolfId: string, { takenAt, refusedAt }: Counted, now: number): number | undefined {
    const [oldest = now] = takenAt;
    if (takenAt.length < takeoversMax) return undefined;
    const isNews = refusedAt === undefined;
    heardOf(wolfId, { takenAt, refusedAt: now });
    if (isNews) onStorm(wolfId);
    return oldest + WINDOW_MS - now;
  }

  return {
    waitMs(wolfId) {
      const now = clock.now().getTime();
      return refusal(wolfId, lastMinute(wolfId, now), now);
    },
    take(wolfId) {
      const now = clock.now().getTime();
      const counted = lastMinute(wolfId, now);
      const wait = refusal(wolfId, counted, now);
      if (wait !== undefined) return wait;
      counted.takenAt.push(now);
      heardOf(wolfId, counted);
      return undefined;
    },
  };
}
