/** Rows of agents' keys as records. */
import type { AgentKey } from "../generated/client.ts";
import type { AgentKeyRecord } from "./agent-key-store.ts";

export function toAgentKey(row: AgentKey & { wolf_instance: { name: string } }): AgentKeyRecord {
  return {
    id: row.id,
    wolfId: row.wolf_instance_id,
    wolfName: row.wolf_instance.name,
    publicKey: Buffer.from(row.public_key).toString("base64url"),
    status: row.status as AgentKeyRecord["status"],
    enrolledBy: row.enrolled_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
  };
}
