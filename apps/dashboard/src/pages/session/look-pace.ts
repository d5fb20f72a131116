/** How often a screen is looked at, as a function of how the last looks went: a host and its network carry every one of them. */

/** Between the beginnings of two looks, at least. */
export const LOOK_MS = 2000;
/** After failures, at most. */
const LOOK_MS_MAX = 60_000;
/** Nobody touched the page for so long: nobody looks. */
export const UNTOUCHED_MS_MAX = 10 * 60_000;

/** How long to wait after a look that took `tookMs`: a slow one is followed by as long a rest, failures by longer ones. */
export function restMs(tookMs: number, failures: number): number {
  const took = Math.max(0, tookMs);
  if (failures > 0) return Math.min(LOOK_MS_MAX, LOOK_MS * 2 ** Math.min(failures, 10));
  return Math.max(LOOK_MS - took, took, LOOK_MS / 4);
}
