/** Users and keys in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { type ApiKey, Prisma as Sql, type User } from "../generated/client.ts";
import type { ApiKeyRecord, IdentityStore, UserRecord } from "./identity-store.ts";
import { revoke } from "./revocation-store.prisma.ts";

const toUser = (row: User): UserRecord => ({
  id: row.id,
  name: row.name,
  role: row.role as UserRecord["role"],
  createdAt: row.created_at,
});

const toKey = (row: ApiKey): ApiKeyRecord => ({
  id: row.id,
  userId: row.user_id,
  name: row.name,
  prefix: row.prefix,
  scopes: row.scopes as ApiKeyRecord["scopes"],
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
  revokedAt: row.revoked_at,
});

interface UserColumns {
  user_name: string;
  user_role: UserRecord["role"];
  user_created_at: Date;
}

/** Revocations take turns on this lock, so that two of them cannot each leave the other's key as the last. */
const REVOKE_LOCK = 7_301_990_412;

export function prismaIdentityStore(prisma: Prisma): IdentityStore {
  return {
    async addUser({ id, name, role }, now) {
      const { count } = await prisma.user.createMany({
        data: [{ id, name, role, created_at: now }],
        skipDuplicates: true,
      });
      return count === 1;
    },

    async user(id) {
      const row = await prisma.user.findUnique({ where: { id } });
      return row ? toUser(row) : undefined;
    },

    async userByName(name) {
      const row = await prisma.user.findUnique({ where: { name } });
      return row ? toUser(row) : undefined;
    },

    async users({ limit, after }) {
      const rows = await prisma.user.findMany({
        where: after ? { id: { gt: after } } : {},
        orderBy: { id: "asc" },
        take: limit,
      });
      return rows.map(toUser);
    },

    async addApiKey({ id, userId, name, prefix, scopes, hash, expiresAt }, now) {
      return toKey(
        await prisma.apiKey.create({
          data: {
            id,
            user_id: userId,
            name,
            prefix,
            scopes: scopes === null ? Sql.DbNull : [...scopes],
            hash,
            created_at: now,
            expires_at: expiresAt,
          },
        }),
      );
    },

    async findApiKey(hash, now) {
      // By hand: at every call that is not remembered, and Prisma's own way to two tables costs more than twice as much.
      const [row] = await prisma.$queryRaw<(ApiKey & UserColumns)[]>`
        SELECT api_key.*, owner.name AS user_name, owner.role AS user_role, owner.created_at AS user_created_at
        FROM api_key JOIN user_account owner ON owner.id = api_key.user_id
        WHERE hash = ${hash} AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ${now}) AND disabled_at IS NULL`;
      if (row === undefined) return undefined;
      const { user_id: id, user_name: name, user_role: role, user_created_at: createdAt } = row;
      return { key: toKey(row), user: { id, name, role, createdAt } };
    },

    async apiKeys(userId, { limit, after }) {
      const where = {
        ...(userId === undefined ? {} : { user_id: userId }),
        ...(after ? { id: { gt: after } } : {}),
      };
      return (await prisma.apiKey.findMany({ where, orderBy: { id: "asc" }, take: limit })).map(toKey);
    },

    async apiKey(id) {
      const row = await prisma.apiKey.findUnique({ where: { id } });
      return row ? toKey(row) : undefined;
    },

    async revokeApiKey(id, now) {
      return prisma.$transaction(async (tx) => {
        await tx.$queryRaw`SELECT 1 AS locked FROM (SELECT pg_advisory_xact_lock(${REVOKE_LOCK}::bigint)) AS taken`;
        const ended = await tx.$executeRaw`
          UPDATE api_key SET revoked_at = COALESCE(revoked_at, ${now})
          WHERE id = ${id} AND (
            (SELECT role FROM user_account WHERE id = api_key.user_id) <> 'admin'
            OR EXISTS (
              SELECT 1 FROM api_key other JOIN user_account owner ON owner.id = other.user_id
              WHERE owner.role = 'admin' AND other.id <> ${id} AND other.revoked_at IS NULL
                AND (other.expires_at IS NULL OR other.expires_at > ${now})
            )
          )`;
        if (ended === 0) return "last-admin";
        await revoke(tx, "api-key", id);
        return "revoked";
      });
    },

    async markUsed(id, now, quietMs) {
      const before = new Date(now.getTime() - quietMs);
      await prisma.$executeRaw`
        UPDATE api_key SET last_used_at = ${now} WHERE id = ${id} AND (last_used_at IS NULL OR last_used_at <= ${before})`;
    },
  };
}
