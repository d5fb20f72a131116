/**
 * Whether a wolf's row says already what its agent says. After each tunnel an agent says all it knows again, which is seldom news: a fleet
 * that comes back is compared with the rows that were read as its tunnels were opened, and what is said later asks for many wolves in
 * one statement; nothing is written.
 */
import { isDeepStrictEqual } from "node:util";
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { WolfInstance } from "../generated/client.ts";
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

/** All that agents say and a row keeps. */
const saidColumns = [
  "health",
  "health_reasons",
  "wolf_capabilities",
  "images",
  "gpu_type",
  "gpu_model",
  "render_node",
  "vram_mb",
  "max_sandboxes",
  "labels",
  "region",
  "cost_per_hour",
  "agent_version",
  "encoder_sessions_max",
  "host",
] as const satisfies readonly (keyof WolfInstance)[];

/** As a tunnel is opened; `token_labels` are `labelsOfTokens`. */
export type OpenedRow = WolfInstance & { token_labels: Record<string, string> };

export interface News {
  /** The row as the statement that issued its epoch has left it: what the agent says next is compared with it, and asks nothing. */
  opened(row: OpenedRow): void;
  /** `labels` are those that the host says; a row of another epoch says nothing. */
  isKnown(id: string, epoch: number, columns: Columns): Promise<boolean>;
}

/** Rows of newly opened tunnels that are remembered, some KB each, for the second in which their agents say it all; later ones ask. */
const OPENED_MAX = 128;

export function newsOf(prisma: Prisma): News {
  const openedRows = new Map<string, { epoch: number; tokenLabels: object; row: Map<string, unknown> }>();

  /** Undefined: that has been said before, or long ago, and may have changed since. Each column answers once. */
  function isAsOpened(id: string, epoch: number, columns: Columns): boolean | undefined {
    const opened = openedRows.get(id);
    const names = Object.keys(columns);
    if (opened?.epoch !== epoch || !names.every((name) => opened.row.has(name))) return undefined;
    const { row, tokenLabels } = opened;
    const said = JSON.parse(JSON.stringify(columns)) as Record<string, unknown>;
    if (said.labels !== undefined) Object.assign(said.labels as object, tokenLabels);
    const isSame = names.every((name) => isDeepStrictEqual(said[name], row.get(name)));
    for (const name of names) row.delete(name);
    if (row.size === 0) openedRows.delete(id);
    return isSame;
  }

  const asks = inBatches(async (all: readonly Said[]) => {
    const json = JSON.stringify(all.map((said, at) => ({ at, ...said })));
    // OFFSET 0: else the planner makes JSON of the whole row for each column anew.
    const rows = await prisma.$queryRaw<{ at: number }[]>`
      SELECT said.at FROM jsonb_to_recordset(${json}::jsonb) AS said(at int, id text, epoch int, columns jsonb)
      JOIN wolf_instance wolf ON wolf.id = said.id AND wolf.epoch = said.epoch
      CROSS JOIN LATERAL (SELECT to_jsonb(wolf) AS row OFFSET 0) AS known
      WHERE NOT EXISTS (SELECT 1 FROM jsonb_each(columns) AS each(name, value)
        WHERE known.row->name IS DISTINCT FROM
          CASE name WHEN 'labels' THEN value || ${labelsOfTokens(Sql.sql`said.id`)} ELSE value END)`;
    const known = new Set(rows.map(({ at }) => at));
    return all.map((_, at) => known.has(at));
  });

  return {
    opened(row) {
      // At the end again: the first of the map is the one opened longest ago.
      openedRows.delete(row.id);
      openedRows.set(row.id, {
        epoch: row.epoch,
        tokenLabels: row.token_labels,
        row: new Map(saidColumns.map((name) => [name, row[name]])),
      });
      if (openedRows.size > OPENED_MAX) openedRows.delete(openedRows.keys().next().value as string);
    },
    isKnown: async (id, epoch, columns) =>
      isAsOpened(id, epoch, columns) ?? (await asks({ id, epoch, columns })),
  };
}
