/** The audit log in PostgreSQL, where a trigger refuses changes of what is written. */
import type { AuditActor, AuditResult } from "@wolfpack/api-contract";
import type { Prisma } from "../database/prisma.prisma.ts";
import type { AuditEvent } from "../generated/client.ts";
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

export function prismaAuditStore(prisma: Prisma): AuditStore {
  return {
    async add({ actorId, credentialId, requestId, detail, ...same }) {
      await prisma.auditEvent.create({
        data: {
          ...same,
          actor_id: actorId,
          credential_id: credentialId,
          request_id: requestId,
          detail: detail as object,
        },
      });
    },

    async list({ limit, after, actorId, action, object, result, since, until }) {
      const equal = { actor_id: actorId, action, object, result };
      const rows = await prisma.auditEvent.findMany({
        where: {
          ...Object.fromEntries(Object.entries(equal).filter(([, value]) => value !== undefined)),
          ...(after === undefined ? {} : { id: { lt: after } }),
          at: { ...(since ? { gte: since } : {}), ...(until ? { lt: until } : {}) },
        },
        // The newest first: who looks wants to know what has just happened.
        orderBy: { id: "desc" },
        take: limit,
      });
      return rows.map(toRecord);
    },
  };
}
