/** The queue as people see it, but for the names of owners. Its order is the store's. */
import type { QueueEntry } from "@wolfpack/api-contract";
import type { QueueRow } from "./session-store.ts";

export function queueEntry({ session, position }: QueueRow): QueueEntry {
  return {
    session_id: session.id,
    name: session.name,
    owner_id: session.ownerId,
    position,
    priority: session.priority,
    queued_at: (session.queuedAt ?? session.createdAt).toISOString(),
    deadline: (session.queueDeadline ?? session.createdAt).toISOString(),
    text: session.placement.text,
  };
}
