/** What happened to sessions, wolves and the fleet, as the rest of the program sees it. */

export interface FleetEventRecord {
  id: string;
  at: Date;
  kind: string;
  sessionId: string | null;
  wolfId: string | null;
  /** The session's. */
  ownerId: string | null;
  detail: Record<string, unknown>;
}

export interface FleetEventFilter {
  limit: number;
  /** The last id of the page before. */
  after: string | undefined;
  newestFirst: boolean;
  kind: string | undefined;
  sessionId: string | undefined;
  wolfId: string | undefined;
  /** Only what this user may see: events of their sessions, and those of no session. Undefined: all. */
  seenBy: string | undefined;
}

export interface EventStore {
  add(event: FleetEventRecord): Promise<void>;
  /** In the order of ids, which is that of time to the millisecond. */
  list(filter: FleetEventFilter): Promise<FleetEventRecord[]>;
  /** Removes at most `max` of what is older than `cutoff`, the oldest first; returns how many. */
  prune(cutoff: Date, max: number): Promise<number>;
}
