/** In PostgreSQL: what operators want of wolves, what keeps wolves away that hurt sessions, and what placement has to know of them. */
import type { Connectivity, QuarantineReason } from "@wolfpack/api-contract";
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { WolfInstance } from "../generated/client.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { countedIntents } from "./wolf-lifecycle.ts";
import { toWolf, type WolfRow } from "./wolf-row.prisma.ts";
import type { QuarantineRules, WolfStore } from "./wolf-store.ts";

type Steering = Pick<
  WolfStore,
  | "reconciled"
  | "createSucceeded"
  | "createFailed"
  | "readmit"
  | "changeIntent"
  | "listDraining"
  | "countConnectivity"
  | "fleet"
  | "setFleet"
  | "changedCandidates"
>;

/** Not in quarantine. A quarantine is not prolonged by what it was made for: that goes on, or was begun before. */
export const isFree = (now: Date): Sql.Sql =>
  Sql.sql`(quarantined_until IS NULL OR quarantined_until <= ${now})`;

/** Beyond it every quarantine has the longest time, and numbers stay finite. */
const DOUBLINGS_MAX = 40;

/** Changes of an UPDATE: a quarantine from now on if `condition` holds, twice as long as the one before. */
export function quarantineIf(
  condition: Sql.Sql,
  reason: QuarantineReason,
  { firstMs, maxMs }: QuarantineRules,
  now: Date,
): Sql.Sql {
  const ms = Sql.sql`LEAST(${firstMs}::float8 * 2 ^ LEAST(quarantines, ${DOUBLINGS_MAX}::int), ${maxMs}::float8)`;
  return Sql.sql`
    quarantined_until = CASE WHEN ${condition} THEN ${now}::timestamptz + ${ms} * interval '1 millisecond' ELSE quarantined_until END,
    quarantine_reason = CASE WHEN ${condition} THEN ${reason} ELSE quarantine_reason END,
    quarantines = CASE WHEN ${condition} THEN quarantines + 1 ELSE quarantines END`;
}

// Kilobytes per wolf that no policy reads.
const candidateColumns = Sql.raw(
  Object.values(Sql.WolfInstanceScalarFieldEnum)
    .filter((column) => column !== "host" && column !== "usage")
    .map((column) => `wolf_instance.${column}`)
    .join(", "),
);

interface Reconciled {
  id: string;
  epoch: number;
  otherLobbies: number;
  now: Date;
}

/** For each whether it is known by then. In rounds for every wolf: what says nothing new is not written. */
async function reconciledAll(prisma: Prisma, all: readonly Reconciled[]): Promise<boolean[]> {
  const now = new Date(Math.max(...all.map((one) => one.now.getTime())));
  // Of one wolf the keeper writes one after the other.
  const said = Sql.sql`unnest(${all.map(({ id }) => id)}::text[], ${all.map(({ epoch }) => epoch)}::int[],
    ${all.map(({ otherLobbies }) => otherLobbies)}::int[]) AS said(id, epoch, other_lobbies)`;
  const rows = await prisma.$queryRaw<{ id: string; epoch: number }[]>`
    WITH held AS (
      SELECT wolf.id FROM wolf_instance wolf JOIN ${said} ON said.id = wolf.id AND said.epoch = wolf.epoch
      WHERE (wolf.reconciled_epoch, wolf.other_lobbies) <> (said.epoch, said.other_lobbies) ORDER BY wolf.id FOR NO KEY UPDATE OF wolf
    ), changed AS (
      UPDATE wolf_instance wolf SET reconciled_epoch = said.epoch, other_lobbies = said.other_lobbies, updated_at = ${now}
      FROM held JOIN ${said} ON said.id = held.id WHERE wolf.id = held.id AND wolf.epoch = said.epoch
      RETURNING wolf.id, wolf.epoch
    )
    SELECT id, epoch FROM changed UNION SELECT wolf.id, wolf.epoch FROM wolf_instance wolf JOIN ${said}
      ON said.id = wolf.id AND said.epoch = wolf.epoch
      WHERE (wolf.reconciled_epoch, wolf.other_lobbies) = (said.epoch, said.other_lobbies)`;
  const known = new Set(rows.map(({ id, epoch }) => `${id} ${epoch}`));
  return all.map(({ id, epoch }) => known.has(`${id} ${epoch}`));
}

export function steering(prisma: Prisma): Steering {
  const reconciled = inBatches((all: readonly Reconciled[]) => reconciledAll(prisma, all));
  const get = (id: string) => prisma.wolfInstance.findUnique({ where: { id } });

  return {
    reconciled: (id, epoch, otherLobbies, now) => reconciled({ id, epoch, otherLobbies, now }),

    async createSucceeded(id, now) {
      await prisma.$executeRaw`
        UPDATE wolf_instance SET create_failures = 0, quarantines = 0, updated_at = ${now}
        WHERE id = ${id} AND ${isFree(now)} AND (create_failures > 0 OR quarantines > 0)`;
    },

    async createFailed(id, what, rules, now) {
      const tooMany = Sql.sql`create_failures + 1 >= ${rules.createFailuresMax}::int`;
      const reason = what === "failed" ? "creates-failed" : "creates-slow";
      const [wolf] = await prisma.$queryRaw<{ quarantined: boolean }[]>`
        UPDATE wolf_instance SET create_failures = create_failures + 1, updated_at = ${now},
          ${quarantineIf(tooMany, reason, rules, now)}
        WHERE id = ${id} AND ${isFree(now)}
        RETURNING create_failures >= ${rules.createFailuresMax}::int AS quarantined`;
      return wolf?.quarantined === true ? "quarantined" : "counted";
    },

    async readmit(id, now) {
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET quarantined_until = NULL, quarantine_reason = NULL, quarantines = 0, create_failures = 0, flaps = 0,
          flaps_since = NULL, updated_at = ${now}
        WHERE id = ${id}`;
      return count === 1;
    },

    async changeIntent(id, { from, to, reason, drain, unlessSessions }, now) {
      const plan =
        drain === undefined
          ? Sql.sql`drain`
          : Sql.sql`jsonb_build_object('started_at', ${drain.startedAt.toISOString()}::text,
              'deadline', ${drain.deadline.toISOString()}::text, 'sessions_at_start', connected_sandboxes, 'next', ${drain.next}::text)`;
      // Every session there holds a slot, and slots are counted in this row: a claim that comes first is seen, after a wait for it.
      const rows = await prisma.$queryRaw<WolfInstance[]>`
        UPDATE wolf_instance SET intent = ${to}, intent_since = CASE intent WHEN ${to} THEN intent_since ELSE ${now} END,
          intent_reason = ${reason}, drain = ${to === "draining" ? plan : Sql.sql`NULL`}, updated_at = ${now}
        WHERE id = ${id} AND intent = ANY(${[...from]}::text[]) AND (${unlessSessions !== true} OR connected_sandboxes = 0)
        RETURNING *`;
      const [changed] = rows;
      if (changed !== undefined) return { outcome: "changed", wolf: toWolf(changed) };
      const row = await get(id);
      if (row === null) return { outcome: "unknown" };
      const wolf = toWolf(row);
      if (!from.includes(wolf.intent)) return { outcome: "refused", wolf };
      // It would be allowed now: what stood in its way then was its sessions, or an intent that somebody has changed since.
      return { outcome: unlessSessions && wolf.connectedSandboxes > 0 ? "has-sessions" : "overtaken", wolf };
    },

    async listDraining() {
      const rows = await prisma.wolfInstance.findMany({
        where: { intent: "draining" },
        orderBy: { id: "asc" },
      });
      return rows.map(toWolf);
    },

    async countConnectivity(since) {
      const rows = await prisma.$queryRaw<{ connectivity: Connectivity; count: number; left: number }[]>`
        SELECT connectivity, count(*)::int AS count, count(*) FILTER (WHERE connectivity_since >= ${since})::int AS left
        FROM wolf_instance WHERE intent = ANY(${[...countedIntents]}::text[]) GROUP BY connectivity`;
      const of = (connectivity: Connectivity) => rows.find((row) => row.connectivity === connectivity);
      return {
        connected: of("connected")?.count ?? 0,
        suspect: of("suspect")?.count ?? 0,
        lost: of("lost")?.count ?? 0,
        leftSince: (of("suspect")?.count ?? 0) + (of("lost")?.left ?? 0),
      };
    },

    async fleet() {
      const row = await prisma.fleet.findUniqueOrThrow({ where: { id: 1 } });
      return { frozenSince: row.frozen_since, overrideUntil: row.override_until };
    },

    async setFleet({ frozenSince, overrideUntil }) {
      await prisma.$executeRaw`
        UPDATE fleet SET frozen_since = ${frozenSince}, override_until = ${overrideUntil} WHERE id = 1`;
    },

    async changedCandidates(mark) {
      // One statement, one snapshot: the next mark is that of the rows. A removed wolf may have come back under its id.
      const rows = await prisma.$queryRaw<(WolfRow & { next: string; gone: string[] })[]>`
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS next,
          ARRAY(SELECT removed.id FROM wolf_removed removed
            WHERE removed.placement_xid >= ${mark ?? null}::bigint
              AND NOT EXISTS (SELECT 1 FROM wolf_instance WHERE wolf_instance.id = removed.id)
            ORDER BY removed.id) AS gone,
          ${candidateColumns}
        FROM (VALUES (1)) AS once
        LEFT JOIN wolf_instance ON wolf_instance.placement_xid >= COALESCE(${mark ?? null}::bigint, 0)
        ORDER BY wolf_instance.id`;
      const [{ next, gone }] = rows as [(typeof rows)[number]];
      const wolves = rows.filter((row) => (row.id as string | null) !== null).map(toWolf);
      return { wolves, gone, mark: next };
    },
  };
}
