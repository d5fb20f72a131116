/** Agents' keys in PostgreSQL. */
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { type AgentKey, Prisma as Sql } from "../generated/client.ts";
import { enrollInTransaction, revokeOthers } from "./agent-enrolment.prisma.ts";
import { toAgentKey } from "./agent-key-row.prisma.ts";
import type { AgentKeyRecord, AgentKeyStore } from "./agent-key-store.ts";
import type { Challenge } from "./challenge.ts";
import { revoke } from "./revocation-store.prisma.ts";

const byName = { wolf_instance: { select: { name: true } } };

/** Keys with their wolves' names, in one statement: of two, the second may find that a wolf has been removed. */
async function keysWhere(prisma: Prisma, conditions: Sql.Sql[], limit: number): Promise<AgentKeyRecord[]> {
  const rows = await prisma.$queryRaw<(AgentKey & { wolf_name: string })[]>`
    SELECT agent_key.*, wolf_instance.name AS wolf_name
    FROM agent_key JOIN wolf_instance ON wolf_instance.id = agent_key.wolf_instance_id
    WHERE ${Sql.join([Sql.sql`true`, ...conditions], " AND ")} ORDER BY agent_key.id LIMIT ${limit}`;
  return rows.map(({ wolf_name: name, ...row }) => toAgentKey({ ...row, wolf_instance: { name } }));
}

interface Spending {
  challenge: Challenge;
  keyId: string;
  connects: boolean;
  now: Date;
}

/** For each whether it is the first answer to its challenge, by a key that is valid. */
async function spendAll(prisma: Prisma, spendings: readonly Spending[]): Promise<boolean[]> {
  const nonces = spendings.map(({ challenge }) => Buffer.from(challenge.nonce).toString("hex"));
  // Of two answers to one challenge the second comes too late, also in one statement.
  const first = spendings.filter((_, at) => nonces.indexOf(nonces[at] ?? "") === at);
  const now = new Date(Math.max(...spendings.map((spending) => spending.now.getTime())));
  const rows = await prisma.$queryRaw<{ nonce: string }[]>`
    WITH asked AS (
      SELECT decode(hex, 'hex') AS nonce, expires_at, key_id, connects FROM unnest(${[...new Set(nonces)]}::text[],
        ${first.map(({ challenge }) => challenge.expiresAt)}::timestamptz[], ${first.map(({ keyId }) => keyId)}::text[],
        ${first.map(({ connects }) => connects)}::bool[]) AS asked(hex, expires_at, key_id, connects)
    ), spent AS (
      INSERT INTO spent_challenge (nonce, expires_at) SELECT nonce, expires_at FROM asked ON CONFLICT DO NOTHING RETURNING nonce
    ), shown AS (
      SELECT key_id, bool_or(connects) AS connects FROM asked JOIN spent USING (nonce) GROUP BY key_id
    ), used AS (
      UPDATE agent_key SET last_used_at = CASE WHEN shown.connects THEN ${now} ELSE last_used_at END FROM shown
      WHERE id = shown.key_id AND status = 'active' AND agent_key.expires_at > ${now} RETURNING id
    )
    SELECT encode(nonce, 'hex') AS nonce FROM spent JOIN asked USING (nonce) JOIN used ON used.id = asked.key_id`;
  const taken = new Set(rows.map(({ nonce }) => nonce));
  return nonces.map((nonce, at) => taken.has(nonce) && nonces.indexOf(nonce) === at);
}

export function prismaAgentKeyStore(prisma: Prisma): AgentKeyStore {
  // A fleet that comes back shows all its keys at once.
  const get = inBatches(async (ids: readonly string[]) => {
    const keys = await keysWhere(prisma, [Sql.sql`agent_key.id = ANY(${ids}::text[])`], ids.length);
    const byId = new Map(keys.map((key) => [key.id, key]));
    return ids.map((id) => byId.get(id));
  });
  const isKeyed = inBatches(async (wolves: readonly ({ id: string } | { name: string })[]) => {
    const ids = wolves.flatMap((wolf) => ("id" in wolf ? [wolf.id] : []));
    const names = wolves.flatMap((wolf) => ("id" in wolf ? [] : [wolf.name]));
    const rows = await prisma.$queryRaw<{ id: string; name: string }[]>`
      SELECT id, name FROM wolf_instance WHERE (id = ANY(${ids}::text[]) OR name = ANY(${names}::text[]))
        AND EXISTS (SELECT 1 FROM agent_key WHERE wolf_instance_id = wolf_instance.id)`;
    const keyed = new Set(rows.flatMap(({ id, name }) => [`id ${id}`, `name ${name}`]));
    return wolves.map((wolf) => keyed.has("id" in wolf ? `id ${wolf.id}` : `name ${wolf.name}`));
  });
  const spend = inBatches((spendings: readonly Spending[]) => spendAll(prisma, spendings));

  return {
    enroll: (request, now) => enrollInTransaction(prisma, request, now),

    get,

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

    spend: (challenge, keyId, connects, now) => spend({ challenge, keyId, connects, now }),

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

    isKeyed,
  };
}
