/**
 * What has lost its validity takes effect on every replica: told by the database at once, and found by asking it every second
 * where that was lost. Listeners drop what they hold of it.
 */
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { Log } from "../logger.ts";

export const revocationKinds = ["api-key", "web-session", "user", "agent-key", "wolf"] as const;
export type RevocationKind = (typeof revocationKinds)[number];

export interface Revocation {
  id: string;
  kind: RevocationKind;
  /** Of the key, session, user or wolf. */
  objectId: string;
}

export interface RevocationStore {
  /** Those written since `since`, and the database's clock; undefined: none, the clock only. */
  recent(since: Date | undefined): Promise<{ now: Date; revocations: Revocation[] }>;
  /** Forgets those that every replica has long seen. */
  prune(before: Date): Promise<void>;
}

export interface Revocations {
  /** A listener throws nothing. */
  onRevoked(listener: (kind: RevocationKind, objectId: string) => void): void;
  /** Takes effect on this replica, which has just written it, without the way through the database. */
  tell(kind: RevocationKind, objectId: string): void;
  /** What the database says of another replica's. */
  hear(revocation: Revocation): void;
  /** A moment for `revokedSince`, to be taken before a credential is looked up. */
  mark(): number;
  /** Whether one of these has lost its validity since: what was looked up meanwhile may be from before. */
  revokedSince(mark: number, objectIds: readonly string[]): boolean;
  /** False: the database has not been asked for a while, and what is remembered of it may be long revoked. */
  upToDate(): boolean;
  /** Asks now, as after a time without notifications. Never rejects. */
  catchUp(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const POLL_MS = 1000;
/** A row is seen when its transaction ends, later than the time it bears; transactions last 5 seconds at most. */
const OVERLAP_MS = 10_000;
/** A revocation takes effect within this time, or what it may concern is looked up. */
const UP_TO_DATE_MS = 2000;
const PRUNE_MS = 600_000;
/** Longer than a replica lives without its database. */
const KEPT_MS = 7 * 86_400_000;
/** Of each list below. */
const REMEMBERED_MAX = 10_000;

export function createRevocations(options: { store: RevocationStore; clock: Clock; log: Log }): Revocations {
  const { store, clock, log } = options;
  const listeners: ((kind: RevocationKind, objectId: string) => void)[] = [];
  /** Ids of rows, the oldest first. */
  const heard = new Set<string>();
  /** When each object was last revoked, as a count; the oldest first. */
  const lastOf = new Map<string, number>();
  let count = 0;
  /** What was revoked up to here may have been forgotten. */
  let forgotten = 0;
  let since: Date | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  let failing = false;
  const timers: Timer[] = [];

  function tell(kind: RevocationKind, objectId: string): void {
    count += 1;
    lastOf.delete(objectId);
    lastOf.set(objectId, count);
    for (const [oldest, at] of lastOf) {
      if (lastOf.size <= REMEMBERED_MAX) break;
      lastOf.delete(oldest);
      forgotten = at;
    }
    for (const listener of listeners) listener(kind, objectId);
  }

  function hear({ id, kind, objectId }: Revocation): void {
    if (heard.has(id)) return;
    heard.add(id);
    for (const oldest of heard) {
      if (heard.size <= REMEMBERED_MAX) break;
      heard.delete(oldest);
    }
    log.info({ kind, object_id: objectId }, "revoked");
    tell(kind, objectId);
  }

  async function ask(): Promise<void> {
    const began = clock.now().getTime();
    try {
      // By the database's clock from one answer to the next, so that an outage leaves no gap.
      const from = since && new Date(since.getTime() - OVERLAP_MS);
      const { now, revocations } = await store.recent(from);
      since = now;
      failing = false;
      askedAt = began;
      for (const revocation of revocations) hear(revocation);
    } catch (err) {
      if (!failing) log.warn({ err }, "revocations cannot be asked for");
      failing = true;
    }
  }

  /** One at a time. */
  function catchUp(): Promise<void> {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  async function prune(): Promise<void> {
    await store
      .prune(new Date(clock.now().getTime() - KEPT_MS))
      .catch((err: unknown) => log.warn({ err }, "old revocations not removed"));
  }

  return {
    onRevoked: (listener) => void listeners.push(listener),
    tell,
    hear,
    mark: () => count,
    revokedSince: (mark, objectIds) =>
      mark < forgotten || objectIds.some((id) => (lastOf.get(id) ?? 0) > mark),
    upToDate() {
      const age = clock.now().getTime() - askedAt;
      return age >= 0 && age < UP_TO_DATE_MS;
    },

    catchUp,

    async start() {
      await catchUp();
      timers.push(repeat(clock, POLL_MS, catchUp), repeat(clock, PRUNE_MS, prune));
    },

    async stop() {
      for (const timer of timers.splice(0)) timer.cancel();
      await asking;
    },
  };
}
