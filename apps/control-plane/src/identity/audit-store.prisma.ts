/** The audit log in PostgreSQL, where a trigger refuses changes of what is written. */
import type { AuditActor, AuditResult } from "@wolfpack/api-contract";
import { inBatches } from "../database/batches.ts";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { AuditEvent } from "../generated/client.ts";
import { firstIdAt } from "../ids.ts";
import type { AuditRecord, AuditStore } from "./audit.ts";

const toRecord = (row: AuditEvent): AuditRecord => ({
  id: row.id,
  at: row.at,
  actor: row.actor as AuditActor,
  actorId: row.actor_id,
  credentialId: row.credential_id,
  action: row.action,
  object: row.object,
  result: row.result as AuditResult,
  code: row.code,
  requestId: row.request_id,
  replica: row.replica,
  address: row.address,
  detail: row.detail as Record<string, unknown>,
});

/**
 * An id's time is that of its event within a moment, or later: ids do not go back when a clock is set back. So these bounds of ids
 * leave nothing out, and a part of a long log is found without reading all of it.
 */
const EARLIER_MS = 1000;
const LATER_MS = 86_400_000;
const idsBetween = (since: Date | undefined, until: Date | undefined) => ({
  ...(since ? { gte: firstIdAt("aud", since.getTime() - EARLIER_MS) } : {}),
  ...(until ? { lt: firstIdAt("aud", until.getTime() + LATER_MS) } : {}),
});

const LIKE_AN_ID = /^[a-z]{3}_/;

export function prismaAuditStore(prisma: Prisma): AuditStore {
  const add = inBatches(
    async (records: readonly AuditRecord[]) => {
      await prisma.auditEvent.createMany({
        data: records.map(({ actorId, credentialId, requestId, detail, ...same }) => ({
          ...same,
          actor_id: actorId,
          credential_id: credentialId,
          request_id: requestId,
          detail: detail as object,
        })),
      });
      return records.map(() => undefined);
    },
    { isForUsers: true },
  );
  /** Of all that a page names, by primary keys in one statement. */
  async function namesOf(some: readonly (string | null)[]): Promise<ReadonlyMap<string, string>> {
    const ids = [...new Set(some.filter((id) => id !== null && LIKE_AN_ID.test(id)))];
    if (ids.length === 0) return new Map();
    const rows = await prisma.$queryRaw<{ id: string; name: string }[]>`
      SELECT id, name FROM user_account WHERE id = ANY (${ids})
      UNION ALL SELECT id, name FROM session WHERE id = ANY (${ids})
      UNION ALL SELECT id, name FROM wolf_instance WHERE id = ANY (${ids})
      UNION ALL SELECT id, name FROM api_key WHERE id = ANY (${ids})
      UNION ALL SELECT id, wolf_name FROM join_token WHERE id = ANY (${ids}) AND wolf_name IS NOT NULL
      UNION ALL SELECT held.id, wolf.name FROM agent_key held JOIN wolf_instance wolf ON wolf.id = held.wolf_instance_id
        WHERE held.id = ANY (${ids})`;
    return new Map(rows.map(({ id, name }) => [id, name]));
  }

  return {
    add,

    async list({ limit, after, actorId, action, object, result, since, until }) {
      const equal = { actor_id: actorId, action, object, result };
      const rows = await prisma.auditEvent.findMany({
        where: {
          ...Object.fromEntries(Object.entries(equal).filter(([, value]) => value !== undefined)),
          AND: [{ id: idsBetween(since, until) }, ...(after === undefined ? [] : [{ id: { lt: after } }])],
          at: { ...(since ? { gte: since } : {}), ...(until ? { lt: until } : {}) },
        },
        // The newest first: who looks wants to know what has just happened.
        orderBy: { id: "desc" },
        take: limit,
      });
      const names = await namesOf(rows.flatMap((row) => [row.actor_id, row.object]));
      const nameOf = (id: string | null) => (id === null ? null : (names.get(id) ?? null));
      return rows.map((row) => ({
        ...toRecord(row),
        actorName: nameOf(row.actor_id),
        objectName: nameOf(row.object),
      }));
    },
  };
}
