/** Events in PostgreSQL. Triggers write nearly all of them, in the transaction that makes the change, and give all their order. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { type FleetEvent, Prisma as Sql } from "../generated/client.ts";
import type { EventStore, FleetEventRecord, Horizon } from "./event-store.ts";
import { asksTooMuch, type EventView, open, type Seen } from "./event-view.ts";

export const EVENTS_CHANNEL = "wolfpack_events";

interface NamedEvent extends FleetEvent {
  session_name: string | null;
  wolf_name: string | null;
  owner_name: string | null;
  actor_name: string | null;
}

const toRecord = (row: NamedEvent): FleetEventRecord => ({
  id: row.id,
  seq: row.seq,
  at: row.at,
  kind: row.kind,
  sessionId: row.session_id,
  wolfId: row.wolf_instance_id,
  ownerId: row.owner_id,
  objectId: row.object_id,
  actor: row.actor,
  actorId: row.actor_id,
  cause: row.cause,
  requestId: row.request_id,
  detail: row.detail as Record<string, unknown>,
  names: { session: row.session_name, wolf: row.wolf_name, owner: row.owner_name, actor: row.actor_name },
});

/**
 * Some events with the names of their ids. They are looked up by primary keys, and only of the rows that are answered: a join could
 * begin with all sessions. Streams read each event once for all who hear it.
 */
const named = (some: Sql.Sql) => Sql.sql`
  SELECT told.*,
    (SELECT name FROM session WHERE id = told.session_id) AS session_name,
    (SELECT name FROM wolf_instance WHERE id = told.wolf_instance_id) AS wolf_name,
    (SELECT name FROM user_account WHERE id = told.owner_id) AS owner_name,
    CASE told.actor
      WHEN 'user' THEN (SELECT name FROM user_account WHERE id = told.actor_id)
      WHEN 'agent' THEN (SELECT name FROM wolf_instance WHERE id = told.actor_id)
    END AS actor_name
  FROM (${some}) AS told`;

/** The same as `shows` of event-view.ts; a test holds them together. */
export function conditions(view: EventView): Sql.Sql {
  const { kind, sessionId, wolfId, actorId, sight } = view;
  const all: Sql.Sql[] = [asksTooMuch(view) ? Sql.sql`false` : Sql.sql`true`];
  if (kind !== undefined)
    all.push("is" in kind ? Sql.sql`kind = ${kind.is}` : Sql.sql`starts_with(kind, ${kind.beginsWith})`);
  if (sessionId !== undefined) all.push(Sql.sql`session_id = ${sessionId}`);
  if (wolfId !== undefined) all.push(Sql.sql`wolf_instance_id = ${wolfId}`);
  if (actorId !== undefined) all.push(Sql.sql`actor_id = ${actorId}`);
  if (sight === undefined) return Sql.join(all, " AND ");
  const isOwn = Sql.sql`owner_id = ${sight.userId}`;
  if (sight.sessions === "own") all.push(Sql.sql`(session_id IS NULL OR ${isOwn})`);
  for (const [what, seen] of Object.entries<Seen>(sight.guarded)) {
    const isIt = Sql.sql`split_part(kind, '.', 1) = ${what}`;
    if (seen === "none") all.push(Sql.sql`NOT ${isIt}`);
    if (seen === "own") all.push(Sql.sql`(NOT ${isIt} OR ${isOwn})`);
  }
  if (!sight.unknown)
    all.push(Sql.sql`split_part(kind, '.', 1) IN (${Sql.join([...open, ...Object.keys(sight.guarded)])})`);
  return Sql.join(all, " AND ");
}

/** Of an id that is no more, its neighbour. */
const behind = (id: string | undefined) =>
  id === undefined
    ? Sql.sql`true`
    : Sql.sql`seq > COALESCE((SELECT seq FROM fleet_event WHERE id <= ${id} ORDER BY id DESC LIMIT 1), -1)`;
const before = (id: string | undefined) =>
  id === undefined
    ? Sql.sql`true`
    : Sql.sql`seq < (SELECT seq FROM fleet_event WHERE id >= ${id} ORDER BY id LIMIT 1)`;

export function prismaEventStore(prisma: Prisma): EventStore {
  async function horizon(): Promise<Horizon> {
    const [row] = await prisma.$queryRaw<Horizon[]>`SELECT settled, waiting FROM event_horizon()`;
    return row ?? { settled: 0n, waiting: false };
  }

  return {
    horizon,

    async add({ sessionId, wolfId, ownerId, detail, ...same }) {
      await prisma.fleetEvent.create({
        data: {
          ...same,
          session_id: sessionId,
          wolf_instance_id: wolfId,
          owner_id: ownerId,
          detail: detail as object,
        },
      });
    },

    async list({ limit, after, newestFirst }, view) {
      const { settled } = await horizon();
      const place = newestFirst ? before(after) : behind(after);
      const order = newestFirst ? Sql.sql`ORDER BY seq DESC` : Sql.sql`ORDER BY seq`;
      const some = Sql.sql`
        SELECT * FROM fleet_event WHERE seq <= ${settled} AND ${place} AND ${conditions(view)} ${order} LIMIT ${limit}`;
      const rows = await prisma.$queryRaw<NamedEvent[]>`${named(some)} ${order}`;
      return rows.map(toRecord);
    },

    async between(after, upTo, limit, view = {}) {
      const some = Sql.sql`
        SELECT * FROM fleet_event WHERE seq > ${after} AND seq <= ${upTo} AND ${conditions(view)} ORDER BY seq LIMIT ${limit}`;
      const rows = await prisma.$queryRaw<NamedEvent[]>`${named(some)} ORDER BY seq`;
      return rows.map(toRecord);
    },

    async lastUpTo(seq) {
      const [row] = await prisma.$queryRaw<{ id: string; seq: bigint }[]>`
        SELECT id, seq FROM fleet_event WHERE seq <= ${seq} ORDER BY seq DESC LIMIT 1`;
      return row;
    },

    async seqOf(id) {
      return (await prisma.fleetEvent.findUnique({ where: { id }, select: { seq: true } }))?.seq;
    },
  };
}
