/**
 * Sessions of a list in the cache, however many there are in all: what is live is read as a whole, what has ended as far as it
 * is asked for, the newest first. A session that an event names is read anew, so that a change costs one row.
 */

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import type { Session, SessionStatus } from "@wolfpack/api-contract";
import { useCallback, useEffect, useState } from "react";
import { merged, type View, withSession } from "../fleet/session-list.ts";
import { liveStatuses } from "../fleet/session-words.ts";
import { createChangedRows } from "./changed-rows.ts";
import { type ApiFailure, call, nextCursor } from "./client.ts";
import { whenEvent, whenOutdated } from "./live.ts";
import { keepNewer } from "./merge-rows.ts";

export interface Sessions {
  rows: readonly Session[];
  /** Where older ones go on; undefined when there are none. */
  next: string | undefined;
}

const PAGE = 200;
const LIVE_PAGE = 1000;
/** Of each live status. */
const LIVE_PAGES_MAX = 10;
/**
 * What is live is read as a whole so often, whatever events say: statuses are read beside each other, and what went from one to
 * another in between is in none.
 */
const WHOLE_MS = 60_000;

const keyOfView = ({ status, owner = "", wolf = "" }: View) => ["sessions", status, owner, wolf] as const;

async function pageOf(view: View, cursor: string | undefined, signal?: AbortSignal): Promise<Sessions> {
  const { status, owner, wolf } = view;
  const query = {
    limit: PAGE,
    cursor,
    newest_first: "true" as const,
    ...(status === "any" || status === "live" ? {} : { status }),
    owner_id: owner,
    wolf_instance_id: wolf,
  };
  const { body, headers } = await call("listSessions", { query }, { signal });
  return { rows: body, next: nextCursor(headers) };
}

async function readLive({ owner, wolf }: View, signal: AbortSignal): Promise<Sessions> {
  const read = async (status: SessionStatus): Promise<Session[]> => {
    const rows: Session[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < LIVE_PAGES_MAX; page += 1) {
      const query = { limit: LIVE_PAGE, cursor, status, owner_id: owner, wolf_instance_id: wolf };
      const { body, headers } = await call("listSessions", { query }, { signal });
      rows.push(...body);
      cursor = nextCursor(headers);
      if (cursor === undefined) break;
    }
    return rows;
  };
  const found = await Promise.all(liveStatuses.map(read));
  return { rows: merged(found.flat()), next: undefined };
}

export function useSessions(view: View) {
  const client = useQueryClient();
  const { status, owner, wolf } = view;
  const query = useQuery<Sessions, ApiFailure>({
    queryKey: keyOfView(view),
    queryFn: async ({ signal }) => {
      const { rows, next } = await (status === "live"
        ? readLive(view, signal)
        : pageOf(view, undefined, signal));
      // What an event made us read meanwhile is newer than the pages.
      return { rows: keepNewer(rows, client.getQueryData<Sessions>(keyOfView(view))?.rows), next };
    },
    structuralSharing: false,
    refetchInterval: status === "live" && WHOLE_MS,
    // Only a list that is shown hears of changes.
    staleTime: 0,
  });
  useEffect(() => follow(client, { status, owner, wolf }), [client, status, owner, wolf]);
  const [readingOlder, setReadingOlder] = useState(false);
  const { data } = query;
  const older = useCallback(async () => {
    if (data?.next === undefined) return;
    setReadingOlder(true);
    try {
      const asked = { status, owner, wolf };
      const more = await pageOf(asked, data.next);
      client.setQueryData<Sessions>(keyOfView(asked), (now) => {
        const known = new Set(now?.rows.map(({ id }) => id));
        return (
          now && { rows: [...now.rows, ...more.rows.filter(({ id }) => !known.has(id))], next: more.next }
        );
      });
    } finally {
      setReadingOlder(false);
    }
  }, [client, data?.next, status, owner, wolf]);
  return { ...query, older, readingOlder };
}

/** Keeps one list true while it is shown; returns how to stop. */
function follow(client: QueryClient, view: View): () => void {
  const key = keyOfView(view);
  const rows = createChangedRows<Session>({
    read: readSession,
    merge(found) {
      client.setQueryData<Sessions>(key, (now) => now && { ...now, rows: withFound(now.rows, found, view) });
    },
    async readAll() {
      await client.refetchQueries({ queryKey: key, exact: true, type: "active" }, { cancelRefetch: false });
      return client.getQueryState(key)?.status !== "error";
    },
    isReadingAll: () => client.getQueryState(key)?.fetchStatus === "fetching",
    // It is followed only while it is.
    isShown: () => true,
    markStale: () => undefined,
  });
  const stopHearing = whenEvent(({ kind, session_id }) => {
    if (session_id && kind.startsWith("session.")) rows.add(session_id);
  });
  const stopReading = whenOutdated(rows.all);
  return () => {
    stopHearing();
    stopReading();
    rows.stop();
  };
}

async function readSession(id: string): Promise<Session | undefined> {
  try {
    return listed((await call("getSession", { params: { id } })).body);
  } catch (error) {
    if ((error as ApiFailure).code === "session-not-found") return undefined;
    throw error;
  }
}

function withFound(
  rows: readonly Session[],
  found: ReadonlyMap<string, Session | undefined>,
  view: View,
): readonly Session[] {
  let list = rows;
  for (const [id, session] of found)
    list = session ? withSession(list, session, view) : list.filter((row) => row.id !== id);
  return list;
}

/** Lists say no places in the queue, since others' change without a word. */
function listed(session: Session): Session {
  return session.queue ? { ...session, queue: { ...session.queue, position: null } } : session;
}
