/** Sessions as the rest of the program sees them. A slot is taken with the row and given back exactly once, in one statement each. */
import type { PlacementExplanation, SessionSpec, SessionStatus } from "@wolfpack/api-contract";
import type { Owner, Stray } from "./stray-lobbies.ts";

export interface Session {
  id: string;
  ownerId: string;
  name: string;
  status: SessionStatus;
  wolfId: string | null;
  lobbyId: string | null;
  spec: SessionSpec;
  placement: PlacementExplanation;
  failure: Failure | null;
  createdAt: Date;
  updatedAt: Date;
  startedAt: Date | null;
  endedAt: Date | null;
}

export interface Failure {
  code: string;
  reason: string;
}

export interface NewSession {
  id: string;
  ownerId: string;
  name: string;
  spec: SessionSpec;
  placement: PlacementExplanation;
}

export interface SessionFilter {
  limit: number;
  after: string | undefined;
  status?: SessionStatus | undefined;
  wolfId?: string | undefined;
  ownerId?: string | undefined;
}

export type SessionOutcome = { status: "stopped" } | { status: "failed"; failure: Failure };

/** What a user may have whose own row does not say otherwise. */
export interface Quotas {
  /** Live sessions at once. */
  sessionsMax: number;
  createsPerMinute: number;
}

export type Claim =
  | { outcome: "claimed"; session: Session }
  /** The wolf has changed since it was read. */
  | { outcome: "lost" }
  | { outcome: "too-many"; limit: number; current: number }
  /** `freeAt`: when one more may be created. */
  | { outcome: "too-fast"; limit: number; current: number; freeAt: Date };

export interface SessionStore {
  /** Takes a slot of the wolf and makes the row, both or neither, and only within what its owner may have. */
  claim(session: NewSession, wolf: { id: string; epoch: number }, quotas: Quotas, now: Date): Promise<Claim>;
  get(id: string): Promise<Session | undefined>;
  list(filter: SessionFilter): Promise<Session[]>;
  /** Sessions that have not ended, of one wolf. */
  listLive(wolfId: string): Promise<Session[]>;
  /** Live sessions of any wolf that have one of these lobbies, or are named by one. */
  listOwners(lobbies: readonly Stray[]): Promise<Owner[]>;
  /** Sessions that are placed or starting and have not changed since `before`. */
  listOverdue(before: Date): Promise<Session[]>;
  /** placed → starting, with the lobby's id. */
  lobbyCreated(id: string, lobbyId: string, now: Date): Promise<boolean>;
  running(id: string, now: Date): Promise<boolean>;
  /** The containers of these lobbies were seen to start, by the wolf's tunnel of this epoch. Ids of the sessions that run now. */
  lobbiesRunning(
    wolf: { id: string; epoch: number },
    lobbyIds: readonly string[],
    now: Date,
  ): Promise<string[]>;
  /** Any live status → stopping. The session as it is now, undefined when there is none. */
  requestStop(id: string, now: Date): Promise<Session | undefined>;
  /** Ends a live session and gives its slot back, exactly once. False when it had ended, or is in none of `from` (default: all that the table allows). */
  end(id: string, outcome: SessionOutcome, now: Date, from?: SessionStatus[]): Promise<boolean>;
}
