/** The queue as people see it. Its order is the store's. */
import { PRIORITY_DEFAULT, type QueueEntry } from "@wolfpack/api-contract";
import type { QueueRow } from "./session-store.ts";

export function queueEntry({ session, position }: QueueRow): QueueEntry {
  return {
    session_id: session.id,
    owner_id: session.ownerId,
    position,
    priority: session.priority,
    queued_at: (session.queuedAt ?? session.createdAt).toISOString(),
    deadline: (session.queueDeadline ?? session.createdAt).toISOString(),
    text: session.placement.text,
  };
}

/** Where this owner's next session would stand, with the priority that everybody has: after every other owner's that have the same turn. */
export function placeOfNext(rows: readonly QueueRow[], ownerId: string): number {
  const above = rows.filter(({ session }) => session.priority > PRIORITY_DEFAULT).length;
  const peers = rows.filter(({ session }) => session.priority === PRIORITY_DEFAULT);
  const turn = peers.filter(({ session }) => session.ownerId === ownerId).length + 1;
  const turns = new Map<string, number>();
  const before = peers.filter(({ session }) => {
    const own = (turns.get(session.ownerId) ?? 0) + 1;
    turns.set(session.ownerId, own);
    return own <= turn;
  });
  return above + before.length + 1;
}
