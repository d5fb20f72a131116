/** Renewals in PostgreSQL. Those of one wolf take turns on its row. */
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import { because } from "../events/author.ts";
import type { AgentRenewalStore } from "./agent-renewal-store.ts";
import { revoke } from "./revocation-store.prisma.ts";

interface Known {
  id: string;
  wolf_instance_id: string;
  enrolled_by: string;
  status: string;
  expires_at: Date;
}

interface Connected {
  keyId: string;
  now: Date;
  endAt: Date;
}

/** Its wolf's older keys end at that time at the latest. Of tunnels of several agents: what they share is why. */
async function connectedAll(prisma: Prisma, all: readonly Connected[]): Promise<undefined[]> {
  await because("connected", async () => {
    await prisma.$executeRaw`
      WITH connected AS (
        SELECT DISTINCT ON (id) * FROM unnest(${all.map(({ keyId }) => keyId)}::text[], ${all.map(({ now }) => now)}::timestamptz[],
          ${all.map(({ endAt }) => endAt)}::timestamptz[]) AS connected(id, at, end_at)
      ), used AS (
        UPDATE agent_key SET last_used_at = connected.at FROM connected WHERE agent_key.id = connected.id
        RETURNING agent_key.id, wolf_instance_id, created_at, enrolled_by, connected.end_at
      )
      UPDATE agent_key SET expires_at = used.end_at FROM used
      WHERE agent_key.wolf_instance_id = used.wolf_instance_id AND agent_key.status = 'active' AND agent_key.id <> used.id
        AND (agent_key.created_at < used.created_at OR agent_key.id = used.enrolled_by) AND agent_key.expires_at > used.end_at`;
  });
  return all.map(() => undefined);
}

export function prismaAgentRenewalStore(prisma: Prisma): AgentRenewalStore {
  const connected = inBatches((all: readonly Connected[]) => connectedAll(prisma, all));
  return {
    renew: (oldKeyId, { id, wolfId, publicKey, expiresAt }, now) =>
      prisma.$transaction(async (tx) => {
        // As enrolments do: whoever replaces a wolf's keys at this moment leaves none that he has not seen.
        await tx.$queryRaw`SELECT id FROM wolf_instance WHERE id = ${wolfId} FOR UPDATE`;
        const [old] = await tx.$queryRaw<{ id: string }[]>`
          SELECT id FROM agent_key WHERE id = ${oldKeyId} AND wolf_instance_id = ${wolfId} AND status = 'active' AND expires_at > ${now}
          FOR UPDATE`;
        if (old === undefined) return { outcome: "ended" };
        const [known] = await tx.$queryRaw<
          Known[]
        >`SELECT id, wolf_instance_id, enrolled_by, status, expires_at FROM agent_key WHERE public_key = ${publicKey}`;
        if (known !== undefined) {
          const isSame = known.enrolled_by === oldKeyId && known.wolf_instance_id === wolfId;
          if (!isSame || known.status !== "active" || known.expires_at <= now) return { outcome: "taken" };
          return { outcome: "renewed", id: known.id, expiresAt: known.expires_at };
        }
        // An agent that lost its new key before it was used asks again; whoever has used it has no need of the old one.
        const others = await tx.$queryRaw<{ id: string; used: boolean }[]>`
          SELECT id, last_used_at IS NOT NULL AS used FROM agent_key WHERE enrolled_by = ${oldKeyId} AND status = 'active'`;
        if (others.some(({ used }) => used)) return { outcome: "superseded" };
        for (const other of others) {
          await tx.$executeRaw`UPDATE agent_key SET status = 'revoked', revoked_at = ${now} WHERE id = ${other.id}`;
          await revoke(tx, "agent-key", other.id);
        }
        // Nothing when another wolf's agent has shown the same key meanwhile.
        const added = await tx.$executeRaw`
          INSERT INTO agent_key (id, wolf_instance_id, public_key, status, enrolled_by, created_at, expires_at)
          VALUES (${id}, ${wolfId}, ${publicKey}, 'active', ${oldKeyId}, ${now}, ${expiresAt})
          ON CONFLICT (public_key) DO NOTHING`;
        return added === 1 ? { outcome: "renewed", id, expiresAt } : { outcome: "taken" };
      }),

    connected: (keyId, now, endAt) => connected({ keyId, now, endAt }),
  };
}
