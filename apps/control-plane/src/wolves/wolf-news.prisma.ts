/**
 * Whether a wolf's row says already what its agent says. After each tunnel an agent says all it knows again, which is seldom news: a fleet
 * that comes back asks this for many wolves in one statement, and writes nothing.
 */
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";

/** Columns of wolf_instance, as JSON has them. */
export type Columns = Readonly<Record<string, unknown>>;

interface Said {
  id: string;
  epoch: number;
  columns: Columns;
}

/** What the join token labels a wolf with that the key it connects with was made by; the host's own words do not change these. */
export const labelsOfTokens = (wolfId: Sql.Sql): Sql.Sql => Sql.sql`COALESCE((
    SELECT token.labels FROM agent_key JOIN join_token token ON token.id = agent_key.enrolled_by
    WHERE agent_key.wolf_instance_id = ${wolfId} AND agent_key.last_used_at IS NOT NULL ORDER BY agent_key.id DESC LIMIT 1
  ), '{}')`;

/** `labels` are those that the host says; a row of another epoch says nothing. */
export function knowing(prisma: Prisma): (id: string, epoch: number, columns: Columns) => Promise<boolean> {
  const isKnown = inBatches(async (all: readonly Said[]) => {
    const json = JSON.stringify(all.map((said, at) => ({ at, ...said })));
    const rows = await prisma.$queryRaw<{ at: number }[]>`
      SELECT said.at FROM jsonb_to_recordset(${json}::jsonb) AS said(at int, id text, epoch int, columns jsonb)
      JOIN wolf_instance wolf ON wolf.id = said.id AND wolf.epoch = said.epoch
      WHERE NOT EXISTS (SELECT 1 FROM jsonb_each(columns) AS each(name, value)
        WHERE to_jsonb(wolf)->name IS DISTINCT FROM
          CASE name WHEN 'labels' THEN value || ${labelsOfTokens(Sql.sql`said.id`)} ELSE value END)`;
    const known = new Set(rows.map(({ at }) => at));
    return all.map((_, at) => known.has(at));
  });
  return (id, epoch, columns) => isKnown({ id, epoch, columns });
}
