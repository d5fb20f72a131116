/** When so many wolves leave at once that the fault is more likely ours than theirs. Pure: counts and rules in, yes or no out. */
import type { ConnectivityCounts } from "./wolf-store.ts";

export interface MassLossRules {
  /** Of the wolves that were there; more than this share is a mass loss. */
  sharePercent: number;
  /** Fewer than these are never one: two hosts of two may well have been switched off. */
  wolvesMin: number;
  /** Wolves that left within it have left together. */
  windowMs: number;
}

export function isMassLoss(
  { connected, leftSince }: Pick<ConnectivityCounts, "connected" | "leftSince">,
  { sharePercent, wolvesMin }: Pick<MassLossRules, "sharePercent" | "wolvesMin">,
): boolean {
  return leftSince >= wolvesMin && isAbove(sharePercent, leftSince, connected);
}

/**
 * A mass loss lasts until enough wolves are back, however long that takes. By the window it would be over after a minute,
 * with nothing changed but the time.
 */
export function isStillLost(
  { connected, suspect }: Pick<ConnectivityCounts, "connected" | "suspect">,
  { sharePercent }: Pick<MassLossRules, "sharePercent">,
): boolean {
  return isAbove(sharePercent, suspect, connected);
}

function isAbove(sharePercent: number, away: number, there: number): boolean {
  return away * 100 > sharePercent * (there + away);
}
