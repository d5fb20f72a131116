/**
 * All wolves of the fleet in the cache, however many: shown from the first page on, and one of them read anew when an event names
 * it, so that a change among ten thousand costs one row.
 */

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import type { WolfInstance } from "@wolfpack/api-contract";
import { useEffect } from "react";
import { type ApiFailure, call, nextCursor } from "./client.ts";
import { mergeRows } from "./merge-rows.ts";
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
/** At once. */
const READERS = 4;
/** More than these are read as pages. */
const CHANGED_MAX = 300;
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
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { rows: more, next } = await pageOf(cursor, PAGE, signal);
    rows.push(...more);
    if (next === undefined) return { rows, complete: true };
    cursor = next;
    // Whoever sees nothing yet sees what is there so far; what is whole already stays until the new is.
    if (client.getQueryData<Wolves>(key)?.complete !== true)
      client.setQueryData<Wolves>(key, { rows: rows.slice(), complete: false });
  }
  return { rows, complete: false };
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
      if (!document.hidden && shown?.complete === true) {
        try {
          const { rows, next } = await pageOf(cursor, TURN_ROWS);
          if (stopped) return;
          cursor = next;
          merge(client, rows);
        } catch {
          // The next turn asks again; who shows it knows from elsewhere that nothing answers.
        }
      }
      if (!stopped) turn = setTimeout(take, (shown?.rows.length ?? 0) > TURN_ROWS ? TURN_MS : TURN_MS_SMALL);
    };
    turn = setTimeout(take, TURN_MS);
    return () => {
      stopped = true;
      clearTimeout(turn);
    };
  }, [client]);
  return query;
}

function merge(client: QueryClient, news: readonly WolfInstance[]): void {
  client.setQueryData<Wolves>(key, (before) => before && { ...before, rows: mergeRows(before.rows, news) });
}

const changed = new Set<string>();
let readers = 0;

/** An event names this wolf. */
export function wolfChanged(client: QueryClient, id: string): void {
  if (client.getQueryData(key) === undefined) return;
  changed.add(id);
  if (changed.size > CHANGED_MAX) {
    changed.clear();
    refreshWolves(client);
  }
  while (readers < READERS && readers < changed.size) void readChanged(client);
}

async function readChanged(client: QueryClient): Promise<void> {
  readers += 1;
  try {
    for (let [id] = changed; id !== undefined; [id] = changed) {
      changed.delete(id);
      await readOne(client, id);
    }
  } finally {
    readers -= 1;
  }
}

async function readOne(client: QueryClient, id: string): Promise<void> {
  try {
    const { body } = await call("getWolf", { params: { id } });
    client.setQueryData(keyOf("getWolf", { params: { id } }), body);
    merge(client, [body]);
  } catch (error) {
    if ((error as ApiFailure).code !== "wolf-not-found") return;
    client.setQueryData<Wolves>(
      key,
      (before) => before && { ...before, rows: before.rows.filter((wolf) => wolf.id !== id) },
    );
  }
}

/** Reads all of them anew, if anybody shows them. */
export function refreshWolves(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: key });
}
