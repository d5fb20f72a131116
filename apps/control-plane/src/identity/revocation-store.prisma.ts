/** Revocations in PostgreSQL: rows that every replica reads, and a notification with the end of each row's transaction. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { newId } from "../ids.ts";
import type { Revocation, RevocationKind, RevocationStore } from "./revocations.ts";
import { revocationKinds } from "./revocations.ts";

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

/** A notification's payload; undefined for what is none of ours. */
export function parseRevocation(payload: string): Revocation | undefined {
  const [id, kind, objectId, ...more] = payload.split(" ");
  const known = revocationKinds.find((each) => each === kind);
  if (!id || known === undefined || !objectId || more.length > 0) return undefined;
  return { id, kind: known, objectId };
}

interface Row {
  now: Date;
  id: string | null;
  kind: RevocationKind;
  object_id: string;
}

export function prismaRevocationStore(prisma: Prisma): RevocationStore {
  return {
    async recent(since) {
      const rows = await prisma.$queryRaw<Row[]>`
        SELECT clock.now, revocation.id, revocation.kind, revocation.object_id
        FROM (SELECT clock_timestamp() AS now) AS clock LEFT JOIN revocation ON revocation.at > ${since ?? null}::timestamptz
        ORDER BY revocation.at`;
      return {
        now: rows[0]?.now ?? new Date(0),
        revocations: rows.flatMap(({ id, kind, object_id }) =>
          id === null ? [] : [{ id, kind, objectId: object_id }],
        ),
      };
    },

    async prune(before) {
      await prisma.$executeRaw`DELETE FROM revocation WHERE at < ${before}`;
    },
  };
}
