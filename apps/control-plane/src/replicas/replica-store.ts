/** Replicas and where tunnels end, as PostgreSQL has them. Time is the database's: replicas' clocks may differ. */

export interface ReplicaRow {
  id: string;
  /** At which other replicas reach it; null: at none. */
  url: string | null;
  version: string;
  startedAt: Date;
  draining: boolean;
  /** Live tunnels of wolves, at its last renewal. */
  tunnels: number;
}

export interface Joining extends Pick<ReplicaRow, "id" | "url" | "version" | "startedAt"> {
  /** Of the cluster's secret. */
  secretPrint: string;
  /** Migrations that its program knows: none that takes away more is applied while it lives. */
  steps: readonly string[];
  leaseMs: number;
  /** Known to be gone, although its lease may not have ended. */
  replaces?: string | undefined;
}

export type Joined = { outcome: "joined" } | { outcome: "url-taken" | "other-secret"; id: string };

export interface ReplicaStore {
  /**
   * A row of its own; one at the same URL whose lease has ended, or that it replaces, goes. Refused while another lives at that URL, or one
   * whose secret is another: its id.
   */
  join(replica: Joining): Promise<Joined>;
  /** Longer from now on. False: it was taken for gone. */
  renew(id: string, now: Pick<ReplicaRow, "draining" | "tunnels">, leaseMs: number): Promise<boolean>;
  leave(id: string): Promise<void>;
  /** Those whose lease has not ended. */
  live(): Promise<ReplicaRow[]>;
  /** Also one whose lease has ended, until it is removed. */
  has(id: string): Promise<boolean>;
  /** Removes those whose lease has ended, with the places of their tunnels. Returns their ids. */
  reap(): Promise<string[]>;
}

/** Where a tunnel ends. A place is the last one that was put. */
export interface TunnelPlaces {
  put(key: string): Promise<void>;
  /** Unless it is another replica's by now. */
  remove(key: string): Promise<void>;
  /** A replica that lives and can be reached; undefined: none has it. */
  find(key: string): Promise<Owner | undefined>;
  /** Of the newest tunnel of a wolf. */
  findWolf(wolfId: string): Promise<Owner | undefined>;
  /** Of the other tunnels of its agent, those elsewhere. */
  findFurther(wolfId: string): Promise<Owner[]>;
  /** A tunnel of this wolf has just been lost, or is just being opened: the next one comes soon, if any. */
  expectsWolf(wolfId: string): Promise<boolean>;
}

export interface Owner {
  id: string;
  url: string;
}

/** Where to connect to, and what the request's `Host` says. */
export interface End {
  isSecure: boolean;
  /** An address or a name. */
  host: string;
  port: number;
  authority: string;
}

export function endOf({ url }: Pick<Owner, "url">): End {
  const { protocol, hostname, port, host: authority } = new URL(url);
  const isSecure = protocol === "https:";
  // What a URL writes in brackets is an address without them.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return { isSecure, host, port: Number(port || (isSecure ? 443 : 80)), authority };
}
