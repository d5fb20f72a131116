/** The control plane's processes, as the database has them. */
import type { Replica } from "@wolfpack/api-contract";
import type { Membership } from "../replicas/membership.ts";

export interface ReplicasOptions {
  membership: Pick<Membership, "id" | "list">;
  /** Live tunnels of wolves, of this one. */
  tunnels: () => number;
  draining: () => boolean;
}

export type Replicas = () => Promise<Replica[]>;

/** Of others as they were at their last renewal. */
export function replicasOf({ membership, tunnels, draining }: ReplicasOptions): Replicas {
  return async () =>
    (await membership.list()).map((row) => {
      const isSelf = row.id === membership.id;
      return {
        id: row.id,
        version: row.version,
        started_at: row.startedAt.toISOString(),
        is_self: isSelf,
        tunnels: isSelf ? tunnels() : row.tunnels,
        draining: isSelf ? draining() : row.draining,
      };
    });
}
