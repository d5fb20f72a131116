/** Creating requests that have a key, in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import type { Claim, IdempotencyStore } from "./idempotency-store.ts";

/** A key that is released between the two statements is asked for again; it cannot go on like that for long. */
const CLAIM_TRIES = 5;

export function prismaIdempotencyStore(prisma: Prisma): IdempotencyStore {
  const running = ({ owner, key, createdAt }: Claim) => ({
    where: { owner, key, created_at: createdAt, status: null },
  });

  return {
    async claim(claim) {
      const { owner, key, operation, requestHash, createdAt, expiresAt } = claim;
      for (let tries = CLAIM_TRIES; tries > 0; tries -= 1) {
        const claimed = await prisma.$executeRaw`
          INSERT INTO idempotency_key (owner, key, operation, request_hash, created_at, expires_at)
          VALUES (${owner}, ${key}, ${operation}, ${requestHash}, ${createdAt}, ${expiresAt})
          ON CONFLICT (owner, key) DO UPDATE SET operation = EXCLUDED.operation, request_hash = EXCLUDED.request_hash,
            status = NULL, answer = NULL, created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at
          WHERE idempotency_key.expires_at <= ${createdAt}`;
        if (claimed === 1) return undefined;
        const row = await prisma.idempotencyKey.findUnique({ where: { owner_key: { owner, key } } });
        if (row)
          return {
            operation: row.operation,
            requestHash: row.request_hash,
            answer: row.answer ?? undefined,
          };
      }
      return { operation, requestHash, answer: undefined };
    },

    async renew(claim, until) {
      const { count } = await prisma.idempotencyKey.updateMany({
        ...running(claim),
        data: { expires_at: until },
      });
      return count === 1;
    },

    async keep(claim, status, answer, expiresAt) {
      await prisma.idempotencyKey.updateMany({
        ...running(claim),
        data: { status, answer, expires_at: expiresAt },
      });
    },

    async release(claim) {
      await prisma.idempotencyKey.deleteMany(running(claim));
    },
  };
}
