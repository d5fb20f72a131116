/** Disk samples in PostgreSQL. They are written with a wolf's figures, in the statement that checks its epoch (wolf-figures.prisma.ts). */
import { DiskLevel } from "@wolfpack/api-contract";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { DiskHistoryStore } from "./disk-history.ts";

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
  };
}
