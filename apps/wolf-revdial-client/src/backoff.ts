/** How long to wait before the next try: pure, with the caller's dice. */

export interface BackoffOptions {
  baseMs: number;
  capMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

/** Full jitter: uniform in [0, min(capMs, baseMs · 2^attempt)), so that a fleet that lost its server does not return as one. */
export function backoffMs(attempt: number, { baseMs, capMs, random }: BackoffOptions): number {
  return Math.floor(random() * Math.min(capMs, baseMs * 2 ** attempt));
}
