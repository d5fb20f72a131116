/** Locks, deadlines and use of sessions in PostgreSQL: what keeps them from being stuck, or from living too long. */
import type { SessionStatus, StopReason } from "@wolfpack/api-contract";
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { liveStatuses } from "./session-lifecycle.ts";
import { type SessionRow, toSession } from "./session-row.prisma.ts";
import type { SessionStore } from "./session-store.ts";

type Deadlines = Pick<
  SessionStore,
  | "renewLocks"
  | "takeLock"
  | "listOnLostWolves"
  | "listOverdue"
  | "listExpired"
  | "expire"
  | "warn"
  | "touch"
  | "extend"
>;

/** When nobody will have made use of it for its idle time; null: it has none, or nothing has run yet. */
const idleAt = Sql.sql`(last_active_at + idle_seconds * interval '1 second')`;
/** `warned_at` as it is once it is used: a warning of its end by the clock stays said, one of its idle time is void. */
export const warnedOfClock = Sql.sql`CASE WHEN ${idleAt} < COALESCE(expires_at, 'infinity') THEN NULL ELSE warned_at END`;
const expiresBy = (at: Date) => Sql.sql`(status IN ('running', 'lost') AND expires_at <= ${at})`;
/** What is lost nobody can use. */
const idlesBy = (at: Date) => Sql.sql`(status = 'running' AND ${idleAt} <= ${at})`;

const wasWarned = (now: Date, noticeMs: number) =>
  Sql.sql`warned_at <= ${new Date(now.getTime() - noticeMs)}`;

type Due = SessionRow & { reason: Extract<StopReason, "expired" | "idle"> };

export function deadlines(prisma: Prisma): Deadlines {
  return {
    async renewLocks(locks, expiresAt) {
      if (locks.length === 0) return [];
      const rows = await prisma.$queryRaw<{ id: string }[]>`
        WITH held AS (
          SELECT session.id FROM session
          JOIN unnest(${locks.map(({ id }) => id)}::text[], ${locks.map(({ token }) => token)}::text[]) AS mine(id, token)
            ON session.id = mine.id AND lock_token = mine.token
          WHERE ended_at IS NULL ORDER BY session.id FOR NO KEY UPDATE OF session
        )
        UPDATE session SET lock_expires_at = ${expiresAt} FROM held WHERE session.id = held.id RETURNING session.id`;
      return rows.map(({ id }) => id);
    },

    async takeLock(id, lock, now) {
      const count = await prisma.$executeRaw`
        UPDATE session SET lock_token = ${lock.token}, lock_expires_at = ${lock.expiresAt}, attempts = attempts + 1, updated_at = ${now}
        WHERE id = ${id} AND status = 'placed' AND (lock_expires_at IS NULL OR lock_expires_at <= ${now})`;
      return count === 1;
    },

    async listOnLostWolves(limit) {
      const rows = await prisma.$queryRaw<SessionRow[]>`
        SELECT session.* FROM session JOIN wolf_instance ON wolf_instance.id = wolf_instance_id
        WHERE connectivity = 'lost' AND ended_at IS NULL AND status <> 'lost'
        ORDER BY session.id LIMIT ${limit}`;
      return rows.map(toSession);
    },

    async listOverdue(since, now, limit) {
      const statuses = (Object.keys(since) as SessionStatus[]).filter((status) =>
        liveStatuses.includes(status),
      );
      const dates = statuses.map((status) => since[status]?.toISOString() ?? null);
      const rows = await prisma.$queryRaw<SessionRow[]>`
        SELECT session.* FROM session
        LEFT JOIN unnest(${statuses}::text[], ${dates}::timestamptz[]) AS late(in_status, since) ON in_status = status
        WHERE status = ANY(${["queued", ...statuses]}::text[])
          AND (status_since < late.since OR (status = 'queued' AND queue_deadline <= ${now}))
        ORDER BY id LIMIT ${limit}`;
      return rows.map(toSession);
    },

    async listExpired(now, noticeMs, limit) {
      const rows = await prisma.$queryRaw<Due[]>`
        SELECT *, CASE WHEN expires_at <= ${now} THEN 'expired' ELSE 'idle' END AS reason FROM session
        WHERE ended_at IS NULL AND (${expiresBy(now)} OR ${idlesBy(now)}) AND ${wasWarned(now, noticeMs)}
        ORDER BY id LIMIT ${limit}`;
      return rows.map((row) => ({ session: toSession(row), reason: row.reason }));
    },

    async expire(id, reason, now, noticeMs) {
      const count = await prisma.$executeRaw`
        UPDATE session SET status = 'stopping', status_since = ${now}, stop_reason = ${reason}, updated_at = ${now}
        WHERE id = ${id} AND ${reason === "expired" ? expiresBy(now) : idlesBy(now)} AND ${wasWarned(now, noticeMs)}`;
      return count === 1;
    },

    async warn(now, warningMs) {
      const soon = new Date(now.getTime() + warningMs);
      const rows = await prisma.$queryRaw<(Due & { at: Date })[]>`
        WITH soon AS (
          SELECT id FROM session
          WHERE ended_at IS NULL AND warned_at IS NULL AND (${expiresBy(soon)} OR ${idlesBy(soon)})
          ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE session SET warned_at = ${now}, updated_at = ${now} FROM soon WHERE session.id = soon.id
        RETURNING session.*, CASE WHEN ${isIdleFirst} THEN 'idle' ELSE 'expired' END AS reason,
          CASE WHEN ${isIdleFirst} THEN ${idleAt} ELSE expires_at END AS at`;
      return rows
        .map((row) => ({ session: toSession(row), reason: row.reason, at: row.at }))
        .sort((a, b) => (a.session.id < b.session.id ? -1 : 1));
    },

    async touch(ids, now) {
      if (ids.length === 0) return;
      // A warning of its end by the clock stays said; one of its idle time is void.
      await prisma.$executeRaw`
        WITH used AS (
          SELECT id FROM session WHERE id = ANY(${[...ids]}::text[]) AND ended_at IS NULL ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE session SET last_active_at = GREATEST(last_active_at, ${now}), updated_at = ${now},
          warned_at = CASE WHEN ${isIdleFirst} THEN NULL ELSE warned_at END
        FROM used WHERE session.id = used.id`;
    },

    async extend(id, expiresAt, now) {
      const count = await prisma.$executeRaw`
        UPDATE session SET expires_at = ${expiresAt}, updated_at = ${now},
          warned_at = CASE WHEN ${isIdleFirst} AND ${idleAt} < ${expiresAt} THEN warned_at END
        WHERE id = ${id} AND ended_at IS NULL AND status <> 'stopping'`;
      return count === 1;
    },
  };
}

/** Its idle time ends before its life does; false where it has none. */
const isIdleFirst = Sql.sql`COALESCE(status = 'running' AND ${idleAt} < COALESCE(expires_at, 'infinity'), false)`;
