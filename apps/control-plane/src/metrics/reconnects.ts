/** How long wolves are away between two tunnels. */
import type { Clock } from "../clock.ts";

export interface Reconnects {
  lost(wolfId: string): void;
  connected(wolfId: string): void;
}

/** Who is away for longer has not reconnected, but come back. */
const AWAY_MS_MAX = 3_600_000;
/** Remembered at once; the one that is away for longest goes. */
const WOLVES_MAX = 20_000;

export function createReconnects(
  clock: Clock,
  onReconnected: (ms: number) => void,
  wolvesMax = WOLVES_MAX,
): Reconnects {
  /** The one away for longest comes first. */
  const away = new Map<string, number>();
  return {
    lost(wolfId) {
      away.delete(wolfId);
      away.set(wolfId, clock.now().getTime());
      if (away.size > wolvesMax) away.delete(away.keys().next().value as string);
    },
    connected(wolfId) {
      const since = away.get(wolfId);
      if (since === undefined) return;
      away.delete(wolfId);
      const ms = clock.now().getTime() - since;
      // The wall clock may have stepped back.
      if (ms >= 0 && ms <= AWAY_MS_MAX) onReconnected(ms);
    },
  };
}
