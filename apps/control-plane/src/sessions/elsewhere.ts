/** What of the fleet other replicas hold, as sessions need to know it. */
import type { Wolf } from "../wolves/wolf-store.ts";

export interface Elsewhere {
  /** One that can be asked holds the wolf's tunnel, as far as is known. */
  holds: (wolf: Pick<Wolf, "tunnelReplicaId" | "tunnelSince">) => boolean;
  /** Whoever holds the wolf's tunnel compares its lobbies soon. Never throws. */
  look: (wolfId: string) => void;
}

export const nowhere: Elsewhere = { holds: () => false, look: () => {} };
