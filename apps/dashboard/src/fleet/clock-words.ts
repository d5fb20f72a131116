/** How far the clock of a wolf's host was off when its tunnel was opened, in words. */
import type { WolfInstance } from "@wolfpack/api-contract";
import { duration } from "../ui/text.ts";

/** From here on it is a warning, as in check C13 and in wolfctl: long before the control plane refuses the host's tunnels. */
export const CLOCK_WARNING_MS = 30_000;

export interface ClockState {
  /** `2 min ahead`. */
  words: string;
  isOff: boolean;
}

/** Undefined: not known, without a tunnel, or without an agent of ours that has its own key. */
export function clockOf({ tunnel }: Pick<WolfInstance, "tunnel">): ClockState | undefined {
  const offsetMs = tunnel?.clock_offset_ms;
  if (offsetMs === null || offsetMs === undefined || !Number.isFinite(offsetMs)) return undefined;
  const distanceMs = Math.abs(offsetMs);
  // What the request took on its way is in it.
  if (distanceMs < 1000) return { words: "less than 1 s off", isOff: false };
  const words = `${duration(distanceMs)} ${offsetMs > 0 ? "ahead" : "behind"}`;
  return { words, isOff: distanceMs >= CLOCK_WARNING_MS };
}
