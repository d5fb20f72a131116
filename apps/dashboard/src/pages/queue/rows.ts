/** Pages of the queue as one list, as a function of values. */
import type { QueueEntry } from "@wolfpack/api-contract";
import { nameOf } from "../../fleet/session-words.ts";

export interface Row extends QueueEntry {
  name: string;
}

/** Pages are read one after the other while places change: who is in two of them is where it was read last. */
export function rowsOf(entries: readonly QueueEntry[]): Row[] {
  const last = new Map(entries.map((entry) => [entry.session_id, entry]));
  return entries
    .filter((entry) => last.get(entry.session_id) === entry)
    .map((entry) => ({ ...entry, name: nameOf({ name: entry.name ?? "", id: entry.session_id }) }));
}
