/**
 * All wolves of the fleet in the cache, however many: shown from the first page on, and one of them read anew when an event names
 * it, so that a change among ten thousand costs one row.
 */

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import type { WolfInstance } from "@wolfpack/api-contract";
import { useEffect } from "react";
import { type ChangedRows, createChangedRows } from "./changed-rows.ts";
import { type ApiFailure, call, nextCursor } from "./client.ts";
import { keepNewer, mergeFound, mergeKnown } from "./merge-rows.ts";
import { keyOf } from "./queries.ts";

export interface Wolves {
  rows: readonly WolfInstance[];
  /** False while more pages are on their way. */
  complete: boolean;
}

const key = ["wolves"] as const;
const PAGE = 1000;
/** What earlier control planes allow. */
const PAGE_BEFORE = 200;
const PAGES_MAX = 100;
/**
 * Figures that no event tells of (RTT, use of a GPU) are read anew in turns: a small page so often, so that what an event makes
 * us read need not wait for it; a fleet of one page less often.
 */
const TURN_ROWS = 200;
const TURN_MS = 3000;
const TURN_MS_SMALL = 10_000;

async function pageOf(
  cursor: string | undefined,
  rows: number,
  signal?: AbortSignal,
): Promise<{ rows: WolfInstance[]; next: string | undefined }> {
  const ask = (limit: number) => call("listWolves", { query: { limit, cursor } }, { signal });
  const { body, headers } = await ask(rows).catch((error: ApiFailure) => {
    if (error.code !== "invalid-request") throw error;
    return ask(PAGE_BEFORE);
  });
  return { rows: body, next: nextCursor(headers) };
}

async function readAll(client: QueryClient, signal: AbortSignal): Promise<Wolves> {
  const rows: WolfInstance[] = [];
  const shown = () => client.getQueryData<Wolves>(key);
  // What was read anew while pages were on their way is newer than they are.
  const soFar = () => keepNewer(rows, shown()?.rows);
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { rows: more, next } = await pageOf(cursor, PAGE, signal);
    rows.push(...more);
    if (next === undefined) return { rows: soFar(), complete: true };
    cursor = next;
    // Whoever sees nothing yet sees what is there so far; what is whole already stays until the new is.
    if (shown()?.complete !== true) client.setQueryData<Wolves>(key, { rows: soFar(), complete: false });
  }
  return { rows: soFar(), complete: false };
}

/** Every wolf, live. */
export function useWolves() {
  const client = useQueryClient();
  const query = useQuery<Wolves, ApiFailure>({
    queryKey: key,
    queryFn: ({ signal }) => readAll(client, signal),
    staleTime: 60_000,
    structuralSharing: false,
  });
  useEffect(() => {
    let cursor: string | undefined;
    let stopped = false;
    let turn: ReturnType<typeof setTimeout>;
    const take = async () => {
      const shown = client.getQueryData<Wolves>(key);
      let pauseMs = (shown?.rows.length ?? 0) > TURN_ROWS ? TURN_MS : TURN_MS_SMALL;
      if (!document.hidden && shown?.complete === true) {
        try {
          const { rows, next } = await pageOf(cursor, TURN_ROWS);
          if (stopped) return;
          cursor = next;
          client.setQueryData<Wolves>(
            key,
            (before) => before && { ...before, rows: mergeKnown(before.rows, rows) },
          );
        } catch (error) {
          // The next turn asks again; who shows it knows from elsewhere that nothing answers.
          pauseMs = Math.max(pauseMs, (error as ApiFailure).retryAfterMs ?? 0);
        }
      }
      if (!stopped) turn = setTimeout(take, pauseMs);
    };
    turn = setTimeout(take, TURN_MS);
    return () => {
      stopped = true;
      clearTimeout(turn);
    };
  }, [client]);
  return query;
}

/** Those who follow the wolves of a cache, from signing in to signing out. */
const following = new WeakMap<QueryClient, ChangedRows>();

/** Keeps the wolves true while somebody is signed in; returns how to end. */
export function followWolves(client: QueryClient): () => void {
  const rows = createChangedRows<WolfInstance>({
    read: async (id) => {
      const wolf = await readWolf(id);
      if (wolf) putWolf(client, wolf);
      return wolf;
    },
    merge(found) {
      client.setQueryData<Wolves>(
        key,
        (before) => before && { ...before, rows: mergeFound(before.rows, found) },
      );
    },
    async readAll() {
      await client.refetchQueries({ queryKey: key, exact: true, type: "active" }, { cancelRefetch: false });
      return client.getQueryState(key)?.status !== "error";
    },
    isReadingAll: () => client.getQueryState(key)?.fetchStatus === "fetching",
    isShown: () => client.getQueryCache().find({ queryKey: key, exact: true })?.isActive() === true,
    markStale: () => void client.invalidateQueries({ queryKey: key, exact: true, refetchType: "none" }),
  });
  following.set(client, rows);
  return () => {
    rows.stop();
    if (following.get(client) === rows) following.delete(client);
  };
}

async function readWolf(id: string): Promise<WolfInstance | undefined> {
  try {
    return (await call("getWolf", { params: { id } })).body;
  } catch (error) {
    if ((error as ApiFailure).code === "wolf-not-found") return undefined;
    throw error;
  }
}

/** For the page that shows this one, unless it knows better. */
function putWolf(client: QueryClient, wolf: WolfInstance): void {
  client.setQueryData<WolfInstance>(keyOf("getWolf", { params: { id: wolf.id } }), (shown) =>
    shown && shown.updated_at <= wolf.updated_at ? wolf : shown,
  );
}

/** An event names this wolf, or it was told to do something. */
export function wolfChanged(client: QueryClient, id: string): void {
  following.get(client)?.add(id);
}

/** It is no more: nobody has to wait for the list to know. */
export function wolfRemoved(client: QueryClient, id: string): void {
  const found = new Map([[id, undefined]]);
  client.setQueryData<Wolves>(key, (before) => before && { ...before, rows: mergeFound(before.rows, found) });
  wolfChanged(client, id);
}

/** Reads all of them anew, if anybody shows them. */
export function refreshWolves(client: QueryClient): void {
  following.get(client)?.all();
}
