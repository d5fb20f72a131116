/** Users and keys in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { type ApiKey, Prisma as Sql, type User } from "../generated/client.ts";
import type { ApiKeyRecord, IdentityStore, UserRecord } from "./identity-store.ts";
import { revoke } from "./revocation-store.prisma.ts";

const toUser = (row: User): UserRecord => ({
  id: row.id,
  name: row.name,
  role: row.role as UserRecord["role"],
  disabled: row.disabled_at !== null,
  sessionsMax: row.sessions_max,
  createsPerMinute: row.creates_per_minute,
  revision: row.revision,
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

/** Whatever may take an admin away takes turns on this lock, so that two changes cannot each leave the other's admin as the last. */
const ADMINS_LOCK = 7_301_990_412;
const lockAdmins = (tx: Pick<Prisma, "$queryRaw">) =>
  tx.$queryRaw`SELECT 1 AS locked FROM (SELECT pg_advisory_xact_lock(${ADMINS_LOCK}::bigint)) AS taken`;

/** An admin that is not disabled has a valid key that manages users, besides those that the condition leaves out. */
const anAdminRemains = (now: Date, besides: Sql.Sql) => Sql.sql`EXISTS (
  SELECT 1 FROM api_key held JOIN user_account holder ON holder.id = held.user_id
  WHERE holder.role = 'admin' AND holder.disabled_at IS NULL AND held.revoked_at IS NULL
    AND (held.expires_at IS NULL OR held.expires_at > ${now})
    AND (held.scopes IS NULL OR held.scopes @> '["identity"]'::jsonb)
    AND ${besides}
)`;

/** A user's row beside that of a key. */
interface UserColumns {
  user_name: string;
  user_role: UserRecord["role"];
  user_created_at: Date;
  sessions_max: number | null;
  creates_per_minute: number | null;
  revision: number;
}

export function prismaIdentityStore(prisma: Prisma): IdentityStore {
  return {
    async addUser({ id, name, role }, now) {
      const data = [{ id, name, role, created_at: now }];
      const [row] = await prisma.user.createManyAndReturn({ data, skipDuplicates: true });
      return row && toUser(row);
    },

    async user(id) {
      const row = await prisma.user.findUnique({ where: { id } });
      return row ? toUser(row) : undefined;
    },

    async userByName(name) {
      const row = await prisma.user.findUnique({ where: { name } });
      return row ? toUser(row) : undefined;
    },

    async users({ limit, after, name, role, disabled }) {
      const where = {
        ...(after === undefined ? {} : { id: { gt: after } }),
        ...(name === undefined ? {} : { name }),
        ...(role === undefined ? {} : { role }),
        ...(disabled === undefined ? {} : { disabled_at: disabled ? { not: null } : null }),
      };
      return (await prisma.user.findMany({ where, orderBy: { id: "asc" }, take: limit })).map(toUser);
    },

    userNames: (ids) =>
      prisma.user.findMany({ where: { id: { in: [...ids] } }, select: { id: true, name: true } }),

    changeUser(before, { role, disabled, sessionsMax, createsPerMinute }, now) {
      return prisma.$transaction(async (tx) => {
        await lockAdmins(tx);
        const [row] = await tx.$queryRaw<User[]>`
          UPDATE user_account SET role = ${role}, sessions_max = ${sessionsMax}, creates_per_minute = ${createsPerMinute},
            disabled_at = CASE WHEN ${disabled} THEN COALESCE(disabled_at, ${now}) END, revision = revision + 1
          WHERE id = ${before.id} AND revision = ${before.revision} AND (
            (${role} = 'admin' AND NOT ${disabled}) OR role <> 'admin' OR disabled_at IS NOT NULL
            OR ${anAdminRemains(now, Sql.sql`holder.id <> ${before.id}`)}
          )
          RETURNING *`;
        if (row === undefined) {
          const found = await tx.user.findUnique({ where: { id: before.id } });
          return found?.revision === before.revision ? "last-admin" : "changed-meanwhile";
        }
        // A browser does not come back by itself when its user is enabled again.
        if (disabled)
          await tx.$executeRaw`
            UPDATE web_session SET revoked_at = ${now} WHERE user_id = ${before.id} AND revoked_at IS NULL`;
        if (disabled || role !== before.role) await revoke(tx, "user", before.id);
        return toUser(row);
      });
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
        SELECT api_key.*, owner.name AS user_name, owner.role AS user_role, owner.created_at AS user_created_at,
          owner.sessions_max, owner.creates_per_minute, owner.revision
        FROM api_key JOIN user_account owner ON owner.id = api_key.user_id
        WHERE hash = ${hash} AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ${now}) AND disabled_at IS NULL`;
      if (row === undefined) return undefined;
      const user: UserRecord = {
        id: row.user_id,
        name: row.user_name,
        role: row.user_role,
        disabled: false,
        sessionsMax: row.sessions_max,
        createsPerMinute: row.creates_per_minute,
        revision: row.revision,
        createdAt: row.user_created_at,
      };
      return { key: toKey(row), user };
    },

    async apiKeys({ limit, after, userId, revoked }) {
      const where = {
        ...(userId === undefined ? {} : { user_id: userId }),
        ...(after === undefined ? {} : { id: { gt: after } }),
        ...(revoked === undefined ? {} : { revoked_at: revoked ? { not: null } : null }),
      };
      return (await prisma.apiKey.findMany({ where, orderBy: { id: "asc" }, take: limit })).map(toKey);
    },

    async apiKey(id) {
      const row = await prisma.apiKey.findUnique({ where: { id } });
      return row ? toKey(row) : undefined;
    },

    revokeApiKey(id, now) {
      return prisma.$transaction(async (tx) => {
        await lockAdmins(tx);
        const count = await tx.$executeRaw`
          UPDATE api_key SET revoked_at = COALESCE(revoked_at, ${now})
          WHERE id = ${id} AND (
            (SELECT role FROM user_account WHERE id = api_key.user_id) <> 'admin'
            OR ${anAdminRemains(now, Sql.sql`held.id <> ${id}`)}
          )`;
        if (count === 0) return "last-admin";
        const opened = await tx.$queryRaw<{ id: string }[]>`
          UPDATE web_session SET revoked_at = ${now} WHERE api_key_id = ${id} AND revoked_at IS NULL RETURNING id`;
        for (const session of opened) await revoke(tx, "web-session", session.id);
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
