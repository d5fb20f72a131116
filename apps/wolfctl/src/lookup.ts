/** Wolves and users by their names or ids, and names for the ids that the API answers with. */
import {
  type Session,
  type SessionStatus,
  type User,
  UserId,
  WolfId,
  type WolfInstance,
  WolfName,
  WolfpackApiError,
} from "@wolfpack/api-contract";
import type { Connection } from "./connection.ts";
import { NotFound, UsageError } from "./errors.ts";
import { ALL, LARGE_PAGE, type Listed, listed } from "./pages.ts";
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

/** Throws NotFound, or WolfpackApiError; only admins may look at users. */
export async function userOf(connection: Connection, nameOrId: string): Promise<User> {
  if (UserId.safeParse(nameOrId).success)
    return (await connection.call("getUser", { params: { id: nameOrId } })).body;
  const { items } = await listed(ALL, (page) =>
    connection.call("listUsers", { query: { name: nameOrId, ...page } }),
  );
  // A control plane of before gives all users, whatever the name.
  const found = items.find(({ name }) => name === nameOrId);
  if (found === undefined) throw new NotFound(`There is no user ${nameOrId}.`, "user-not-found");
  return found;
}

const isForbidden = (error: unknown): boolean =>
  error instanceof WolfpackApiError && error.code === "forbidden";

/** For operations that take no name. Who may not look at users has at least a name of their own. */
export async function userIdOf(connection: Connection, nameOrId: string): Promise<string> {
  if (UserId.safeParse(nameOrId).success) return nameOrId;
  try {
    return (await userOf(connection, nameOrId)).id;
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const { body: me } = await connection.call("getMe");
    if (me.name !== nameOrId) throw error;
    return me.id;
  }
}

const anyId = /^[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}$/;

/** A user, or a wolf whose agent is meant. Throws UsageError where it may be either. */
export async function actorIdOf(connection: Connection, nameOrId: string): Promise<string> {
  if (anyId.test(nameOrId)) return nameOrId;
  const isWolfName = WolfName.safeParse(nameOrId).success;
  const [user, wolf] = await Promise.all([
    userIdOf(connection, nameOrId).catch(unlessNoSuch),
    isWolfName ? wolfIdOf(connection, nameOrId).catch(unlessNoSuch) : undefined,
  ]);
  const ids = [user, wolf].filter((one) => typeof one === "string");
  if (ids.length > 1)
    throw new UsageError(
      `Both a user and a wolf are called ${nameOrId}: say which is meant by its id, ${ids.join(" or ")}.`,
    );
  const [id] = ids;
  if (id !== undefined) return id;
  if (typeof user === "object") throw user.forbidden;
  throw new NotFound(`There is neither a user nor a wolf ${nameOrId}.`, "user-not-found");
}

/** Undefined: there is none of that name; or why that was not to be learnt, which does not matter where it is another's name. */
function unlessNoSuch(error: unknown): { forbidden: unknown } | undefined {
  if (isForbidden(error)) return { forbidden: error };
  if (error instanceof NotFound || (error instanceof WolfpackApiError && error.code === "wolf-not-found"))
    return undefined;
  throw error;
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
