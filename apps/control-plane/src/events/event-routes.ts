/** HTTP in, pages of the store out: what happened to sessions, wolves and the fleet. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import { userOf } from "../identity/identity-routes.ts";
import { reachOf } from "../identity/policy.ts";
import type { EventStore, FleetEventRecord } from "./event-store.ts";

export function eventHandlers(store: Pick<EventStore, "list">): Pick<Handlers, "listEvents"> {
  return {
    async listEvents(call) {
      const { query, url } = call;
      const principal = userOf(call);
      const events = await store.list({
        limit: query.limit + 1,
        after: query.cursor,
        newestFirst: query.newest_first ?? false,
        kind: query.kind,
        sessionId: query.session_id,
        wolfId: query.wolf_instance_id,
        seenBy: reachOf(principal, "event.read") === "any" ? undefined : principal.userId,
      });
      return page(url, events.map(toEventResponse), query.limit);
    },
  };
}

/** The one translation from row to API: a new column is not a new field. */
function toEventResponse(event: FleetEventRecord): FleetEvent {
  return {
    id: event.id,
    at: event.at.toISOString(),
    kind: event.kind,
    session_id: event.sessionId,
    wolf_instance_id: event.wolfId,
    owner_id: event.ownerId,
    detail: event.detail,
  };
}
