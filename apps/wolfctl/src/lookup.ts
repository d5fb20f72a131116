/** Wolves by their names or ids, and names for the ids that the API answers with. */
import {
  type Session,
  type SessionStatus,
  WolfId,
  type WolfInstance,
  WolfName,
} from "@wolfpack/api-contract";
import type { Connection } from "./connection.ts";
import { UsageError } from "./errors.ts";
import { LARGE_PAGE, type Listed, listed } from "./pages.ts";
import type { WolfNames } from "./views/session-view.ts";

/** More wolves than so many are asked for as a list. */
const ONE_BY_ONE_MAX = 5;
const NAMES_MAX = 20_000;

/** Throws WolfpackApiError where there is none, UsageError where it can be neither. */
export async function wolfOf(connection: Connection, nameOrId: string): Promise<WolfInstance> {
  if (!WolfName.safeParse(nameOrId).success)
    throw new UsageError(`${nameOrId} is neither a wolf's name nor its id.`);
  return (await connection.call("getWolf", { params: { id: nameOrId } })).body;
}

/** The id for operations that take no name. */
export async function wolfIdOf(connection: Connection, nameOrId: string): Promise<string> {
  return WolfId.safeParse(nameOrId).success ? nameOrId : (await wolfOf(connection, nameOrId)).id;
}

/** Best effort: who may not read wolves, or names one that is gone, sees its id. */
export async function wolfNames(connection: Connection, ids: Iterable<string | null>): Promise<WolfNames> {
  const wanted = new Set([...ids].filter((id): id is string => WolfId.safeParse(id).success));
  try {
    if (wanted.size > ONE_BY_ONE_MAX) {
      const { items } = await listed(
        NAMES_MAX,
        (page) => connection.call("listWolves", { query: page }),
        LARGE_PAGE,
      );
      return new Map(items.map(({ id, name }) => [id, name]));
    }
    const found = await Promise.allSettled([...wanted].map((id) => wolfOf(connection, id)));
    return new Map(
      found.flatMap((one) => (one.status === "fulfilled" ? [[one.value.id, one.value.name] as const] : [])),
    );
  } catch (error) {
    if (connection.interrupted()) throw error;
    return new Map();
  }
}

const live: readonly SessionStatus[] = ["queued", "placed", "starting", "running", "stopping", "lost"];

/** Sessions that have not ended, the oldest first: asked for by status, since those that have ended are many more and older. */
export async function liveSessions(
  connection: Connection,
  filter: { wolf_instance_id?: string; owner_id?: string },
  wanted: number,
): Promise<Listed<Session>> {
  const lists = await Promise.all(
    live.map((status) =>
      listed(
        wanted,
        (page) => connection.call("listSessions", { query: { ...filter, status, ...page } }),
        LARGE_PAGE,
      ),
    ),
  );
  // One that moved on meanwhile may be in two of them.
  const byId = new Map(lists.flatMap(({ items }) => items.map((session) => [session.id, session] as const)));
  const sorted = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return { items: sorted.slice(0, wanted), more: sorted.length > wanted || lists.some(({ more }) => more) };
}
