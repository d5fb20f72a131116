/** Revocations in PostgreSQL: rows that every replica reads, and a notification with the end of each row's transaction. */
import { Prisma as Sql } from "../generated/client.ts";
import { newId } from "../ids.ts";

export type RevocationKind = "api-key" | "web-session" | "user" | "agent-key" | "wolf";
export const REVOKED_CHANNEL = "wolfpack_revoked";

/**
 * Writes that this is no longer valid, to be called in the transaction that makes it so. The time is that of the statement: a
 * transaction's own may be long ago.
 */
export function revoke<Result>(
  tx: { $executeRaw(query: Sql.Sql): Result },
  kind: RevocationKind,
  objectId: string,
): Result {
  return tx.$executeRaw(Sql.sql`
    WITH written AS (
      INSERT INTO revocation (id, at, kind, object_id) VALUES (${newId("rvc")}, clock_timestamp(), ${kind}, ${objectId})
      RETURNING id, kind, object_id
    )
    SELECT pg_notify(${REVOKED_CHANNEL}, id || ' ' || kind || ' ' || object_id) FROM written`);
}
