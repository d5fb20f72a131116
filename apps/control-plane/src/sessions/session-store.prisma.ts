/** Sessions in PostgreSQL: every change is one guarded statement. */
import type { Prisma } from "../database/prisma.prisma.ts";
import type { Session as Row } from "../generated/client.ts";
import { liveStatuses, type SessionEvent, statusesBefore } from "./session-lifecycle.ts";
import type { Claim, NewSession, Quotas, Session, SessionStore } from "./session-store.ts";

function toSession(row: Row): Session {
  return {
    id: row.id,
    ownerId: row.owner_id,
    name: row.name,
    status: row.status as Session["status"],
    wolfId: row.wolf_instance_id,
    lobbyId: row.lobby_id,
    spec: row.spec as unknown as Session["spec"],
    placement: row.placement as unknown as Session["placement"],
    failure: row.failure_code === null ? null : { code: row.failure_code, reason: row.failure_reason ?? "" },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}

const before = (event: SessionEvent): string[] => statusesBefore(event);

const MINUTE_MS = 60_000;

/** The owner's quotas and use, and the session's row if it was made. */
type ClaimRow = Row & {
  sessions_max: number;
  live: bigint;
  creates_max: number;
  recent: bigint;
  /** So old is the session whose minute must pass before one more is created. */
  nth_recent_at: Date | null;
};

function guardedClaim(
  prisma: Prisma,
  { id, ownerId, name, spec, placement }: NewSession,
  wolf: { id: string; epoch: number },
  { sessionsMax, createsPerMinute }: Quotas,
  now: Date,
) {
  const minuteAgo = new Date(now.getTime() - MINUTE_MS);
  // Counted by status, which has an index: of a user with 300,000 ended sessions 20 live ones are counted in 0.2 ms, not in 45.
  return prisma.$queryRaw<ClaimRow[]>`
    WITH quota AS (
      SELECT id AS quota_of, COALESCE(sessions_max, ${sessionsMax}) AS sessions_max,
        COALESCE(creates_per_minute, ${createsPerMinute}) AS creates_max
      FROM user_account WHERE id = ${ownerId}
    ), used AS (
      SELECT quota.*,
        (SELECT count(*) FROM session WHERE owner_id = quota_of AND status = ANY(${[...liveStatuses]}::text[])) AS live,
        (SELECT count(*) FROM session WHERE owner_id = quota_of AND created_at > ${minuteAgo}) AS recent,
        (SELECT created_at FROM session WHERE owner_id = quota_of AND created_at > ${minuteAgo}
          ORDER BY created_at DESC OFFSET GREATEST(creates_max - 1, 0) LIMIT 1) AS nth_recent_at
      FROM quota
    ), claimed AS (
      UPDATE wolf_instance SET connected_sandboxes = connected_sandboxes + 1, updated_at = ${now}
      WHERE id = ${wolf.id} AND epoch = ${wolf.epoch} AND connectivity = 'connected' AND intent = 'active' AND health <> 'failed'
        AND connected_sandboxes < max_sandboxes AND COALESCE(wolf_capabilities->'missing', '[]') = '[]'::jsonb
        AND EXISTS (SELECT 1 FROM used WHERE live < sessions_max AND recent < creates_max)
      RETURNING id AS claimed_id
    ), made AS (
      INSERT INTO session (id, owner_id, name, status, wolf_instance_id, spec, placement, slot_held, created_at, updated_at)
      SELECT ${id}, ${ownerId}, ${name}, 'placed', claimed_id, ${JSON.stringify(spec)}::jsonb, ${JSON.stringify(placement)}::jsonb, true,
        ${now}, ${now}
      FROM claimed
      RETURNING *
    )
    SELECT made.*, sessions_max, live, creates_max, recent, nth_recent_at FROM used LEFT JOIN made ON true`;
}

function toClaim(row: ClaimRow, now: Date): Claim {
  if ((row.id as string | null) !== null) return { outcome: "claimed", session: toSession(row) };
  const [live, recent] = [Number(row.live), Number(row.recent)];
  if (live >= row.sessions_max) return { outcome: "too-many", limit: row.sessions_max, current: live };
  if (recent < row.creates_max) return { outcome: "lost" };
  const freeAt = new Date((row.nth_recent_at ?? now).getTime() + MINUTE_MS);
  return { outcome: "too-fast", limit: row.creates_max, current: recent, freeAt };
}

export function prismaSessionStore(prisma: Prisma): SessionStore {
  return {
    async claim(session, wolf, quotas, now) {
      // A statement sees what was there when it began. So the one that counts begins when it is the owner's turn.
      const [, rows] = await prisma.$transaction([
        prisma.$queryRaw`SELECT id FROM user_account WHERE id = ${session.ownerId} FOR NO KEY UPDATE`,
        guardedClaim(prisma, session, wolf, quotas, now),
      ]);
      const [row] = rows;
      if (row === undefined) throw new Error("a session's owner does not exist");
      return toClaim(row, now);
    },

    async get(id) {
      const row = await prisma.session.findUnique({ where: { id } });
      return row ? toSession(row) : undefined;
    },

    async list({ limit, after, status, wolfId, ownerId }) {
      const rows = await prisma.session.findMany({
        where: {
          ...(after ? { id: { gt: after } } : {}),
          ...(status ? { status } : {}),
          ...(wolfId ? { wolf_instance_id: wolfId } : {}),
          ...(ownerId ? { owner_id: ownerId } : {}),
        },
        orderBy: { id: "asc" },
        take: limit,
      });
      return rows.map(toSession);
    },

    async listLive(wolfId) {
      const rows = await prisma.session.findMany({
        where: { wolf_instance_id: wolfId, ended_at: null },
        orderBy: { id: "asc" },
      });
      return rows.map(toSession);
    },

    async listOwners(lobbies) {
      const rows = await prisma.session.findMany({
        where: {
          ended_at: null,
          OR: [
            { id: { in: lobbies.map(({ sessionId }) => sessionId) } },
            { lobby_id: { in: lobbies.map(({ lobbyId }) => lobbyId) } },
          ],
        },
        select: { id: true, lobby_id: true, wolf_instance_id: true },
      });
      return rows.map((row) => ({ id: row.id, lobbyId: row.lobby_id, wolfId: row.wolf_instance_id }));
    },

    async listOverdue(before) {
      const rows = await prisma.session.findMany({
        where: { status: { in: ["placed", "starting"] }, updated_at: { lt: before } },
        orderBy: { id: "asc" },
      });
      return rows.map(toSession);
    },

    async lobbyCreated(id, lobbyId, now) {
      const count = await prisma.$executeRaw`
        UPDATE session SET status = 'starting', lobby_id = ${lobbyId}, updated_at = ${now}
        WHERE id = ${id} AND status = ANY(${before("lobbyCreated")}::text[])`;
      if (count === 1) return true;
      // A stop came first: the lobby's id is kept, so that the stop finds the lobby.
      await prisma.$executeRaw`
        UPDATE session SET lobby_id = ${lobbyId}, updated_at = ${now} WHERE id = ${id} AND status = 'stopping' AND lobby_id IS NULL`;
      return false;
    },

    async running(id, now) {
      const count = await prisma.$executeRaw`
        UPDATE session SET status = 'running', started_at = COALESCE(started_at, ${now}), updated_at = ${now}
        WHERE id = ${id} AND status = ANY(${before("running")}::text[])`;
      return count === 1;
    },

    async lobbiesRunning(wolf, lobbyIds, now) {
      const rows = await prisma.$queryRaw<{ id: string }[]>`
        UPDATE session SET status = 'running', started_at = COALESCE(started_at, ${now}), updated_at = ${now}
        WHERE wolf_instance_id = ${wolf.id} AND lobby_id = ANY(${[...lobbyIds]}::text[])
          AND status = ANY(${before("running")}::text[])
          AND EXISTS (SELECT 1 FROM wolf_instance WHERE id = ${wolf.id} AND epoch = ${wolf.epoch})
        RETURNING id`;
      return rows.map(({ id }) => id);
    },

    async requestStop(id, now) {
      await prisma.$executeRaw`
        UPDATE session SET status = 'stopping', updated_at = ${now} WHERE id = ${id} AND status = ANY(${before("stopRequested")}::text[])`;
      return this.get(id);
    },

    async end(id, outcome, now, from) {
      const failure = outcome.status === "failed" ? outcome.failure : undefined;
      const allowed = statusesBefore(outcome.status);
      const guard = from ? allowed.filter((status) => from.includes(status)) : allowed;
      const rows = await prisma.$queryRaw<{ id: string }[]>`
        WITH held AS (
          SELECT id, slot_held FROM session WHERE id = ${id} AND status = ANY(${guard}::text[]) FOR UPDATE
        ), ended AS (
          UPDATE session SET status = ${outcome.status}, slot_held = false, ended_at = ${now}, updated_at = ${now},
            failure_code = ${failure?.code ?? null}, failure_reason = ${failure?.reason ?? null}
          FROM held WHERE session.id = held.id
          RETURNING session.id, session.wolf_instance_id, held.slot_held AS had_slot
        ), released AS (
          UPDATE wolf_instance SET connected_sandboxes = connected_sandboxes - 1, updated_at = ${now}
          FROM ended WHERE wolf_instance.id = ended.wolf_instance_id AND ended.had_slot
        )
        SELECT id FROM ended`;
      return rows.length === 1;
    },
  };
}
