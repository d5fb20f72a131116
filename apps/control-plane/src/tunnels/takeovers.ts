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
  const wolves = new Map<string, Counted>();

  /** What is known of the last minute; the rest is forgotten. */
  function forget(now: number): void {
    // The wall clock may step back: what is in the future is not counted.
    const isRecent = (at: number) => at <= now && now - at < WINDOW_MS;
    for (const [wolfId, counted] of wolves) {
      counted.takenAt = counted.takenAt.filter(isRecent);
      if (counted.refusedAt !== undefined && !isRecent(counted.refusedAt)) counted.refusedAt = undefined;
      if (counted.takenAt.length === 0 && counted.refusedAt === undefined) wolves.delete(wolfId);
    }
  }

  function refusal(wolfId: string, now: number): number | undefined {
    forget(now);
    const counted = wolves.get(wolfId);
    const [oldest = now] = counted?.takenAt ?? [];
    if (counted === undefined || counted.takenAt.length < takeoversMax) return undefined;
    const isNews = counted.refusedAt === undefined;
    counted.refusedAt = now;
    if (isNews) onStorm(wolfId);
    return oldest + WINDOW_MS - now;
  }

  return {
    waitMs: (wolfId) => refusal(wolfId, clock.now().getTime()),
    take(wolfId) {
      const now = clock.now().getTime();
      const wait = refusal(wolfId, now);
      if (wait !== undefined) return wait;
      const counted = wolves.get(wolfId) ?? { takenAt: [], refusedAt: undefined };
      counted.takenAt.push(now);
      wolves.set(wolfId, counted);
      return undefined;
    },
  };
}
