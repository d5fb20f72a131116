/** What placement tells those who count, without knowing them. */
import type { Candidate } from "./candidate.ts";

export interface PlacementWatch {
  /** The fleet as it is known here, at any time. */
  fleet(fleet: { readonly candidates: readonly Candidate[] }): void;
  /** Around the way of a wish to its slot. Rejects as `run` does. */
  placing<Placed extends { outcome: string }>(run: () => Promise<Placed>): Promise<Placed>;
  /** A session that has waited in the queue has its slot. */
  waited(ms: number): void;
}

export const unwatchedPlacement: PlacementWatch = {
  fleet: () => undefined,
  placing: (run) => run(),
  waited: () => undefined,
};
