/** Places for sessions in PostgreSQL, and the queue of those that wait for one. The rules are in the migration's functions. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { type SessionRow, toSession } from "./session-row.prisma.ts";
import type { Claim, ClaimRequest, NewSession, OverQuota, SessionStore, Unqueued } from "./session-store.ts";

type Placing = Pick<
  SessionStore,
  "claim" | "enqueue" | "prospect" | "listQueued" | "queuePosition" | "countQueued" | "explainQueued"
>;

interface Verdict<Outcome extends string> {
  outcome: Outcome;
  quota_limit: number | null;
  quota_current: number | null;
  free_at: Date | null;
}
/** The session's columns are null where there is none. */
type Answer<Outcome extends string> = SessionRow & Verdict<Outcome>;

/** Columns of a new row, as the functions of the migration take them. */
function columnsOf({ id, ownerId, name, spec, placement, pin, createKey, requestedBy }: NewSession) {
  return {
    id,
    owner_id: ownerId,
    name,
    spec,
    placement,
    priority: spec.priority,
    idle_seconds: spec.idle_timeout_seconds,
    pin,
    create_key: createKey,
    requested_by: requestedBy && {
      actor: requestedBy.actor,
      actor_id: requestedBy.actorId,
      request_id: requestedBy.requestId,
    },
  };
}

function toRequest(request: ClaimRequest) {
  const { wolf, lock } = request;
  const place = {
    wolf_id: wolf.id,
    epoch: wolf.epoch,
    lock_token: lock.token,
    lock_expires_at: lock.expiresAt,
  };
  if ("queued" in request) return { ...place, queued: request.queued, placement: request.placement };
  const { vram_mb, encoder_sessions } = request.session.spec.resources;
  return { ...place, vram_mb, encoder_sessions, session: columnsOf(request.session) };
}

const usedOf = ({ quota_limit, quota_current }: Verdict<string>) => ({
  limit: quota_limit ?? 0,
  current: quota_current ?? 0,
});

function overQuota(verdict: Verdict<OverQuota["outcome"]>, now: Date): OverQuota {
  const { outcome, free_at } = verdict;
  const used = usedOf(verdict);
  return outcome === "too-many" ? { outcome, ...used } : { outcome, ...used, freeAt: free_at ?? now };
}

function unqueued(verdict: Verdict<Unqueued["outcome"]>, now: Date): Unqueued {
  const { outcome } = verdict;
  return outcome === "full" ? { outcome, ...usedOf(verdict) } : overQuota({ ...verdict, outcome }, now);
}

function toClaim(answer: Answer<Claim["outcome"]>, now: Date): Claim {
  const { outcome } = answer;
  switch (outcome) {
    case "claimed":
    case "exists":
      return { outcome, session: toSession(answer) };
    case "lost":
    case "gone":
      return { outcome };
    default:
      return overQuota({ ...answer, outcome }, now);
  }
}

/** Whatever decides a place, ascending as a whole: so a place can be compared with another, also of who waits no more. */
const place = Sql.sql`-priority, turn, COALESCE(queued_at, created_at), id`;

/** Those that wait, as a table `waiting (id, owner_id, place, position)`: found by their status, and as many as WOLFPACK_QUEUE_MAX says. */
const waiting = Sql.sql`
  SELECT id, owner_id, (${place}) AS place, row_number() OVER (ORDER BY ${place})::int AS position
  FROM session WHERE status = 'queued'`;

/** PostgreSQL has given up this statement so that another one could go on: nothing of it was done. */
const CONFLICTS = new Set(["40P01", "40001", "P2034"]);
const TRIES_MAX = 3;

function isConflict(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > 5) return false;
  const { code, originalCode, cause, meta, driverAdapterError } = error as Record<string, unknown>;
  if (CONFLICTS.has(String(code)) || CONFLICTS.has(String(originalCode))) return true;
  return [cause, meta, driverAdapterError].some((inner) => isConflict(inner, depth + 1));
}

async function withoutConflict<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run();
    } catch (error) {
      if (tries === TRIES_MAX || !isConflict(error)) throw error;
    }
  }
}

export function placing(prisma: Prisma): Placing {
  return {
    async claim(requests, { sessionsMax, createsPerMinute }, now) {
      if (requests.length === 0) return [];
      const claims = JSON.stringify(requests.map(toRequest));
      const answers = await withoutConflict(
        () => prisma.$queryRaw<Answer<Claim["outcome"]>[]>`
          SELECT ordinal, outcome, quota_limit, quota_current, free_at, (made).*
          FROM place_sessions(${claims}::jsonb, ${now}, ${sessionsMax}::int, ${createsPerMinute}::int) ORDER BY ordinal`,
      );
      return answers.map((answer) => toClaim(answer, now));
    },

    async enqueue(session, { max, deadline }, { sessionsMax, createsPerMinute }, now) {
      const [answer] = await prisma.$queryRaw<Answer<"queued" | "exists" | Unqueued["outcome"]>[]>`
        SELECT outcome, quota_limit, quota_current, free_at, (made).*
        FROM enqueue_session(${JSON.stringify(columnsOf(session))}::jsonb, ${now}, ${max}::int, ${deadline}, ${sessionsMax}::int,
          ${createsPerMinute}::int)`;
      if (answer === undefined) throw new Error("enqueue_session answered nothing");
      const { outcome } = answer;
      switch (outcome) {
        case "queued":
        case "exists":
          return { outcome, session: toSession(answer) };
        default:
          return unqueued({ ...answer, outcome }, now);
      }
    },

    async prospect({ ownerId, priority }, queueMax, { sessionsMax, createsPerMinute }, now) {
      // Whoever has this turn already came before.
      const [answer] = await prisma.$queryRaw<
        (Verdict<"queued" | Unqueued["outcome"]> & { position: number })[]
      >`
        SELECT prospect.*, (SELECT count(*) + 1 FROM session WHERE status = 'queued'
          AND (priority > ${priority}::int OR (priority = ${priority}::int AND turn <= prospect.next_turn)))::int AS position
        FROM session_prospect(${ownerId}, ${priority}::int, ${now}, ${queueMax}::int, ${sessionsMax}::int, ${createsPerMinute}::int)
          AS prospect`;
      if (answer === undefined) throw new Error("session_prospect answered nothing");
      const { outcome, position } = answer;
      return outcome === "queued" ? { outcome, position } : unqueued({ ...answer, outcome }, now);
    },

    async listQueued(limit, { after, ownerId } = {}) {
      const behind =
        after === undefined
          ? Sql.sql`TRUE`
          : Sql.sql`place > (SELECT (${place}) FROM session WHERE id = ${after})`;
      const owned = ownerId === undefined ? Sql.sql`TRUE` : Sql.sql`owner_id = ${ownerId}`;
      const rows = await prisma.$queryRaw<(SessionRow & { position: number })[]>`
        SELECT session.*, position FROM (
          SELECT id, position FROM (${waiting}) AS waiting WHERE ${behind} AND ${owned} ORDER BY position LIMIT ${limit}
        ) AS shown JOIN session USING (id)
        ORDER BY position`;
      return rows.map((row) => ({ session: toSession(row), position: row.position }));
    },

    async queuePosition(id) {
      const [row] = await prisma.$queryRaw<{ position: number }[]>`
        SELECT position FROM (${waiting}) AS waiting WHERE id = ${id}`;
      return row?.position;
    },

    countQueued: () => prisma.session.count({ where: { status: "queued" } }),

    async explainQueued(id, placement) {
      await prisma.$executeRaw`
        UPDATE session SET placement = ${JSON.stringify(placement)}::jsonb WHERE id = ${id} AND status = 'queued'`;
    },
  };
}
