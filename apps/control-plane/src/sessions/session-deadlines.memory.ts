/** Locks, deadlines and use of sessions in memory: the twin of session-deadlines.prisma.ts. */
import type { SessionStatus } from "@wolfpack/api-contract";
import { byId, type MemoryFleet, type SessionRow, toSession } from "../database/memory-fleet.ts";
import { liveStatuses } from "./session-lifecycle.ts";
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

const SECOND_MS = 1000;

/** When nobody will have made use of it for its idle time; infinite: it has none, or nothing has run yet. */
function unusedMs({ lastActiveAt, idleSeconds }: SessionRow): number {
  if (lastActiveAt === null || idleSeconds === null) return Number.POSITIVE_INFINITY;
  return lastActiveAt.getTime() + idleSeconds * SECOND_MS;
}
/** Once it is used: a warning of its end by the clock stays said, one of its idle time is void. */
export function warnedOfClock(row: SessionRow): Date | null {
  return unusedMs(row) < (row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) ? null : row.warnedAt;
}

/** When it ends for want of use, and by the clock; infinite where it has no such end, or not in its status. */
function idlesMs(row: SessionRow): number {
  return row.status === "running" ? unusedMs(row) : Number.POSITIVE_INFINITY;
}
function expiresMs({ status, expiresAt }: SessionRow): number {
  if ((status !== "running" && status !== "lost") || expiresAt === null) return Number.POSITIVE_INFINITY;
  return expiresAt.getTime();
}
const wasWarned = ({ warnedAt }: SessionRow, byMs: number): boolean =>
  warnedAt !== null && warnedAt.getTime() <= byMs;
const isIdleFirst = (row: SessionRow, expiresAtMs = row.expiresAt?.getTime()): boolean =>
  idlesMs(row) < (expiresAtMs ?? Number.POSITIVE_INFINITY);

export function memoryDeadlines(fleet: MemoryFleet): Deadlines {
  const live = (id: string): SessionRow | undefined => {
    const row = fleet.sessions.get(id);
    return row && liveStatuses.includes(row.status) ? row : undefined;
  };
  const expiredBy = (ms: number): SessionRow[] =>
    [...fleet.mortal].filter((row) => expiresMs(row) <= ms || idlesMs(row) <= ms).sort(byId);

  return {
    async renewLocks(locks, expiresAt) {
      const held = locks.flatMap(({ id, token }) => {
        const row = live(id);
        return row?.lockToken === token ? [row] : [];
      });
      for (const row of held) fleet.changeSession(row, { lockExpiresAt: expiresAt });
      return held.map(({ id }) => id);
    },

    async takeLock(id, { token, expiresAt }, now) {
      const row = fleet.sessions.get(id);
      if (row?.status !== "placed" || (row.lockExpiresAt !== null && row.lockExpiresAt > now)) return false;
      const lock = { lockToken: token, lockExpiresAt: expiresAt };
      fleet.changeSession(row, { ...lock, attempts: row.attempts + 1, updatedAt: now });
      return true;
    },

    async listOnLostWolves(limit) {
      return [...fleet.wolvesOf("lost")]
        .flatMap(({ id }) => [...fleet.liveOnWolf(id)])
        .filter(({ status }) => status !== "lost")
        .sort(byId)
        .slice(0, limit)
        .map(toSession);
    },

    async listOverdue(since, now, limit) {
      const isLate = ({ status, statusSince, queueDeadline }: SessionRow) => {
        const date = since[status];
        if (date !== undefined && statusSince < date) return true;
        return status === "queued" && queueDeadline !== null && queueDeadline <= now;
      };
      const statuses = new Set<SessionStatus>(["queued", ...(Object.keys(since) as SessionStatus[])]);
      return [...statuses]
        .flatMap((status) => [...fleet.sessionsOf(status)])
        .filter(isLate)
        .sort(byId)
        .slice(0, limit)
        .map(toSession);
    },

    async listExpired(now, noticeMs, limit) {
      const nowMs = now.getTime();
      return expiredBy(nowMs)
        .filter((row) => wasWarned(row, nowMs - noticeMs))
        .slice(0, limit)
        .map((row) => ({
          session: toSession(row),
          reason: expiresMs(row) <= nowMs ? "expired" : "idle",
        }));
    },

    async expire(id, reason, now, noticeMs) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !wasWarned(row, now.getTime() - noticeMs)) return false;
      if ((reason === "expired" ? expiresMs(row) : idlesMs(row)) > now.getTime()) return false;
      fleet.changeSession(row, { status: "stopping", statusSince: now, stopReason: reason, updatedAt: now });
      return true;
    },

    async warn(now, warningMs) {
      const rows = expiredBy(now.getTime() + warningMs).filter(({ warnedAt }) => warnedAt === null);
      for (const row of rows) fleet.changeSession(row, { warnedAt: now, updatedAt: now });
      return rows.map((row) => {
        const isIdle = isIdleFirst(row);
        const at = new Date(isIdle ? idlesMs(row) : expiresMs(row));
        return { session: toSession(row), reason: isIdle ? "idle" : "expired", at };
      });
    },

    async touch(ids, now) {
      for (const id of ids) {
        const row = live(id);
        if (row === undefined) continue;
        const lastActiveAt = row.lastActiveAt !== null && row.lastActiveAt > now ? row.lastActiveAt : now;
        const warnedAt = isIdleFirst(row) ? null : row.warnedAt;
        fleet.changeSession(row, { lastActiveAt, warnedAt, updatedAt: now });
      }
    },

    async extend(id, expiresAt, now) {
      const row = live(id);
      if (row === undefined || row.status === "stopping") return false;
      const staysIdle = isIdleFirst(row) && isIdleFirst(row, expiresAt.getTime());
      fleet.changeSession(row, { expiresAt, warnedAt: staysIdle ? row.warnedAt : null, updatedAt: now });
      return true;
    },
  };
}
