/** Sessions in PostgreSQL: every change is one guarded statement. A session is locked before its wolf, here and everywhere else. */
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { deadlines, warnedOfClock } from "./session-deadlines.prisma.ts";
import { type SessionEvent, statusesBefore } from "./session-lifecycle.ts";
import { placing } from "./session-queue.prisma.ts";
import { toSession } from "./session-row.prisma.ts";
import type { Attempt, Ran, Session, SessionStore } from "./session-store.ts";

export function prismaSessionStore(prisma: Prisma): SessionStore {
  return { ...placing(prisma), ...lookups(prisma), ...changes(prisma), ...deadlines(prisma) };
}

type Lookups = Pick<
  SessionStore,
  "get" | "list" | "countLive" | "listLive" | "listOwners" | "recorded" | "pinsOf"
>;
type Changes = Omit<
  SessionStore,
  keyof Lookups | keyof ReturnType<typeof placing> | keyof ReturnType<typeof deadlines>
>;

const before = (event: SessionEvent): string[] => statusesBefore(event);

function lookups(prisma: Prisma): Lookups {
  // All wolves are compared at once when they come back together, and in rounds.
  const listLive = inBatches(async (wolfIds: readonly string[]) => {
    const rows = await prisma.session.findMany({
      where: { wolf_instance_id: { in: [...new Set(wolfIds)] }, ended_at: null },
      orderBy: { id: "asc" },
    });
    const byWolf = Map.groupBy(rows.map(toSession), ({ wolfId }) => wolfId);
    return wolfIds.map((wolfId) => byWolf.get(wolfId) ?? []);
  });
  return {
    async get(id) {
      const row = await prisma.session.findUnique({ where: { id } });
      return row ? toSession(row) : undefined;
    },

    async list({ limit, after, newestFirst, status, wolfId, ownerId }) {
      const rows = await prisma.session.findMany({
        where: {
          ...(after ? { id: newestFirst ? { lt: after } : { gt: after } } : {}),
          ...(status ? { status } : {}),
          ...(wolfId ? { wolf_instance_id: wolfId } : {}),
          ...(ownerId ? { owner_id: ownerId } : {}),
        },
        orderBy: { id: newestFirst ? "desc" : "asc" },
        take: limit,
      });
      return rows.map(toSession);
    },

    async countLive() {
      const rows = await prisma.$queryRaw<{ status: Session["status"]; count: number }[]>`
        SELECT status, count(*)::int AS count FROM session WHERE ended_at IS NULL GROUP BY status`;
      return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
    },

    listLive,

    async listOwners(lobbies) {
      const rows = await prisma.session.findMany({
        where: {
          ended_at: null,
          OR: [
            { id: { in: lobbies.map(({ sessionId }) => sessionId) } },
            { lobby_id: { in: lobbies.map(({ lobbyId }) => lobbyId) } },
          ],
        },
        select: { id: true, lobby_id: true, wolf_instance_id: true, left_wolves: true },
      });
      return rows.map((row) => ({
        id: row.id,
        lobbyId: row.lobby_id,
        wolfId: row.wolf_instance_id,
        leftWolves: row.left_wolves,
      }));
    },

    async recorded(sessionIds) {
      const rows = await prisma.session.findMany({
        where: { id: { in: [...sessionIds] } },
        select: { id: true },
      });
      return new Set(rows.map(({ id }) => id));
    },

    async pinsOf(sessionIds) {
      const rows = await prisma.session.findMany({
        where: { id: { in: [...sessionIds] }, pin: { not: null } },
        select: { id: true, pin: true },
      });
      return new Map(rows.flatMap(({ id, pin }) => (pin === null ? [] : [[id, pin]])));
    },
  };
}

/**
 * Follows a table `freed (wolf_id, slots, vram_mb, encoder_sessions)`: what a session has given back in the same statement. Its slot
 * is free only when its lobby is gone: until the next comparison says so, that counts as one that no session has.
 */
const giveBack = (now: Date, lobbyGone = false) => Sql.sql`
  UPDATE wolf_instance SET connected_sandboxes = connected_sandboxes - 1, vram_mb_claimed = vram_mb_claimed - freed.vram_mb,
    encoder_sessions_claimed = encoder_sessions_claimed - freed.encoder_sessions, updated_at = ${now},
    other_lobbies = other_lobbies + ${lobbyGone ? 0 : 1}::int
  FROM freed WHERE wolf_instance.id = freed.wolf_id AND freed.had_slot`;

/** Nobody works on it any more, and it has no claims; the other half of `giveBack`. */
const freed = Sql.sql`slot_held = false, vram_mb = 0, encoder_sessions = 0, lock_token = NULL, lock_expires_at = NULL`;
const held = Sql.sql`session.id, wolf_instance_id AS wolf_id, slot_held AS had_slot, vram_mb, encoder_sessions, status`;

/** Those that `which` names run now, told as they were before; locked in the order of their ids. */
async function run(prisma: Prisma, which: Sql.Sql, now: Date): Promise<Ran[]> {
  const rows = await prisma.$queryRaw<{ id: string; wolf_id: string; culprits: string[]; is_new: boolean }[]>`
    WITH former AS (
      SELECT id, culprits, status FROM session WHERE status = ANY(${before("running")}::text[]) AND ${which}
      ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE session SET status = 'running', status_since = ${now}, started_at = COALESCE(started_at, ${now}), last_active_at = ${now},
      expires_at = COALESCE(expires_at, ${now}::timestamptz + (spec->>'ttl_seconds')::int * interval '1 second'),
      warned_at = ${warnedOfClock}, avoid = '{}', culprits = '{}', lock_token = NULL, lock_expires_at = NULL, updated_at = ${now}
    FROM former WHERE session.id = former.id
    RETURNING session.id, wolf_instance_id AS wolf_id, former.culprits, former.status = 'starting' AS is_new`;
  return rows.map(({ id, wolf_id, culprits, is_new }) => ({ id, wolfId: wolf_id, culprits, isNew: is_new }));
}

const wolfIsLost = Sql.sql`
  EXISTS (SELECT 1 FROM wolf_instance WHERE wolf_instance.id = session.wolf_instance_id AND connectivity = 'lost')`;

const isOf = (attempt: Attempt | undefined) =>
  attempt === undefined
    ? Sql.sql`true`
    : Sql.sql`(wolf_instance_id = ${attempt.wolfId} AND attempts = ${attempt.attempts})`;

const isLostIf = (isAsked: boolean | undefined) => (isAsked ? wolfIsLost : Sql.sql`true`);

function changes(prisma: Prisma): Changes {
  return {
    async lobbyCreated(id, lobbyId, now, lockToken) {
      const mine =
        lockToken === undefined
          ? Sql.sql`(lock_expires_at IS NULL OR lock_expires_at <= ${now})`
          : Sql.sql`lock_token = ${lockToken}`;
      const count = await prisma.$executeRaw`
        UPDATE session SET status = 'starting', status_since = ${now}, lobby_id = ${lobbyId}, lock_token = NULL, lock_expires_at = NULL,
          updated_at = ${now}
        WHERE id = ${id} AND status = ANY(${before("lobbyCreated")}::text[]) AND ${mine}`;
      if (count === 1) return true;
      // A stop came first: the lobby's id is kept, so that the stop finds the lobby.
      await prisma.$executeRaw`
        UPDATE session SET lobby_id = ${lobbyId}, lock_token = NULL, lock_expires_at = NULL, updated_at = ${now}
        WHERE id = ${id} AND status = 'stopping' AND lobby_id IS NULL AND ${mine}`;
      return false;
    },

    async running(id, lobbyId, now) {
      const [ran] = await run(prisma, Sql.sql`id = ${id} AND lobby_id = ${lobbyId}`, now);
      return ran;
    },

    async lobbiesRunning(wolf, lobbyIds, now) {
      return run(
        prisma,
        Sql.sql`wolf_instance_id = ${wolf.id} AND lobby_id = ANY(${[...lobbyIds]}::text[])
          AND EXISTS (SELECT 1 FROM wolf_instance WHERE id = ${wolf.id} AND epoch = ${wolf.epoch})`,
        now,
      );
    },

    async requestStop(id, reason, now, options) {
      await prisma.$executeRaw`
        UPDATE session SET status = CASE status WHEN 'queued' THEN 'stopped' ELSE 'stopping' END, status_since = ${now},
          ended_at = CASE status WHEN 'queued' THEN ${now}::timestamptz END,
          create_key = CASE status WHEN 'queued' THEN NULL ELSE create_key END, stop_reason = ${reason}, updated_at = ${now}
        WHERE id = ${id} AND status = ANY(${["queued", ...before("stopRequested")]}::text[])
          AND ${isLostIf(options?.whileLost)}`;
      const row = await prisma.session.findUnique({ where: { id } });
      return row ? toSession(row) : undefined;
    },

    async end(id, outcome, now, { from, attempt, lobbyGone } = {}) {
      const failure = outcome.status === "failed" ? outcome.failure : undefined;
      const reason = outcome.status === "stopped" ? outcome.reason : undefined;
      const allowed = statusesBefore(outcome.status);
      const guard = from ? allowed.filter((status) => from.includes(status)) : allowed;
      const rows = await prisma.$queryRaw<{ id: string }[]>`
        WITH held AS (
          SELECT ${held} FROM session WHERE id = ${id} AND status = ANY(${guard}::text[]) AND ${isOf(attempt)} FOR UPDATE
        ), freed AS (
          UPDATE session SET status = ${outcome.status}, status_since = ${now}, ended_at = ${now}, updated_at = ${now}, ${freed},
            create_key = NULL, stop_reason = COALESCE(stop_reason, ${reason ?? null}), failure_code = ${failure?.code ?? null},
            failure_reason = ${failure?.reason ?? null}
          FROM held WHERE session.id = held.id
          RETURNING held.*
        ), given_back AS (${giveBack(now, lobbyGone)})
        SELECT id FROM freed`;
      return rows.length === 1;
    },

    async requeue(id, wolfId, from, { avoid, blame, deadline, whileLost, attempts, lobbyGone }, now) {
      const guard = statusesBefore("requeued").filter((status) => from.includes(status));
      const rows = await prisma.$queryRaw<{ id: string }[]>`
        WITH held AS (
          SELECT ${held} FROM session WHERE id = ${id} AND wolf_instance_id = ${wolfId} AND status = ANY(${guard}::text[])
            AND ${isLostIf(whileLost)} AND (${attempts ?? null}::int IS NULL OR attempts = ${attempts ?? null}) FOR UPDATE
        ), freed AS (
          UPDATE session SET status = 'queued', status_since = ${now}, updated_at = ${now}, ${freed}, wolf_instance_id = NULL,
            lobby_id = NULL, queued_at = COALESCE(queued_at, created_at), queue_deadline = ${deadline},
            turn = COALESCE((SELECT min(other.turn) FROM session other WHERE other.status = 'queued'
              AND other.priority = session.priority), 0),
            left_wolves = array_append(array_remove(left_wolves, ${wolfId}), ${wolfId}),
            avoid = CASE WHEN ${avoid} THEN array_append(array_remove(avoid, ${wolfId}), ${wolfId}) ELSE avoid END,
            culprits = CASE WHEN ${blame === true} THEN array_append(array_remove(culprits, ${wolfId}), ${wolfId}) ELSE culprits END,
            attempts = CASE WHEN held.status IN ('running', 'lost') THEN 0 ELSE attempts END
          FROM held WHERE session.id = held.id
          RETURNING held.*
        ), given_back AS (${giveBack(now, lobbyGone)})
        SELECT id FROM freed`;
      return rows.length === 1;
    },

    async markLost(id, now) {
      const count = await prisma.$executeRaw`
        UPDATE session SET status = 'lost', status_since = ${now}, updated_at = ${now}
        WHERE id = ${id} AND status = ANY(${before("wolfLost")}::text[]) AND ${wolfIsLost}`;
      return count === 1;
    },
  };
}
