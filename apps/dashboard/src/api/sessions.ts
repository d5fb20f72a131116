/**
 * Sessions of a list in the cache, however many there are in all: what is live is read as a whole, what has ended as far as it
 * is asked for, the newest first. A session that an event names is read anew, so that a change costs one row.
 */

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import type { Session, SessionStatus } from "@wolfpack/api-contract";
import { useCallback, useEffect, useState } from "react";
import { merged, type View, withSession } from "../fleet/session-list.ts";
import { liveStatuses } from "../fleet/session-words.ts";
import { type ApiFailure, call, nextCursor } from "./client.ts";
import { whenEvent } from "./live.ts";
import { createPace } from "./pace.ts";

export interface Sessions {
  rows: readonly Session[];
  /** Where older ones go on; undefined when there are none. */
  next: string | undefined;
}

const PAGE = 200;
const LIVE_PAGE = 1000;
/** Of each live status. */
const LIVE_PAGES_MAX = 10;
/** At once. */
const READERS = 4;
/** More than these are read as a list. */
const CHANGED_MAX = 100;
/** And that so often at most. */
const LIST_MS = 2000;

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
    queryFn: ({ signal }) => (status === "live" ? readLive(view, signal) : pageOf(view, undefined, signal)),
    structuralSharing: false,
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
  const changed = new Set<string>();
  const pace = createPace();
  let readers = 0;
  let stopped = false;

  async function readOne(id: string): Promise<void> {
    try {
      const { body } = await call("getSession", { params: { id } });
      client.setQueryData<Sessions>(
        key,
        (now) => now && { ...now, rows: withSession(now.rows, listed(body), view) },
      );
    } catch (error) {
      if ((error as ApiFailure).code !== "session-not-found") return;
      client.setQueryData<Sessions>(
        key,
        (now) => now && { ...now, rows: now.rows.filter((row) => row.id !== id) },
      );
    }
  }

  async function read(): Promise<void> {
    readers += 1;
    try {
      for (let [id] = changed; id !== undefined && !stopped; [id] = changed) {
        changed.delete(id);
        await readOne(id);
      }
    } finally {
      readers -= 1;
    }
  }

  const stopHearing = whenEvent(({ kind, session_id }) => {
    if (!session_id || !kind.startsWith("session.")) return;
    changed.add(session_id);
    if (changed.size > CHANGED_MAX) {
      changed.clear();
      pace.ask("list", () => void client.invalidateQueries({ queryKey: key }), LIST_MS);
    }
    while (readers < READERS && readers < changed.size) void read();
  });
  return () => {
    stopped = true;
    stopHearing();
    pace.close();
  };
}

/** Lists say no places in the queue, since others' change without a word. */
function listed(session: Session): Session {
  return session.queue ? { ...session, queue: { ...session.queue, position: null } } : session;
}
