/**
 * How many requests a caller may send: a bucket of one minute's requests for each, filled evenly, in memory. All in whole numbers, so
 * that the count is exact.
 */
import type { Clock } from "../clock.ts";
import { ApiError } from "./problem.ts";

export interface RateLimit {
  /** In the RateLimit fields. */
  name: string;
  perMinute: number;
}

export interface RateLimiter {
  /** Counts one request and gives the fields that say so. Throws `rate-limited`, and then counts nothing. */
  take(key: string): Record<string, string>;
}

const WINDOW_MS = 60_000;
/** Callers remembered at once, some 10 MB; past it the one that was not seen for longest starts anew. */
const KEYS_MAX = 100_000;

interface Bucket {
  /** How far it is from full: milliseconds times requests per minute, so one request is WINDOW_MS. */
  debt: number;
  at: number;
}

export function createRateLimiter(
  { name, perMinute }: RateLimit,
  clock: Clock,
  keysMax = KEYS_MAX,
): RateLimiter {
  const buckets = new Map<string, Bucket>();
  const debtMax = WINDOW_MS * perMinute;
  const secondsOf = (debt: number) => Math.ceil(debt / perMinute / 1000);
  const fields = (debt: number) => ({
    // draft-ietf-httpapi-ratelimit-headers-10
    "ratelimit-policy": `"${name}";q=${perMinute};w=${WINDOW_MS / 1000}`,
    ratelimit: `"${name}";r=${Math.floor((debtMax - debt) / WINDOW_MS)};t=${secondsOf(debt)}`,
  });

  return {
    take(key) {
      const now = clock.now().getTime();
      const { debt: before, at } = buckets.get(key) ?? { debt: 0, at: now };
      const left = Math.max(0, before - Math.max(0, now - at) * perMinute);
      const debt = left + WINDOW_MS;
      const refused = debt > debtMax;
      // Put at the end again: the first of the map is the one not seen for longest.
      buckets.delete(key);
      buckets.set(key, { debt: refused ? left : debt, at: now });
      if (buckets.size > keysMax) buckets.delete(buckets.keys().next().value as string);
      if (!refused) return fields(debt);
      throw new ApiError("rate-limited", `More than ${perMinute} requests in a minute.`, {
        headers: { ...fields(left), "retry-after": String(Math.max(1, secondsOf(debt - debtMax))) },
      });
    },
  };
}
