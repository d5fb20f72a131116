/** Events in PostgreSQL. Triggers write those of statuses and axes, in the transaction that makes the change. */
import type { Prisma } from "../database/prisma.prisma.ts";
import type { EventStore } from "./event-store.ts";

export function prismaEventStore(prisma: Prisma): EventStore {
  return {
    async add({ sessionId, wolfId, ownerId, detail, ...same }) {
      await prisma.fleetEvent.create({
        data: {
          ...same,
          session_id: sessionId,
          wolf_instance_id: wolfId,
          owner_id: ownerId,
          detail: detail as object,
        },
      });
    },

    async list({ limit, after, newestFirst, kind, sessionId, wolfId, seenBy }) {
      const equal = { kind, session_id: sessionId, wolf_instance_id: wolfId };
      const rows = await prisma.fleetEvent.findMany({
        where: {
          ...Object.fromEntries(Object.entries(equal).filter(([, value]) => value !== undefined)),
          ...(after === undefined ? {} : { id: newestFirst ? { lt: after } : { gt: after } }),
          ...(seenBy === undefined ? {} : { OR: [{ session_id: null }, { owner_id: seenBy }] }),
        },
        orderBy: { id: newestFirst ? "desc" : "asc" },
        take: limit,
      });
      return rows.map((row) => ({
        id: row.id,
        at: row.at,
        kind: row.kind,
        sessionId: row.session_id,
        wolfId: row.wolf_instance_id,
        ownerId: row.owner_id,
        detail: row.detail as Record<string, unknown>,
      }));
    },

    async prune(cutoff, max) {
      // Rows that another replica is removing are its own to count. An array: see disk-history.prisma.ts.
      return prisma.$executeRaw`
        DELETE FROM fleet_event WHERE id = ANY (ARRAY
          (SELECT id FROM fleet_event WHERE at < ${cutoff} ORDER BY at LIMIT ${max} FOR UPDATE SKIP LOCKED))`;
    },
  };
}
