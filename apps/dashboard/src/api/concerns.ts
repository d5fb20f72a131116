/** What an event makes outdated, as a function of values: which reads, and which wolves. */
import type { FleetEvent, OperationId } from "@wolfpack/api-contract";

export interface Concern {
  operation: OperationId;
  /** Only the reads of this object; all reads of the operation where it is left out. */
  id?: string;
}

const lists = (...operations: OperationId[]): Concern[] => operations.map((operation) => ({ operation }));

const byWhat = new Map<string, Concern[]>(
  Object.entries({
    session: lists("listSessions", "listQueue", "getFleet"),
    placement: lists("listQueue", "getFleet"),
    queue: lists("listQueue", "getFleet", "listSessions"),
    wolf: lists("getFleet"),
    fleet: lists("getFleet"),
    user: lists("listUsers", "getMe"),
    "api-key": lists("listApiKeys"),
    "join-token": lists("listJoinTokens"),
    "agent-key": lists("listAgentKeys"),
  }),
);

/** Nothing of an event is believed but that something has changed: what it is now is read. */
export function concernsOf({ kind, session_id, wolf_instance_id }: FleetEvent): Concern[] {
  const found = [...lists("listEvents"), ...(byWhat.get(kind.split(".", 1)[0] ?? "") ?? [])];
  if (session_id) found.push({ operation: "getSession", id: session_id });
  if (wolf_instance_id) {
    const ofWolf = ["getWolf", "listWolfLobbies", "getWolfTunnel", "getWolfPolicy"] as OperationId[];
    for (const operation of ofWolf) found.push({ operation, id: wolf_instance_id });
  }
  return found;
}

/** Whether a read of the cache is meant; its key is `[operation, input]`. */
export function isConcerned(key: readonly unknown[], { operation, id }: Concern): boolean {
  if (key[0] !== operation) return false;
  if (id === undefined) return true;
  return (key[1] as { params?: { id?: string } } | undefined)?.params?.id === id;
}

export const concernName = ({ operation, id }: Concern): string => `${operation} ${id ?? ""}`;
