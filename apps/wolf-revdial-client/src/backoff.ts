/** How long to wait before the next try: pure, with the caller's dice. */

export interface BackoffOptions {
  baseMs: number;
  capMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

type Ceiling = Pick<BackoffOptions, "baseMs" | "capMs">;

/** min(capMs, baseMs · 2^attempt). */
export const ceilingMs = (attempt: number, { baseMs, capMs }: Ceiling): number =>
  Math.min(capMs, baseMs * 2 ** attempt);

/** Full jitter: uniform below that, so that a fleet that lost its server does not return as one. */
export function backoffMs(attempt: number, { random, ...ceiling }: BackoffOptions): number {
  return Math.floor(random() * ceilingMs(attempt, ceiling));
}
