/** Sessions as the rest of the program sees them. A slot is taken with the row and given back exactly once, in one statement each. */
import type { PlacementExplanation, SessionSpec, SessionStatus, StopReason } from "@wolfpack/api-contract";
import type { Author } from "../events/author.ts";
import type { Owner, Stray } from "./stray-lobbies.ts";

export interface Session {
  id: string;
  ownerId: string;
  name: string;
  status: SessionStatus;
  statusSince: Date;
  wolfId: string | null;
  lobbyId: string | null;
  spec: SessionSpec;
  placement: PlacementExplanation;
  failure: Failure | null;
  stopReason: StopReason | null;
  /** Null before it first waited in the queue; kept when it is queued again. */
  queuedAt: Date | null;
  /** When it has waited long enough. */
  queueDeadline: Date | null;
  priority: number;
  /** Its turn among those that wait with the same priority. */
  turn: number;
  /** Sandboxes begun for it since it last ran. With its wolf, it tells one start from all others. */
  attempts: number;
  /** Wolves where it failed to start: not asked again until it has run. */
  avoid: readonly string[];
  /** Of those, the ones that count as at fault once it runs elsewhere. */
  culprits: readonly string[];
  /** Wolves that it has left, where an old lobby of it may still run. */
  leftWolves: readonly string[];
  /** Of whoever works on it; it may be taken over once `lockExpiresAt` has passed. Null: nobody does. */
  lockToken: string | null;
  lockExpiresAt: Date | null;
  expiresAt: Date | null;
  idleSeconds: number | null;
  lastActiveAt: Date | null;
  warnedAt: Date | null;
  /** Of its lobby. Never shown. */
  pin: string | null;
  createdAt: Date;
  updatedAt: Date;
  startedAt: Date | null;
  endedAt: Date | null;
}

export interface Failure {
  code: string;
  reason: string;
}

/** What a session is made of, placed at once or queued. */
export interface NewSession {
  id: string;
  ownerId: string;
  name: string;
  spec: SessionSpec;
  placement: PlacementExplanation;
  pin: string | null;
  /** Of the creating request; one live session of an owner has it. */
  createKey: string | null;
  /** Who asks for it, for its first events. */
  requestedBy?: Author | undefined;
}

export interface SessionFilter {
  limit: number;
  /** In the list's order. */
  after: string | undefined;
  newestFirst?: boolean | undefined;
  status?: SessionStatus | undefined;
  wolfId?: string | undefined;
  ownerId?: string | undefined;
}

export type SessionOutcome =
  | { status: "stopped"; reason?: StopReason }
  | { status: "failed"; failure: Failure };

/** What a user may have whose own row does not say otherwise. */
export interface Quotas {
  /** Live sessions at once, those in the queue too. */
  sessionsMax: number;
  createsPerMinute: number;
}

export interface Lock {
  token: string;
  expiresAt: Date;
}

export interface WolfEpoch {
  id: string;
  epoch: number;
}

/** A slot for a new session, or for one that waits. */
export type ClaimRequest = { wolf: WolfEpoch; lock: Lock } & (
  | { session: NewSession }
  | { queued: string; placement: PlacementExplanation }
);

export type OverQuota =
  | { outcome: "too-many"; limit: number; current: number }
  /** `freeAt`: when one more may be created. */
  | { outcome: "too-fast"; limit: number; current: number; freeAt: Date };

export type Claim =
  | { outcome: "claimed"; session: Session }
  /** The wolf has changed since it was read. */
  | { outcome: "lost" }
  /** It waits no longer. */
  | { outcome: "gone" }
  /** Its creating request has made this session already: one with its id, or a live one with its key. */
  | { outcome: "exists"; session: Session }
  | OverQuota;

/** Why a new session may not wait. */
export type Unqueued = OverQuota | { outcome: "full"; limit: number; current: number };

export type Enqueued =
  | { outcome: "queued"; session: Session }
  | { outcome: "exists"; session: Session }
  | Unqueued;

/** What `enqueue` would answer now to a new session, and its place then: 1 is next. */
export type Prospect = { outcome: "queued"; position: number } | Unqueued;

/** Of the queue; places are those among all. */
export interface QueuePart {
  /** Only those behind the place that this session has, or had when it waited. Behind one that is not known: nobody. */
  after?: string | undefined;
  ownerId?: string | undefined;
}

export interface QueueRow {
  session: Session;
  /** 1 is next. */
  position: number;
}

/** One start of a session: what concerns an earlier or later one changes nothing. */
export interface Attempt {
  wolfId: string;
  attempts: number;
}

/** A session that runs now. */
export interface Ran {
  id: string;
  wolfId: string;
  /** Wolves that failed it before; each is named once. */
  culprits: readonly string[];
  /** It was made here, and not only found again. */
  isNew: boolean;
}

export interface EndOptions {
  /** Default: all that the table allows. */
  from?: readonly SessionStatus[];
  attempt?: Attempt;
  /** Its lobby was seen to be gone. Else it is taken to be there still, and takes a slot as one that no session has. */
  lobbyGone?: boolean;
}

export interface RequeueOptions extends Pick<EndOptions, "lobbyGone"> {
  /** It is not to come back to this wolf before it has run. */
  avoid: boolean;
  /** The wolf is at fault if the session runs elsewhere. */
  blame?: boolean;
  deadline: Date;
  /** Only while the wolf is lost. */
  whileLost?: boolean;
  /** Only this start. */
  attempts?: number;
}

export interface SessionStore {
  /**
   * Takes slot, video memory and encoder sessions of the wolf and makes or changes the row, both or neither; a new one only
   * within what its owner may have. One transaction for all of them; answers in the order of the requests.
   */
  claim(requests: readonly ClaimRequest[], quotas: Quotas, now: Date): Promise<Claim[]>;
  /** A row with status `queued`, unless `queueMax` wait already. */
  enqueue(
    session: NewSession,
    queue: { max: number; deadline: Date },
    quotas: Quotas,
    now: Date,
  ): Promise<Enqueued>;
  /** Takes nothing. Rejects where there is no such owner. */
  prospect(
    session: { ownerId: string; priority: number },
    queueMax: number,
    quotas: Quotas,
    now: Date,
  ): Promise<Prospect>;
  /**
   * Those that wait, next first: by priority, then by turn, then by the time they came. A turn is given when one begins to wait:
   * one more than its owner's last, and at least the one that the queue has come to. So owners' first sessions come before
   * second ones, nobody who comes late waits for all who came before, and no place gets worse but by who comes with an earlier turn.
   * What is queued again has the turn that the queue has come to.
   */
  listQueued(limit: number, part?: QueuePart): Promise<QueueRow[]>;
  /** Undefined: it does not wait. */
  queuePosition(id: string): Promise<number | undefined>;
  countQueued(): Promise<number>;
  /** Why it still waits. */
  explainQueued(id: string, placement: PlacementExplanation): Promise<void>;

  get(id: string): Promise<Session | undefined>;
  list(filter: SessionFilter): Promise<Session[]>;
  /** Live sessions by status. */
  countLive(): Promise<Partial<Record<SessionStatus, number>>>;
  /** Sessions that have not ended, of one wolf. */
  listLive(wolfId: string): Promise<Session[]>;
  /** Live sessions of any wolf that have one of these lobbies, or are named by one. */
  listOwners(lobbies: readonly Stray[]): Promise<Owner[]>;
  /** Those of these ids that there is, or was, a session of. */
  recorded(sessionIds: readonly string[]): Promise<Set<string>>;
  /** PINs by session, of any status: a lobby that has one is only stopped with it. */
  pinsOf(sessionIds: readonly string[]): Promise<Map<string, string>>;

  /** placed → starting, with the lobby's id, by the holder of the lock; without a token, by whoever found the lobby once the lock has expired. */
  lobbyCreated(id: string, lobbyId: string, now: Date, lockToken?: string): Promise<boolean>;
  /** starting or lost → running, with this lobby. Its life begins with the first time; what it avoided is forgotten. */
  running(id: string, lobbyId: string, now: Date): Promise<Ran | undefined>;
  /** The containers of these lobbies were seen to start, by the wolf's tunnel of this epoch. Those that run now. */
  lobbiesRunning(wolf: WolfEpoch, lobbyIds: readonly string[], now: Date): Promise<Ran[]>;
  /** Any live status → stopping; a queued one has ended at once. With `whileLost` only while its wolf is lost. The session as it is now, undefined when there is none. */
  requestStop(
    id: string,
    reason: StopReason,
    now: Date,
    options?: { whileLost: boolean },
  ): Promise<Session | undefined>;
  /** Ends a live session and gives back what it claimed, exactly once. False when it had ended, or the options forbid it. */
  end(id: string, outcome: SessionOutcome, now: Date, options?: EndOptions): Promise<boolean>;
  /**
   * Back into the queue, in one statement: what it claimed is given back, and the wolf is remembered as left (an old lobby may run
   * there). False when it is in none of `from` or on another wolf, or the options forbid it.
   */
  requeue(
    id: string,
    wolfId: string,
    from: readonly SessionStatus[],
    options: RequeueOptions,
    now: Date,
  ): Promise<boolean>;
  /** running → lost: it waits for its wolf, which is lost still by this statement's own look. */
  markLost(id: string, now: Date): Promise<boolean>;

  /** Locks held on: those of `locks` that still are. */
  renewLocks(locks: readonly { id: string; token: string }[], expiresAt: Date): Promise<string[]>;
  /** A placed session whose lock has expired; one more attempt is counted. False: somebody else was faster, or holds it. */
  takeLock(id: string, lock: Lock, now: Date): Promise<boolean>;
  /** Live sessions on wolves that are lost, except those that are `lost` already. */
  listOnLostWolves(limit: number): Promise<Session[]>;
  /** Sessions past a deadline: in a status since before its date, queued past their own. */
  listOverdue(since: Partial<Record<SessionStatus, Date>>, now: Date, limit: number): Promise<Session[]>;
  /**
   * Running or lost ones past `expiresAt`, and running ones of which nobody made use for their idle time; each was warned at least
   * `noticeMs` ago.
   */
  listExpired(
    now: Date,
    noticeMs: number,
    limit: number,
  ): Promise<{ session: Session; reason: "expired" | "idle" }[]>;
  /**
   * running or lost → stopping, if it is past its time by this statement's own look: what was extended or used meanwhile stays.
   * False then.
   */
  expire(id: string, reason: "expired" | "idle", now: Date, noticeMs: number): Promise<boolean>;
  /** Marks those that expire within `warningMs` and were not told so; each is named once. */
  warn(now: Date, warningMs: number): Promise<{ session: Session; reason: "expired" | "idle"; at: Date }[]>;
  /** Somebody makes use of them. */
  touch(ids: readonly string[], now: Date): Promise<void>;
  /** A new end; false when it has ended or is stopping. */
  extend(id: string, expiresAt: Date, now: Date): Promise<boolean>;
}
