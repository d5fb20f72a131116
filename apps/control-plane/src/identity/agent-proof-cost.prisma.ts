/** What a connect asks of the database, for the bench: a wolf with a key, the look-up of the key, the challenge that is spent. */
import type { Prisma } from "../database/prisma.prisma.ts";
import type { AgentKey } from "../generated/client.ts";
import { newId } from "../ids.ts";

export interface BenchKey {
  id: string;
  wolfId: string;
}

export function agentKeysOfTheBench(prisma: Prisma) {
  return {
    async add(publicKey: string): Promise<BenchKey> {
      const now = new Date();
      const [id, wolfId] = [newId("agk"), newId("wlf")];
      await prisma.$executeRaw`
        INSERT INTO wolf_instance (id, name, address, gpu_type, max_sandboxes, connectivity, connectivity_since, created_at, updated_at)
        VALUES (${wolfId}, ${wolfId}, '', 'none', 1, 'lost', ${now}, ${now}, ${now})`;
      const bytes = Buffer.from(publicKey, "base64url");
      const later = new Date(now.getTime() + 86_400_000);
      await prisma.$executeRaw`
        INSERT INTO agent_key (id, wolf_instance_id, public_key, status, enrolled_by, created_at, expires_at)
        VALUES (${id}, ${wolfId}, ${bytes}, 'active', 'bench', ${now}, ${later})`;
      return { id, wolfId };
    },

    async get(id: string): Promise<{ wolfId: string; publicKey: string } | undefined> {
      const [row] = await prisma.$queryRaw<AgentKey[]>`
        SELECT agent_key.*, wolf.name AS wolf_name FROM agent_key JOIN wolf_instance wolf ON wolf.id = wolf_instance_id
        WHERE agent_key.id = ${id}`;
      if (row === undefined) return undefined;
      return {
        wolfId: row.wolf_instance_id,
        publicKey: Buffer.from(row.public_key).toString("base64url"),
      };
    },

    async spend(nonce: Uint8Array<ArrayBuffer>, keyId: string): Promise<boolean> {
      const now = new Date();
      const expiresAt = new Date(now.getTime() + 60_000);
      const count = await prisma.$executeRaw`
        WITH spent AS (
          INSERT INTO spent_challenge (nonce, expires_at) VALUES (${nonce}, ${expiresAt}) ON CONFLICT DO NOTHING RETURNING nonce
        )
        UPDATE agent_key SET last_used_at = ${now} FROM spent WHERE id = ${keyId} AND status = 'active' AND expires_at > ${now}`;
      return count === 1;
    },
  };
}
