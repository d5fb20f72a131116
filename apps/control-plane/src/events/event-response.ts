/** The one translation of an event from row to API: a new column is not a new field. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { FleetEventRecord } from "./event-store.ts";
import { knowsAuthor, type Sight } from "./event-view.ts";

/** Without a sight: everything. */
export function toEventResponse(event: FleetEventRecord, sight?: Sight): FleetEvent {
  const { names } = event;
  const isKnown = sight === undefined || knowsAuthor(sight, event);
  return {
    id: event.id,
    at: event.at.toISOString(),
    kind: event.kind,
    session_id: event.sessionId,
    wolf_instance_id: event.wolfId,
    owner_id: event.ownerId,
    object_id: event.objectId,
    actor: event.actor === null ? null : { kind: event.actor, id: isKnown ? event.actorId : null },
    cause: event.cause,
    request_id: isKnown ? event.requestId : null,
    // Streams send it a thousand times: nothing is said of what there is not.
    ...(event.sessionId !== null && { session_name: names.session }),
    ...(event.wolfId !== null && { wolf_name: names.wolf }),
    ...(event.ownerId !== null && { owner_name: names.owner }),
    ...(isKnown && event.actorId !== null && { actor_name: names.actor }),
    detail: event.detail,
  };
}
