/** HTTP in, pages of the store out: the audit log for admins. */
import type { AuditEvent, ExportAuditEventsQuery } from "@wolfpack/api-contract";
import type { Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import type { AuditFilter, AuditStore, NamedAuditRecord } from "./audit.ts";

/** Rows of an export that are in memory at once. */
const EXPORT_PAGE = 500;

type Handled = "listAuditEvents" | "exportAuditEvents";

export function auditHandlers(store: Pick<AuditStore, "list">): Pick<Handlers, Handled> {
  return {
    async listAuditEvents({ query, url }) {
      const { limit, cursor } = query;
      const events = await store.list({ ...filterOf(query), limit: limit + 1, after: cursor });
      return page(url, events.map(toAuditResponse), limit);
    },

    async exportAuditEvents({ query }) {
      return { status: 200, body: allPages(store, filterOf(query)) };
    },
  };
}

/** Each page is asked for when the one before it is on its way: no transaction waits for a slow reader. */
async function* allPages(store: Pick<AuditStore, "list">, filter: Omit<AuditFilter, "limit" | "after">) {
  let after: string | undefined;
  for (;;) {
    const events = await store.list({ ...filter, limit: EXPORT_PAGE, after });
    if (events.length > 0) yield events.map(toAuditResponse);
    if (events.length < EXPORT_PAGE) return;
    after = events.at(-1)?.id;
  }
}

const filterOf = (query: ExportAuditEventsQuery) => ({
  actorId: query.actor_id,
  action: query.action,
  object: query.object,
  result: query.result,
  since: query.since === undefined ? undefined : new Date(query.since),
  until: query.until === undefined ? undefined : new Date(query.until),
});

/** The one translation from row to API: a new column is not a new field. */
function toAuditResponse(event: NamedAuditRecord): AuditEvent {
  return {
    id: event.id,
    at: event.at.toISOString(),
    actor: event.actor,
    actor_id: event.actorId,
    actor_name: event.actorName,
    credential_id: event.credentialId,
    action: event.action,
    object: event.object,
    object_name: event.objectName,
    result: event.result,
    code: event.code,
    request_id: event.requestId,
    replica: event.replica,
    address: event.address,
    detail: event.detail,
  };
}
