/** Join tokens in PostgreSQL. Their use is part of an enrolment: agent-enrolment.prisma.ts. */
import type { Prisma } from "../database/prisma.prisma.ts";
import type { JoinToken } from "../generated/client.ts";
import type { JoinTokenRecord, JoinTokenStore } from "./join-token-store.ts";

const toRecord = (row: JoinToken): JoinTokenRecord => ({
  id: row.id,
  wolfName: row.wolf_name,
  labels: row.labels as Record<string, string>,
  uses: row.uses,
  usesMax: row.uses_max,
  createdBy: row.created_by,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
});

export function prismaJoinTokenStore(prisma: Prisma): JoinTokenStore {
  return {
    async add({ id, hash, wolfName, labels, usesMax, createdBy, createdAt, expiresAt }) {
      const row = await prisma.joinToken.create({
        data: {
          id,
          hash,
          wolf_name: wolfName,
          labels,
          uses_max: usesMax,
          created_by: createdBy,
          created_at: createdAt,
          expires_at: expiresAt,
        },
      });
      return toRecord(row);
    },

    async find(hash) {
      const row = await prisma.joinToken.findUnique({ where: { hash } });
      return row !== null && row.revoked_at === null ? toRecord(row) : undefined;
    },

    async list({ limit, after }) {
      const rows = await prisma.joinToken.findMany({
        where: after === undefined ? {} : { id: { gt: after } },
        orderBy: { id: "asc" },
        take: limit,
      });
      return rows.map(toRecord);
    },

    async revoke(id, now) {
      const count = await prisma.$executeRaw`
        UPDATE join_token SET revoked_at = COALESCE(revoked_at, ${now}) WHERE id = ${id}`;
      return count === 1;
    },
  };
}
