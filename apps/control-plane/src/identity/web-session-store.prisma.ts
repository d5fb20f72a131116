/** Browsers' sessions in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { revoke } from "./revocation-store.prisma.ts";
import type { LiveWebSession, WebSessionStore } from "./web-session-store.ts";

export function prismaWebSessionStore(prisma: Prisma): WebSessionStore {
  return {
    async add({ id, userId, apiKeyId, hash, createdAt, expiresAt }) {
      await prisma.webSession.create({
        data: {
          id,
          user_id: userId,
          api_key_id: apiKeyId,
          hash,
          created_at: createdAt,
          expires_at: expiresAt,
        },
      });
    },

    async find(hash, now) {
      const row = await prisma.webSession.findFirst({
        where: {
          hash,
          revoked_at: null,
          expires_at: { gt: now },
          user: { disabled_at: null },
          api_key: { revoked_at: null, OR: [{ expires_at: null }, { expires_at: { gt: now } }] },
        },
        include: { user: true, api_key: true },
      });
      if (row === null) return undefined;
      return {
        id: row.id,
        userId: row.user_id,
        apiKeyId: row.api_key_id,
        expiresAt: earlier(row.expires_at, row.api_key.expires_at),
        role: row.user.role as LiveWebSession["role"],
        scopes: row.api_key.scopes as LiveWebSession["scopes"],
      };
    },

    end: (id, now) =>
      prisma.$transaction(async (tx) => {
        const { count } = await tx.webSession.updateMany({
          where: { id, revoked_at: null },
          data: { revoked_at: now },
        });
        if (count === 1) await revoke(tx, "web-session", id);
        return count === 1;
      }),
  };
}

const earlier = (one: Date, other: Date | null) => (other === null || one < other ? one : other);
