/** What happened to sessions, wolves, the fleet and who may use it, as the rest of the program sees it. */
import type { EventView } from "./event-view.ts";

export interface FleetEventRecord {
  id: string;
  /** The order in which events are told. */
  seq: bigint;
  at: Date;
  kind: string;
  sessionId: string | null;
  wolfId: string | null;
  /** The session's, or the API key's. */
  ownerId: string | null;
  /** A user, key or join token. */
  objectId: string | null;
  actor: string | null;
  actorId: string | null;
  cause: string | null;
  requestId: string | null;
  detail: Record<string, unknown>;
  names: EventNames;
}

/** Of whom and what it names by ids, as they are called when it is read. Null: there is no such id, or nobody knows it any more. */
export interface EventNames {
  session: string | null;
  wolf: string | null;
  owner: string | null;
  /** A user's, or of an agent's wolf. */
  actor: string | null;
}

/** What is announced; the database knows who announces it. */
export type NewFleetEvent = Pick<
  FleetEventRecord,
  "id" | "at" | "kind" | "sessionId" | "wolfId" | "ownerId" | "detail"
>;

export interface FleetEventPage {
  limit: number;
  /** The last id of the page before. */
  after: string | undefined;
  newestFirst: boolean;
}

/** Up to `settled` nobody writes an event any more. */
export interface Horizon {
  settled: bigint;
  /** Somebody may be about to write beyond it. */
  waiting: boolean;
}

export interface EventStore {
  add(event: NewFleetEvent): Promise<void>;
  /**
   * In their order, or newest first; no further than nothing is missing: whoever asks on behind what it has seen, or begins with the
   * newest, misses nothing, in whatever order transactions end. An id that is no more stands for the time that it was made at.
   */
  list(page: FleetEventPage, view: EventView): Promise<FleetEventRecord[]>;
  horizon(): Promise<Horizon>;
  /** Those behind `after` up to `upTo`, oldest first, at most `limit`. Nothing of them is missing up to a horizon that was asked before. */
  between(after: bigint, upTo: bigint, limit: number, view?: EventView): Promise<FleetEventRecord[]>;
  /** The last one up to there. */
  lastUpTo(seq: bigint): Promise<{ id: string; seq: bigint } | undefined>;
  /** Of an event that is kept still. */
  seqOf(id: string): Promise<bigint | undefined>;
}
