/** Agents' keys in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { type AgentKey, Prisma as Sql } from "../generated/client.ts";
import { enrollInTransaction, revokeOthers } from "./agent-enrolment.prisma.ts";
import { toAgentKey } from "./agent-key-row.prisma.ts";
import type { AgentKeyRecord, AgentKeyStore } from "./agent-key-store.ts";
import { revoke } from "./revocation-store.prisma.ts";

/** Clocks of replicas differ; forgotten too early, a challenge could be answered again. */
const FORGET_AFTER_MS = 10 * 60_000;
const byName = { wolf_instance: { select: { name: true } } };

/** Keys with their wolves' names, in one statement: of two, the second may find that a wolf has been removed. */
async function keysWhere(prisma: Prisma, conditions: Sql.Sql[], limit: number): Promise<AgentKeyRecord[]> {
  const rows = await prisma.$queryRaw<(AgentKey & { wolf_name: string })[]>`
    SELECT agent_key.*, wolf_instance.name AS wolf_name
    FROM agent_key JOIN wolf_instance ON wolf_instance.id = agent_key.wolf_instance_id
    WHERE ${Sql.join([Sql.sql`true`, ...conditions], " AND ")} ORDER BY agent_key.id LIMIT ${limit}`;
  return rows.map(({ wolf_name: name, ...row }) => toAgentKey({ ...row, wolf_instance: { name } }));
}

export function prismaAgentKeyStore(prisma: Prisma): AgentKeyStore {
  return {
    enroll: (request, now) => enrollInTransaction(prisma, request, now),

    async get(id) {
      return (await keysWhere(prisma, [Sql.sql`agent_key.id = ${id}`], 1))[0];
    },

    list: ({ limit, cursor, wolf_instance_id, status }) =>
      keysWhere(
        prisma,
        [
          ...(cursor === undefined ? [] : [Sql.sql`agent_key.id > ${cursor}`]),
          ...(wolf_instance_id === undefined ? [] : [Sql.sql`wolf_instance_id = ${wolf_instance_id}`]),
          ...(status === undefined ? [] : [Sql.sql`status = ${status}`]),
        ],
        limit,
      ),

    async spend({ nonce, expiresAt }, keyId, connects, now) {
      const count = await prisma.$executeRaw`
        WITH spent AS (
          INSERT INTO spent_challenge (nonce, expires_at) VALUES (${nonce}, ${expiresAt}) ON CONFLICT DO NOTHING RETURNING nonce
        )
        UPDATE agent_key SET last_used_at = CASE WHEN ${connects} THEN ${now} ELSE last_used_at END FROM spent
        WHERE id = ${keyId} AND status = 'active' AND expires_at > ${now}`;
      return count === 1;
    },

    approve: (id, expiresAt, now) =>
      prisma.$transaction(async (tx) => {
        // Under the wolf's lock, as enrolments are: two approvals at once leave one active key.
        await tx.$queryRaw`
          SELECT id FROM wolf_instance WHERE id = (SELECT wolf_instance_id FROM agent_key WHERE id = ${id}) FOR UPDATE`;
        const row = await tx.agentKey.findUnique({ where: { id }, include: byName });
        if (row === null) return "unknown";
        if (row.status === "revoked") return "revoked";
        if (row.status === "active") return { key: toAgentKey(row), revoked: [] };
        const revoked = await revokeOthers(tx, row.wolf_instance_id, id, now);
        const data = { status: "active", expires_at: expiresAt };
        return {
          key: toAgentKey(await tx.agentKey.update({ where: { id }, data, include: byName })),
          revoked,
        };
      }),

    revoke: (id, now) =>
      prisma.$transaction(async (tx) => {
        const changed = await tx.$executeRaw`
          UPDATE agent_key SET status = 'revoked', revoked_at = ${now} WHERE id = ${id} AND status <> 'revoked'`;
        if (changed === 1) await revoke(tx, "agent-key", id);
        return changed === 1 || (await tx.agentKey.count({ where: { id } })) === 1;
      }),

    async isKeyed(wolf) {
      const where = "id" in wolf ? { wolf_instance_id: wolf.id } : { wolf_instance: { name: wolf.name } };
      return (await prisma.agentKey.findFirst({ where, select: { id: true } })) !== null;
    },

    async prune(now) {
      const before = new Date(now.getTime() - FORGET_AFTER_MS);
      await prisma.$executeRaw`DELETE FROM spent_challenge WHERE expires_at < ${before}`;
    },
  };
}
