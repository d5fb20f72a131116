/** The queue as people see it, but for the names of owners. Its order is the store's. */
import { PRIORITY_DEFAULT, type QueueEntry } from "@wolfpack/api-contract";
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

/** Where this owner's next session would stand, with the priority that everybody has. */
export function placeOfNext(rows: readonly QueueRow[], ownerId: string): number {
  const turns = (some: readonly QueueRow[]) => some.map(({ session }) => session.turn);
  const peers = rows.filter(({ session }) => session.priority === PRIORITY_DEFAULT);
  const own = peers.filter(({ session }) => session.ownerId === ownerId);
  const turn = Math.max(
    0,
    peers.length === 0 ? 0 : Math.min(...turns(peers)),
    ...turns(own).map((last) => last + 1),
  );
  const isBefore = ({ session: { priority, turn: theirs } }: QueueRow) =>
    priority > PRIORITY_DEFAULT || (priority === PRIORITY_DEFAULT && theirs <= turn);
  return rows.filter(isBefore).length + 1;
}
