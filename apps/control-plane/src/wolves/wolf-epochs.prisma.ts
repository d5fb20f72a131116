/**
 * Epochs of new tunnels: agents that come together share a statement, and each event is by its own agent all the same. A wolf whose row
 * somebody else holds waits by itself, and keeps nobody up.
 */
import { authorWords } from "../database/authored.prisma.ts";
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { type Author, currentAuthor } from "../events/author.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { signed } from "../tunnels/further-places.prisma.ts";
import { isSaidByOurs } from "./wolf-figures.prisma.ts";
import { labelsOfTokens, type OpenedRow } from "./wolf-news.prisma.ts";
import type { NewTunnel, TunnelOrigin } from "./wolf-store.ts";

export interface Opening {
  id: string;
  now: Date;
  by: TunnelOrigin;
  tunnel: NewTunnel;
}

/** Of one statement: it holds their rows until it is on disk. */
const TOGETHER_MAX = 64;

/** Undefined: there is no such wolf. `replica`: who opens tunnels here. */
export function issuingEpochs(
  prisma: Prisma,
  replica: string | null,
): (opening: Opening) => Promise<OpenedRow | undefined> {
  const together = inBatches(
    async (all: readonly Authored[]) => {
      // A row changes once in a statement: the second tunnel of one wolf comes by itself.
      const first = new Map(all.toReversed().map((opening) => [opening.id, opening]));
      const rows = await issue([...first.values()], Sql.sql`SKIP LOCKED`);
      const byId = new Map(rows.map((row) => [row.id, row]));
      return all.map((opening) => (first.get(opening.id) === opening ? byId.get(opening.id) : undefined));
    },
    { itemsMax: TOGETHER_MAX },
  );

  function issue(openings: readonly Authored[], locked: Sql.Sql): Promise<OpenedRow[]> {
    const authors = Object.fromEntries(openings.map(({ id, author }) => [id, authorWords(author)]));
    return prisma.$queryRaw<OpenedRow[]>`
      WITH said AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(${JSON.stringify(openings.map(saidOf))}::jsonb) AS said(wolf_id text, after_epoch int,
          protocol text, legacy boolean, incarnation bigint, clock_offset_ms int, at timestamptz)
      ), authors AS MATERIALIZED (
        SELECT set_config('wolfpack.made_by', ${JSON.stringify(authors)}, true) AS told
      ), held AS MATERIALIZED (
        SELECT id FROM wolf_instance WHERE id IN (SELECT wolf_id FROM said) ORDER BY id FOR NO KEY UPDATE ${locked}
      )
      UPDATE wolf_instance SET epoch = GREATEST(epoch, after_epoch) + 1, tunnel_clock_epoch = GREATEST(epoch, after_epoch) + 1,
        tunnel_clock_offset_ms = said.clock_offset_ms, tunnel_since = said.at, last_heartbeat = said.at, updated_at = said.at,
        tunnel_replica_id = ${replica}, tunnel_rtt_ms = NULL, tunnel_incarnation = said.incarnation,
        tunnel_protocol = said.protocol, tunnel_legacy_credential = said.legacy, ${forgotten}
        connectivity_since = CASE WHEN connectivity = 'connected' THEN connectivity_since ELSE said.at END, connectivity = 'connected'
      FROM said, authors, held
      WHERE wolf_instance.id = held.id AND said.wolf_id = held.id AND told IS NOT NULL
      RETURNING wolf_instance.*, ${labelsOfTokens(Sql.sql`wolf_instance.id`)} AS token_labels`;
  }

  return async (opening) => {
    const authored = { ...opening, author: currentAuthor() };
    return (await together(authored)) ?? (await issue([authored], Sql.empty))[0];
  };
}

interface Authored extends Opening {
  author: Author | undefined;
}

const saidOf = ({ id, now, by, tunnel: { after = 0, incarnation, clockOffsetMs } }: Authored) => ({
  wolf_id: id,
  after_epoch: after,
  protocol: by.protocol,
  legacy: by.legacyCredential,
  incarnation: incarnation === undefined ? null : String(signed(incarnation)),
  clock_offset_ms: clockOffsetMs ?? null,
  at: now,
});

/** An agent of Helix after one of ours. */
const forgets = Sql.sql`(said.protocol = 'helix' AND ${isSaidByOurs})`;

/** What agents of ours say all the time; what the host consists of stays. */
const forgotten = Sql.sql`
  health = CASE WHEN ${forgets} THEN 'ok' ELSE health END,
  health_reasons = CASE WHEN ${forgets} THEN '[]' ELSE health_reasons END,
  wolf_capabilities = CASE WHEN ${forgets} THEN NULL ELSE wolf_capabilities END,
  images = CASE WHEN ${forgets} THEN NULL ELSE images END,
  usage = CASE WHEN ${forgets} THEN NULL ELSE usage END,
  usage_at = CASE WHEN ${forgets} THEN NULL ELSE usage_at END,
  agent_version = CASE WHEN ${forgets} THEN NULL ELSE agent_version END,
  wolf_restarts = CASE WHEN ${forgets} THEN 0 ELSE wolf_restarts END,
  vram_mb_other = CASE WHEN ${forgets} THEN 0 ELSE vram_mb_other END,
  encoder_sessions_other = CASE WHEN ${forgets} THEN 0 ELSE encoder_sessions_other END,`;
