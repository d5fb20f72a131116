/** Revocations in PostgreSQL: a row for whoever missed the notification, and the notification, in the caller's transaction. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { newId } from "../ids.ts";

export type RevocationKind = "api-key" | "web-session" | "user" | "agent-key" | "wolf";
export const REVOCATION_CHANNEL = "wolfpack_revoked";

export async function revoke(
  tx: Pick<Prisma, "$executeRaw" | "$queryRaw">,
  kind: RevocationKind,
  objectId: string,
): Promise<void> {
  const id = newId("rvc");
  await tx.$executeRaw`INSERT INTO revocation (id, kind, object_id) VALUES (${id}, ${kind}, ${objectId})`;
  await tx.$queryRaw`SELECT pg_notify(${REVOCATION_CHANNEL}, ${JSON.stringify({ id, kind, object_id: objectId })})::text`;
}
