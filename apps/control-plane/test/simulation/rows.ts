/** The rows of the control plane as they are now, read past every fault: for those who judge, not for those who are judged. */
import type { MemoryFleet, SessionRow, WolfRow } from "../../src/database/memory-fleet.ts";
import { liveStatuses } from "../../src/sessions/session-lifecycle.ts";

export type { SessionRow, WolfRow };

export interface Rows {
  session(id: string): SessionRow | undefined;
  wolf(id: string): WolfRow | undefined;
  liveOf(wolfId: string): Iterable<SessionRow>;
  /** All that have not ended. */
  live(): SessionRow[];
  /** The newest one that has ended and had no PIN. */
  lastEnded(): SessionRow | undefined;
  wolves(): Iterable<WolfRow>;
  /** Those whose absence counts when many are gone. */
  expected(): WolfRow[];
  /** Evictions are: nobody is given up. */
  isFrozen(): boolean;
  /** An operator keeps them from being so. */
  overrideUntil(): Date | null;
}

const absent: ReadonlySet<string> = new Set(["pending", "maintenance", "retired"]);

export function rowsOf(fleet: MemoryFleet): Rows {
  return {
    session: (id) => fleet.sessions.get(id),
    wolf: (id) => fleet.wolves.get(id),
    liveOf: (wolfId) => fleet.liveOnWolf(wolfId),
    live: () => liveStatuses.flatMap((status) => [...fleet.sessionsOf(status)]),
    lastEnded: () =>
      [...fleet.sessions.values()].findLast(({ endedAt, pin }) => endedAt !== null && pin === null),
    wolves: () => fleet.wolves.values(),
    expected: () => [...fleet.wolves.values()].filter(({ intent }) => !absent.has(intent)),
    isFrozen: () => fleet.state.frozenSince !== null,
    overrideUntil: () => fleet.state.overrideUntil,
  };
}
