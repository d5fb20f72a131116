/** The same from PostgreSQL, each in one statement. */

import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { countedIntents } from "../wolves/wolf-lifecycle.ts";
import type { CheckFacts, Some } from "./facts.ts";

const NAMES_MAX = 5;
/** Versions that agents make up are as many as there are agents. */
const VERSIONS_MAX = 50;

const count = (where: Sql.Sql) => Sql.sql`(count(*) FILTER (WHERE ${where}))::int`;
const names = (where: Sql.Sql) =>
  Sql.sql`COALESCE((array_agg(name ORDER BY name) FILTER (WHERE ${where}))[1:${NAMES_MAX}::int], '{}')`;

const away = Sql.sql`connectivity <> 'connected'`;
const unwell = Sql.sql`connectivity = 'connected' AND health <> 'ok'`;
const always = Sql.sql`true`;

export function prismaCheckFacts(prisma: Prisma): CheckFacts {
  return {
    async ping() {
      await prisma.$queryRaw`SELECT 1`;
    },

    async now() {
      const [row] = await prisma.$queryRaw<{ now: Date }[]>`SELECT clock_timestamp() AS now`;
      if (row === undefined) throw new Error("no row");
      return row.now;
    },

    async migrations() {
      return prisma.$queryRaw<{ name: string; finished: boolean }[]>`
        SELECT migration_name AS name, bool_or(finished_at IS NOT NULL) AS finished FROM _prisma_migrations
        WHERE rolled_back_at IS NULL GROUP BY migration_name ORDER BY migration_name`;
    },

    async queue() {
      const [row] = await prisma.$queryRaw<{ length: number; oldest: Date | null }[]>`
        SELECT count(*)::int AS length, min(queued_at) AS oldest FROM session WHERE status = 'queued'`;
      return { length: row?.length ?? 0, oldestAt: row?.oldest ?? null };
    },

    async wolves() {
      interface Row {
        expected: number;
        connected: number;
        away: number;
        away_names: string[];
        unwell: number;
        unwell_names: string[];
      }
      const [row] = await prisma.$queryRaw<Row[]>`
        SELECT ${count(always)} AS expected, ${count(Sql.sql`NOT (${away})`)} AS connected,
          ${count(away)} AS away, ${names(away)} AS away_names,
          ${count(unwell)} AS unwell, ${names(unwell)} AS unwell_names
        FROM wolf_instance WHERE intent = ANY(${[...countedIntents]}::text[])`;
      if (row === undefined) throw new Error("no row");
      return {
        expected: row.expected,
        connected: row.connected,
        away: { count: row.away, names: row.away_names },
        unwell: { count: row.unwell, names: row.unwell_names },
      };
    },

    async agents() {
      const rows = await prisma.$queryRaw<({ version: string | null; protocol: string } & Some)[]>`
        SELECT agent_version AS version, tunnel_protocol AS protocol, ${count(always)} AS count, ${names(always)} AS names
        FROM wolf_instance WHERE tunnel_since IS NOT NULL
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT ${VERSIONS_MAX}`;
      return rows.map(({ version, protocol, ...agents }) => ({ version, protocol, agents }));
    },

    async legacyTunnels() {
      const [row] = await prisma.$queryRaw<Some[]>`
        SELECT ${count(always)} AS count, ${names(always)} AS names
        FROM wolf_instance WHERE tunnel_legacy_credential`;
      return row ?? { count: 0, names: [] };
    },

    async clocks(offMs) {
      const off = Sql.sql`abs(tunnel_clock_offset_ms)`;
      const [row] = await prisma.$queryRaw<
        ({ known: number; name: string | null; offset_ms: number | null } & Some)[]
      >`
        SELECT count(*)::int AS known, ${count(Sql.sql`${off} >= ${offMs}::int`)} AS count,
          COALESCE((array_agg(name ORDER BY ${off} DESC, name) FILTER (WHERE ${off} >= ${offMs}::int))[1:${NAMES_MAX}::int], '{}') AS names,
          (array_agg(name ORDER BY ${off} DESC, name))[1] AS name,
          (array_agg(tunnel_clock_offset_ms ORDER BY ${off} DESC, name))[1] AS offset_ms
        FROM wolf_instance
        WHERE tunnel_since IS NOT NULL AND tunnel_clock_epoch = epoch AND tunnel_clock_offset_ms IS NOT NULL`;
      if (row === undefined) throw new Error("no row");
      const { known, count: many, names: first, name, offset_ms: offsetMs } = row;
      const worst = name === null || offsetMs === null ? undefined : { name, offsetMs };
      return { known, off: { count: many, names: first }, worst };
    },

    async storage() {
      const [row] = await prisma.$queryRaw<{ bytes: bigint; oldest: Date | null }[]>`
        SELECT pg_database_size(current_database()) AS bytes, (SELECT min(at) FROM fleet_event) AS oldest`;
      return { databaseBytes: Number(row?.bytes ?? 0), oldestEventAt: row?.oldest ?? null };
    },
  };
}
