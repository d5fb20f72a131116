/** The control plane's processes. Today there is one: this. */
import type { Replica } from "@wolfpack/api-contract";

export interface ReplicasOptions {
  id: string;
  version: string;
  startedAt: Date;
  /** Live tunnels of wolves. */
  tunnels: () => number;
  draining: () => boolean;
}

export type Replicas = () => Promise<Replica[]>;

export function replicasOf({ id, version, startedAt, tunnels, draining }: ReplicasOptions): Replicas {
  return async () => [
    {
      id,
      version,
      started_at: startedAt.toISOString(),
      is_self: true,
      tunnels: tunnels(),
      draining: draining(),
    },
  ];
}
