/** Disk samples in PostgreSQL. They are written with a wolf's figures, in the statement that checks its epoch (wolf-figures.prisma.ts). */
import { DiskLevel } from "@wolfpack/api-contract";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { DiskHistoryStore } from "./disk-history.ts";

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
