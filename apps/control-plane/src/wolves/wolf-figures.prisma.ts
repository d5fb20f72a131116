/**
 * What a fleet says all the time, in PostgreSQL: figures of hosts, heartbeats by HTTP. It comes from every wolf at moments of its own
 * and is nothing that must survive, so it is written for many wolves in one statement, a few times a second at the most.
 */
import { systemClock } from "../clock.ts";
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { DISK_SAMPLES_PER_SLOT_MAX, diskSlotOf } from "./disk-history.ts";
import type { UsageReport, WolfStore } from "./wolf-store.ts";

const INT_MAX = 2 ** 31 - 1;
const MIB = 2 ** 20;
/** Of one statement: at some kilobytes each, a wolf's figures are text that PostgreSQL reads. */
const ITEMS_MAX = 1000;
/** Nobody waits for figures. The burst is for fleets that are small, whose figures are seen at once. */
const usagePace = { clock: systemClock, burst: 100, perSecond: 0.5 };
/** An agent waits for the answer to its heartbeat, which says whether the wolf is known: a second at the most. */
const heartbeatPace = { clock: systemClock, burst: 100, perSecond: 1 };

type Figures = Pick<WolfStore, "changeUsage" | "heartbeat">;

interface Said {
  id: string;
  epoch: number;
  report: UsageReport;
  now: Date;
}

type Beat = Parameters<WolfStore["heartbeat"]>[1] & { id: string; now: Date };

/** The newest tunnel, live or not, is one of an agent of ours. */
export const isSaidByOurs = Sql.sql`(epoch > 0 AND tunnel_protocol = 'revdial')`;

export function figures(prisma: Prisma): Figures {
  const changeUsage = inBatches((all: readonly Said[]) => changeAllUsage(prisma, all), {
    itemsMax: ITEMS_MAX,
    pace: usagePace,
  });
  const heartbeat = inBatches((all: readonly Beat[]) => allHeartbeats(prisma, all), {
    itemsMax: ITEMS_MAX,
    pace: heartbeatPace,
  });
  return {
    changeUsage: (id, epoch, report, now) => changeUsage({ id, epoch, report, now }),
    heartbeat: (id, report, now) => heartbeat({ ...report, id, now }),
  };
}

const latest = (all: readonly { now: Date }[]) => new Date(Math.max(...all.map(({ now }) => now.getTime())));

/** For each whether its tunnel is its wolf's newest. */
async function changeAllUsage(prisma: Prisma, all: readonly Said[]): Promise<boolean[]> {
  const now = latest(all);
  const json = all.map(({ id, epoch, report: { usage, wolfRestarts, sampleIds } }) => ({
    id,
    epoch,
    usage,
    restarts: wolfRestarts,
    // What could not be read says nothing about what is used.
    is_read: usage.gpu_state === "ok" || usage.gpu_state === "missing",
    sample_ids: sampleIds,
  }));
  // What others use does not become less because a claim was made that nobody uses yet, but only when less is used at all.
  const beyond = (claimed: Sql.Sql, other: Sql.Sql, figure: Sql.Sql) => {
    const measured = Sql.sql`COALESCE(${figure}, 0)`;
    return Sql.sql`CASE WHEN held.is_read
      THEN LEAST(GREATEST(0, ${measured} - ${claimed}, LEAST(${other}, ${measured})), ${INT_MAX}::bigint)::int ELSE ${other} END`;
  };
  const rows = await prisma.$queryRaw<{ id: string; epoch: number }[]>`
    WITH held AS MATERIALIZED (
      SELECT said.*, render_gpu_usage(wolf.host, wolf.render_node, said.usage) AS gpu
      FROM jsonb_to_recordset(${JSON.stringify(json)}::jsonb)
        AS said(id text, epoch int, usage jsonb, restarts int, is_read bool, sample_ids jsonb)
      JOIN wolf_instance wolf ON wolf.id = said.id AND wolf.epoch = said.epoch ORDER BY wolf.id FOR NO KEY UPDATE OF wolf
    ), changed AS (
      UPDATE wolf_instance wolf SET usage = held.usage, usage_at = ${now}, wolf_restarts = held.restarts,
        vram_mb_other = ${beyond(
          Sql.sql`vram_mb_claimed`,
          Sql.sql`vram_mb_other`,
          Sql.sql`(held.gpu->>'vram_used_bytes')::bigint / ${MIB}::int`,
        )},
        encoder_sessions_other = ${beyond(
          Sql.sql`encoder_sessions_claimed`,
          Sql.sql`encoder_sessions_other`,
          Sql.sql`(held.gpu->>'encoder_sessions')::int`,
        )},
        updated_at = ${now}
      FROM held WHERE wolf.id = held.id RETURNING wolf.id, wolf.epoch, held.usage, held.sample_ids
    ), sample AS (${samplesOf(Sql.sql`changed`, now)})
    SELECT id, epoch FROM changed`;
  const changed = new Set(rows.map(({ id, epoch }) => `${id} ${epoch}`));
  return all.map(({ id, epoch }) => changed.has(`${id} ${epoch}`));
}

/** Of one wolf the newest word on each thing. */
function merged(beats: readonly Beat[]): Beat[] {
  const byId = new Map<string, Beat>();
  for (const beat of beats) {
    const { gpuType, maxSandboxes, daemon } = byId.get(beat.id) ?? {};
    byId.set(beat.id, {
      ...beat,
      gpuType: beat.gpuType ?? gpuType,
      maxSandboxes: beat.maxSandboxes ?? maxSandboxes,
      daemon: beat.daemon && { gpuType: daemon?.gpuType, disks: daemon?.disks, ...defined(beat.daemon) },
    });
  }
  return [...byId.values()];
}

const defined = <Value extends object>(value: Value): Value =>
  Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Value;

/** For each whether there is such a wolf. */
async function allHeartbeats(prisma: Prisma, all: readonly Beat[]): Promise<boolean[]> {
  const now = latest(all);
  const json = merged(all).map(({ id, gpuType, maxSandboxes, daemon }) => ({
    id,
    gpu_type: gpuType ?? null,
    max_sandboxes: maxSandboxes ?? null,
    is_daemon: daemon !== undefined,
    daemon_gpu: daemon?.gpuType ?? null,
    usage: daemon?.disks?.usage ?? null,
    sample_ids: daemon?.disks?.sampleIds ?? [],
  }));
  // Of the row as it was. Whether a wolf is there that has had a tunnel, its tunnel says.
  const counts = Sql.sql`(epoch = 0 OR NOT held.is_daemon)`;
  const takes = Sql.sql`(NOT ${isSaidByOurs} AND held.usage IS NOT NULL)`;
  const rows = await prisma.$queryRaw<{ id: string }[]>`
    WITH held AS MATERIALIZED (
      SELECT said.id, said.gpu_type, said.max_sandboxes, said.is_daemon, said.daemon_gpu, NULLIF(said.usage, 'null') AS usage,
        said.sample_ids
      FROM jsonb_to_recordset(${JSON.stringify(json)}::jsonb) AS said(id text, gpu_type text, max_sandboxes int, is_daemon bool,
        daemon_gpu text, usage jsonb, sample_ids jsonb)
      JOIN wolf_instance wolf ON wolf.id = said.id ORDER BY wolf.id FOR NO KEY UPDATE OF wolf
    ), wolf AS (
      UPDATE wolf_instance wolf SET last_heartbeat = CASE WHEN ${counts} THEN ${now} ELSE last_heartbeat END, updated_at = ${now},
        gpu_type = COALESCE(held.gpu_type, CASE WHEN NOT ${isSaidByOurs} THEN held.daemon_gpu END, wolf.gpu_type),
        usage = CASE WHEN ${takes} THEN held.usage ELSE wolf.usage END,
        usage_at = CASE WHEN ${takes} THEN ${now} ELSE usage_at END,
        max_sandboxes = COALESCE(held.max_sandboxes, wolf.max_sandboxes),
        connectivity_since = CASE WHEN connectivity = 'lost' AND ${counts} THEN ${now} ELSE connectivity_since END,
        connectivity = CASE WHEN connectivity = 'lost' AND ${counts} THEN 'connected' ELSE connectivity END
      FROM held WHERE wolf.id = held.id
      RETURNING wolf.id, CASE WHEN ${takes} THEN held.usage END AS usage, held.sample_ids
    ), sample AS (${samplesOf(Sql.sql`wolf`, now)})
    SELECT id FROM wolf`;
  const known = new Set(rows.map(({ id }) => id));
  return all.map(({ id }) => known.has(id));
}

/**
 * The part of a statement that writes disk samples of the rows (id, usage, sample_ids) of `found`: one per mount and slot, and a
 * bounded number per wolf and slot, since mounts are whatever the host calls so.
 */
function samplesOf(found: Sql.Sql, now: Date): Sql.Sql {
  const slot = Sql.sql`${diskSlotOf(now)}::int`;
  return Sql.sql`
    INSERT INTO disk_sample (id, wolf_instance_id, mount, slot, at, total_bytes, used_bytes, available_bytes, level)
    SELECT disk.id, found.id, disk.mount, ${slot}, ${now}, disk.total_bytes, disk.used_bytes, disk.available_bytes, disk.level
    FROM ${found} AS found CROSS JOIN LATERAL (
      SELECT sample.id, (disk->>'mount') AS mount, (disk->>'total_bytes')::bigint AS total_bytes,
        (disk->>'used_bytes')::bigint AS used_bytes, (disk->>'available_bytes')::bigint AS available_bytes, disk->>'level' AS level
      FROM ROWS FROM (jsonb_array_elements(found.usage->'disks'), jsonb_array_elements_text(found.sample_ids)) AS sample(disk, id)
      WHERE disk IS NOT NULL AND NOT EXISTS (SELECT 1 FROM disk_sample known
        WHERE known.wolf_instance_id = found.id AND known.slot = ${slot} AND known.mount = disk->>'mount')
      LIMIT GREATEST(0, ${DISK_SAMPLES_PER_SLOT_MAX}::int
        - (SELECT count(*) FROM disk_sample WHERE wolf_instance_id = found.id AND slot = ${slot}))
    ) AS disk
    ON CONFLICT (wolf_instance_id, slot, mount) DO NOTHING`;
}
