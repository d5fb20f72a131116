/** Disk samples in PostgreSQL. They are written with a wolf's figures, in the statement that checks its epoch (wolf-store.prisma.ts). */
import { DiskLevel } from "@wolfpack/api-contract";
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { DISK_SAMPLES_PER_SLOT_MAX, type DiskHistoryStore, diskSlotOf } from "./disk-history.ts";
import type { UsageReport } from "./wolf-store.ts";

/** Any number that nothing else in this database locks on. */
const PRUNE_LOCK = 7_301_990_413;
/** One statement removes so many: it holds its locks for a moment only. */
const PRUNE_BATCH_MAX = 10_000;

export function prismaDiskHistoryStore(prisma: Prisma): DiskHistoryStore {
  return {
    async list({ wolfId, limit, after, mount, since, until, newest = false }) {
      const rows = await prisma.diskSample.findMany({
        where: {
          wolf_instance_id: wolfId,
          ...(after ? { id: { gt: after } } : {}),
          ...(mount === undefined ? {} : { mount }),
          at: { ...(since ? { gte: since } : {}), ...(until ? { lt: until } : {}) },
        },
        orderBy: { id: "asc" },
        // A negative number is counted from the end.
        take: newest ? -limit : limit,
      });
      return rows.map((row) => ({
        id: row.id,
        at: row.at.toISOString(),
        mount: row.mount,
        // Safe integers when they came in.
        total_bytes: Number(row.total_bytes),
        used_bytes: Number(row.used_bytes),
        available_bytes: Number(row.available_bytes),
        level: DiskLevel.parse(row.level),
      }));
    },

    async prune(cutoff) {
      for (let removed = 0; ; ) {
        const batch = await prisma.$transaction(async (tx) => {
          const [lock] = await tx.$queryRaw<
            { taken: boolean }[]
          >`SELECT pg_try_advisory_xact_lock(${PRUNE_LOCK}::bigint) AS taken`;
          if (lock?.taken !== true) return "busy" as const;
          // An array: of a table whose statistics are old, the planner would look for each id in all rows of a subquery.
          return tx.$executeRaw`
            DELETE FROM disk_sample WHERE id = ANY (ARRAY
              (SELECT id FROM disk_sample WHERE at < ${cutoff} ORDER BY at LIMIT ${PRUNE_BATCH_MAX}))`;
        });
        if (batch === "busy") return removed > 0 ? removed : "busy";
        removed += batch;
        if (batch < PRUNE_BATCH_MAX) return removed;
      }
    },
  };
}

/**
 * The part of a statement that writes them if there is a row of `found`: one per mount and slot, and a bounded number per wolf and slot,
 * since mounts are whatever the host calls so.
 */
export function diskSamples(
  wolfId: string,
  found: Sql.Sql,
  { usage: { disks }, sampleIds }: Pick<UsageReport, "usage" | "sampleIds">,
  now: Date,
): Sql.Sql {
  const slot = diskSlotOf(now);
  const column = (figure: "total_bytes" | "used_bytes" | "available_bytes") =>
    disks.map((disk) => BigInt(disk[figure]));
  return Sql.sql`
    INSERT INTO disk_sample (id, wolf_instance_id, mount, slot, at, total_bytes, used_bytes, available_bytes, level)
    SELECT disk.id, ${wolfId}, disk.mount, ${slot}::int, ${now}, disk.total_bytes, disk.used_bytes, disk.available_bytes, disk.level
    FROM unnest(${[...sampleIds]}::text[], ${disks.map(({ mount }) => mount)}::text[], ${column("total_bytes")}::bigint[],
      ${column("used_bytes")}::bigint[], ${column("available_bytes")}::bigint[], ${disks.map(({ level }) => level)}::text[])
      AS disk(id, mount, total_bytes, used_bytes, available_bytes, level)
    WHERE EXISTS (SELECT 1 FROM ${found})
    LIMIT GREATEST(0, ${DISK_SAMPLES_PER_SLOT_MAX}::int
      - (SELECT count(*) FROM disk_sample WHERE wolf_instance_id = ${wolfId} AND slot = ${slot}::int))
    ON CONFLICT (wolf_instance_id, slot, mount) DO NOTHING`;
}
