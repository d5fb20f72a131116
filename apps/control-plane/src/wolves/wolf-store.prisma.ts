/** Wolves in PostgreSQL: hand-written statements, each guarded by what must still hold (an ORM's read-then-write overcommits). */
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { WolfInstance } from "../generated/client.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { revoke } from "../identity/revocation-store.prisma.ts";
import { newId } from "../ids.ts";
import { issuingEpochs } from "./wolf-epochs.prisma.ts";
import { figures } from "./wolf-figures.prisma.ts";
import { derivedStatus } from "./wolf-lifecycle.ts";
import { labelsOfTokens, newsOf } from "./wolf-news.prisma.ts";
import { toWolf, type WolfRow } from "./wolf-row.prisma.ts";
import { isFree, quarantineIf, steering } from "./wolf-steering.prisma.ts";
import { type Heartbeat, nativeTunnel, type TunnelKey, undescribed, type WolfStore } from "./wolf-store.ts";

/** `replica`: who opens tunnels here. */
export function prismaWolfStore(prisma: Prisma, replica: string | null = null): WolfStore {
  return { ...steering(prisma), ...figures(prisma), ...reporting(prisma, replica) };
}

const INT_MAX = 2 ** 31 - 1;
/** The second finds what another has made, unless it has been removed meanwhile. */
const SAME_NAME_ATTEMPTS_MAX = 5;
/** A host may say what no column holds. */
const atMostInt = (count: number | null) => (count === null ? null : Math.min(count, INT_MAX));

type Others = Omit<WolfStore, keyof ReturnType<typeof steering> | keyof ReturnType<typeof figures>>;

function reporting(prisma: Prisma, replica: string | null): Others {
  const { isKnown, opened } = newsOf(prisma);
  const issueEpoch = issuingEpochs(prisma, replica);
  // A fleet that comes back names all its wolves at once.
  const getByName = inBatches(async (names: readonly string[]) => {
    const rows = await prisma.$queryRaw<
      WolfRow[]
    >`SELECT * FROM wolf_instance WHERE name = ANY(${[...new Set(names)]}::text[])`;
    const byName = new Map(rows.map((row) => [row.name, row]));
    return names.map((name) => {
      const row = byName.get(name);
      return row && toWolf(row);
    });
  });
  return {
    async register(
      {
        id,
        name,
        address,
        gpuType,
        maxSandboxes,
        labels,
        region,
        costPerHour,
        agentVersion,
        encoderSessionsMax,
      },
      now,
    ) {
      const rows = await prisma.$queryRaw<WolfInstance[]>`
        INSERT INTO wolf_instance (id, name, address, gpu_type, max_sandboxes, labels, region, cost_per_hour, agent_version,
          encoder_sessions_max, connectivity, connectivity_since, intent_since, last_heartbeat, created_at, updated_at)
        VALUES (${id}, ${name}, ${address}, ${gpuType}, ${maxSandboxes}, ${JSON.stringify(labels)}::jsonb, ${region}, ${costPerHour},
          ${agentVersion}, ${encoderSessionsMax}::int, 'connected', ${now}, ${now}, ${now}, ${now}, ${now})
        ON CONFLICT (name) DO UPDATE SET
          address = EXCLUDED.address, gpu_type = EXCLUDED.gpu_type, max_sandboxes = EXCLUDED.max_sandboxes,
          labels = EXCLUDED.labels, region = EXCLUDED.region, cost_per_hour = EXCLUDED.cost_per_hour,
          agent_version = EXCLUDED.agent_version, encoder_sessions_max = EXCLUDED.encoder_sessions_max, last_heartbeat = EXCLUDED.last_heartbeat, updated_at = EXCLUDED.updated_at,
          connectivity = CASE WHEN wolf_instance.connectivity = 'lost' THEN 'connected' ELSE wolf_instance.connectivity END,
          connectivity_since = CASE WHEN wolf_instance.connectivity = 'lost' THEN EXCLUDED.connectivity_since
            ELSE wolf_instance.connectivity_since END
        RETURNING *`;
      return toWolf(rows[0] as WolfInstance);
    },

    async registerOnConnect(name, address, now, id = newId("wlf")) {
      const { gpuType, maxSandboxes } = undescribed;
      // A statement does not see a row that was made since it began, only that there is one: the next one sees it.
      for (let attempt = 0; attempt < SAME_NAME_ATTEMPTS_MAX; attempt += 1) {
        const [row] = await prisma.$queryRaw<WolfInstance[]>`
          WITH made AS (
            INSERT INTO wolf_instance (id, name, address, gpu_type, max_sandboxes, connectivity, connectivity_since, intent_since,
              last_heartbeat, created_at, updated_at)
            VALUES (${id}, ${name}, ${address}, ${gpuType}, ${maxSandboxes}, 'connected', ${now}, ${now}, ${now}, ${now}, ${now})
            ON CONFLICT (name) DO NOTHING RETURNING *
          )
          SELECT * FROM made UNION ALL SELECT * FROM wolf_instance WHERE name = ${name}`;
        if (row !== undefined) return toWolf(row);
      }
      throw new Error("a wolf of this name is made and removed all the time");
    },

    async heartbeats(beats, now) {
      if (beats.length === 0) return 0;
      return prisma.$executeRaw`
        WITH live AS (
          SELECT wolf_instance.id, tunnel.rtt_ms FROM wolf_instance JOIN ${heard(beats)}
            ON wolf_instance.id = tunnel.id AND wolf_instance.epoch = tunnel.epoch
          ORDER BY wolf_instance.id FOR NO KEY UPDATE OF wolf_instance
        )
        UPDATE wolf_instance SET last_heartbeat = ${now}, tunnel_rtt_ms = COALESCE(live.rtt_ms, tunnel_rtt_ms), tunnel_since = COALESCE(tunnel_since, ${now}),
          connectivity_since = CASE WHEN connectivity = 'connected' THEN connectivity_since ELSE ${now} END,
          updated_at = CASE WHEN connectivity = 'connected' THEN updated_at ELSE ${now} END, connectivity = 'connected'
        FROM live WHERE wolf_instance.id = live.id`;
    },

    async epochs(ids) {
      const rows = await prisma.$queryRaw<{ id: string; epoch: number }[]>`
        SELECT id, epoch FROM wolf_instance WHERE id = ANY(${ids}::text[])`;
      return new Map(rows.map(({ id, epoch }) => [id, epoch]));
    },

    async get(id) {
      const row = await prisma.wolfInstance.findUnique({ where: { id } });
      return row ? toWolf(row) : undefined;
    },

    getByName,

    async list({ limit, after, status, gpuType, intent, region, name }) {
      const states = Object.entries(derivedStatus).flatMap(([connectivity, byHealth]) =>
        Object.entries(byHealth).flatMap(([health, derived]) =>
          derived === status ? [{ connectivity, health }] : [],
        ),
      );
      const conditions = [
        Sql.sql`true`,
        ...(after ? [Sql.sql`id > ${after}`] : []),
        ...(status
          ? [
              Sql.sql`(connectivity, health) IN (SELECT * FROM unnest(${states.map(({ connectivity }) => connectivity)}::text[],
                ${states.map(({ health }) => health)}::text[]))`,
            ]
          : []),
        ...(gpuType ? [Sql.sql`gpu_type = ${gpuType}`] : []),
        ...(intent ? [Sql.sql`intent = ${intent}`] : []),
        ...(region ? [Sql.sql`region = ${region}`] : []),
        ...(name ? [Sql.sql`name = ${name}`] : []),
      ];
      // By hand: what Prisma makes of 50 rows of 50 columns takes half as long again.
      const rows = await prisma.$queryRaw<WolfRow[]>`
        SELECT * FROM wolf_instance WHERE ${Sql.join(conditions, " AND ")} ORDER BY id LIMIT ${limit}`;
      return rows.map(toWolf);
    },

    async candidates() {
      return (
        await prisma.wolfInstance.findMany({
          where: { intent: { not: "retired" } },
          orderBy: { id: "asc" },
          // Kilobytes per wolf that no policy reads.
          omit: { host: true, usage: true, images: true },
        })
      ).map(toWolf);
    },

    async deregister(id, force, now) {
      return prisma.$transaction(async (tx) => {
        // Sessions are locked before their wolf here and everywhere else: no deadlock with one that is just ending. So those that
        // were claimed until the wolf was locked are failed with the wolf let go, and then it is looked at again.
        for (;;) {
          if (force) await failSessions(tx, id, now);
          await tx.$executeRaw`SAVEPOINT before_wolf`;
          const [found] = await tx.$queryRaw<
            { id: string }[]
          >`SELECT id FROM wolf_instance WHERE id = ${id} FOR UPDATE`;
          if (found === undefined) return "unknown";
          const deleted = await tx.$executeRaw`
            DELETE FROM wolf_instance WHERE id = ${id}
              AND NOT EXISTS (SELECT 1 FROM session WHERE wolf_instance_id = ${id} AND ended_at IS NULL)`;
          if (deleted === 1) break;
          if (!force) return "has-sessions";
          await tx.$executeRaw`ROLLBACK TO SAVEPOINT before_wolf`;
        }
        await revoke(tx, "wolf", id);
        return "deleted";
      });
    },

    async openTunnel(id, now, by = nativeTunnel, tunnel = {}) {
      const row = await issueEpoch({ id, now, by, tunnel });
      if (row === undefined) return undefined;
      opened(row);
      return toWolf(row);
    },

    async loseTunnel(id, epoch, rules, now) {
      const windowStart = new Date(now.getTime() - rules.flapWindowMs);
      const flaps = Sql.sql`CASE WHEN flaps_since >= ${windowStart} THEN flaps + 1 ELSE 1 END`;
      const tooMany = Sql.sql`(${flaps} >= ${rules.flapsMax}::int AND ${isFree(now)})`;
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET connectivity = 'suspect', connectivity_since = ${now}, tunnel_since = NULL, updated_at = ${now},
          flaps = ${flaps}, flaps_since = CASE WHEN flaps_since >= ${windowStart} THEN flaps_since ELSE ${now} END,
          ${quarantineIf(tooMany, "tunnel-flaps", rules, now)}
        WHERE id = ${id} AND epoch = ${epoch} AND tunnel_since IS NOT NULL`;
      return count === 1;
    },

    async markLost(id, epoch, now) {
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET connectivity = 'lost', connectivity_since = ${now}, updated_at = ${now}
        WHERE id = ${id} AND epoch = ${epoch} AND connectivity = 'suspect' AND tunnel_since IS NULL`;
      return count === 1;
    },

    async listSuspect(cutoff) {
      return prisma.$queryRaw<TunnelKey[]>`
        SELECT id, epoch FROM wolf_instance WHERE connectivity = 'suspect' AND connectivity_since < ${cutoff} ORDER BY id`;
    },

    async changeHealth(id, epoch, health, reasons, now) {
      if (await isKnown(id, epoch, { health, health_reasons: reasons })) return true;
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET health = ${health}, health_reasons = ${JSON.stringify(reasons)}::jsonb, updated_at = ${now}
        WHERE id = ${id} AND epoch = ${epoch}`;
      return count === 1;
    },

    async changeCapabilities(id, epoch, capabilities, now) {
      if (await isKnown(id, epoch, { wolf_capabilities: capabilities })) return true;
      const json = capabilities === null ? null : JSON.stringify(capabilities);
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET wolf_capabilities = ${json}::jsonb, updated_at = ${now}
        WHERE id = ${id} AND epoch = ${epoch}`;
      return count === 1;
    },

    async changeImages(id, epoch, images, now) {
      if (await isKnown(id, epoch, { images })) return true;
      const json = images === null ? null : JSON.stringify(images);
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET images = ${json}::jsonb, updated_at = ${now}
        WHERE id = ${id} AND epoch = ${epoch}`;
      return count === 1;
    },

    async changeReport(id, epoch, report, now) {
      const { gpuType, maxSandboxes, labels, region, costPerHour, agentVersion, host, gpu } = report;
      const said = {
        gpu_type: gpuType,
        max_sandboxes: maxSandboxes,
        labels,
        region,
        cost_per_hour: costPerHour,
        agent_version: agentVersion,
        encoder_sessions_max: report.encoderSessionsMax,
        ...(gpu && { gpu_model: gpu.model, render_node: gpu.renderNode, vram_mb: atMostInt(gpu.vramMb) }),
        ...(host && { host }),
      };
      if (await isKnown(id, epoch, said)) return true;
      const rendering =
        gpu === undefined
          ? Sql.empty
          : Sql.sql`gpu_model = ${gpu.model}, render_node = ${gpu.renderNode}, vram_mb = ${atMostInt(gpu.vramMb)}::int,`;
      const count = await prisma.$executeRaw`
        UPDATE wolf_instance SET gpu_type = ${gpuType}, max_sandboxes = ${maxSandboxes}, labels = ${JSON.stringify(labels)}::jsonb || ${labelsOfTokens(Sql.sql`${id}`)},
          region = ${region}, cost_per_hour = ${costPerHour}, agent_version = ${agentVersion}, ${rendering}
          encoder_sessions_max = ${report.encoderSessionsMax}::int,
          host = COALESCE(${host === undefined ? null : JSON.stringify(host)}::jsonb, host), updated_at = ${now}
        WHERE id = ${id} AND epoch = ${epoch}`;
      return count === 1;
    },

    async findStale(cutoff, live) {
      const rows = await prisma.$queryRaw<
        WolfInstance[]
      >`SELECT * FROM wolf_instance WHERE ${isStale(cutoff, live)} ORDER BY id`;
      return rows.map(toWolf);
    },

    async markStale(cutoff, live, now) {
      const rows = await prisma.$queryRaw<{ name: string }[]>`
        WITH stale AS (
          SELECT id FROM wolf_instance WHERE ${isStale(cutoff, live)} ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE wolf_instance SET connectivity = 'lost', connectivity_since = ${now}, tunnel_since = NULL, updated_at = ${now}
        FROM stale WHERE wolf_instance.id = stale.id RETURNING name`;
      return rows.map(({ name }) => name);
    },

    async orphanTunnels(now, of = "start") {
      const isGone =
        of === "start"
          ? Sql.sql`NOT EXISTS (SELECT 1 FROM replica WHERE replica.id = tunnel_replica_id AND url IS NOT NULL AND lease_until > now())`
          : Sql.sql`(tunnel_replica_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM replica WHERE replica.id = tunnel_replica_id))`;
      return prisma.$queryRaw<TunnelKey[]>`
        WITH had AS (
          SELECT id FROM wolf_instance WHERE tunnel_since IS NOT NULL AND ${isGone} ORDER BY id FOR NO KEY UPDATE
        ), orphaned AS (
          UPDATE wolf_instance SET connectivity = 'suspect', connectivity_since = ${now}, tunnel_since = NULL, updated_at = ${now}
          FROM had WHERE wolf_instance.id = had.id RETURNING wolf_instance.id, epoch
        )
        SELECT id, epoch FROM orphaned
        UNION SELECT id, epoch FROM wolf_instance WHERE connectivity = 'suspect'`;
    },
  };
}

/** Those that have not ended; their wolf's claims go with it. */
function failSessions(tx: Pick<Prisma, "$executeRaw">, wolfId: string, now: Date) {
  return tx.$executeRaw`
    UPDATE session SET status = 'failed', status_since = ${now}, slot_held = false, vram_mb = 0, encoder_sessions = 0,
      create_key = NULL, lock_token = NULL, lock_expires_at = NULL, failure_code = 'wolf-removed',
      failure_reason = 'Its wolf was removed from the fleet.', ended_at = ${now}, updated_at = ${now}
    WHERE wolf_instance_id = ${wolfId} AND ended_at IS NULL`;
}

function isStale(cutoff: Date, live: readonly TunnelKey[]): Sql.Sql {
  return Sql.sql`connectivity = 'connected' AND (last_heartbeat IS NULL OR last_heartbeat < ${cutoff})
    AND NOT EXISTS (SELECT 1 FROM ${tunnels(live)} WHERE tunnel.id = wolf_instance.id AND tunnel.epoch = wolf_instance.epoch)`;
}

/** A table `tunnel (id, epoch)` out of values. */
function heard(beats: readonly Heartbeat[]): Sql.Sql {
  return Sql.sql`unnest(${beats.map(({ id }) => id)}::text[], ${beats.map(({ epoch }) => epoch)}::int[],
    ${beats.map(({ rttMs }) => rttMs ?? null)}::float8[]) AS tunnel(id, epoch, rtt_ms)`;
}

function tunnels(keys: readonly TunnelKey[]): Sql.Sql {
  return Sql.sql`unnest(${keys.map(({ id }) => id)}::text[], ${keys.map(({ epoch }) => epoch)}::int[]) AS tunnel(id, epoch)`;
}
