/** A log in a component: its newest page, what comes live, older pages when they are asked for. One list for each key. */

import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import type { ApiFailure } from "./client.ts";
import {
  emptyFeed,
  type Feed,
  type FeedRow,
  type Page,
  released,
  withHead,
  withHeard,
  withOlder,
} from "./feed-rows.ts";

/** What comes live is drawn so often. */
const DRAW_MS = 150;

export interface FeedOptions<Row extends FeedRow> {
  /** Names the log and its filter. A component shows one for its whole life: give it a `key`. */
  key: readonly unknown[];
  read: (cursor: string | undefined, signal?: AbortSignal) => Promise<Page<Row>>;
  /** Nothing moves while it is true; what comes is counted. */
  hold: boolean;
  /** Where it is live: calls back with each new row, returns how to stop. Stable. */
  listen?: (hear: (row: Row) => void) => () => void;
  /** How often its newest page is read anew. */
  refetchMs?: number;
}

type Step<Row extends FeedRow> =
  | { head: Page<Row> }
  | { heard: readonly Row[]; hold: boolean }
  | { older: Page<Row> }
  | "release";

function stepped<Row extends FeedRow>(feed: Feed<Row>, step: Step<Row>): Feed<Row> {
  if (step === "release") return released(feed);
  if ("head" in step) return withHead(feed, step.head);
  return "older" in step ? withOlder(feed, step.older) : withHeard(feed, step.heard, step.hold);
}

export function useFeed<Row extends FeedRow>({ key, read, hold, listen, refetchMs }: FeedOptions<Row>) {
  const [feed, dispatch] = useReducer(stepped<Row>, emptyFeed as Feed<Row>);
  const head = useQuery<Page<Row>, ApiFailure>({
    queryKey: key,
    queryFn: ({ signal }) => read(undefined, signal),
    enabled: !hold || !feed.loaded,
    staleTime: Number.POSITIVE_INFINITY,
    // What was read before says nothing of what has happened since.
    gcTime: 0,
    refetchInterval: refetchMs ?? false,
  });
  useEffect(() => {
    if (head.data) dispatch({ head: head.data });
  }, [head.data]);
  useEffect(() => {
    if (!hold) dispatch("release");
  }, [hold]);

  const holding = useRef(hold);
  holding.current = hold;
  useEffect(() => {
    let heard: Row[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = listen?.((row) => {
      heard.push(row);
      timer ??= setTimeout(() => {
        timer = undefined;
        dispatch({ heard, hold: holding.current });
        heard = [];
      }, DRAW_MS);
    });
    return () => {
      stop?.();
      clearTimeout(timer);
    };
  }, [listen]);

  const { older, busy, error } = useOlder(feed.cursor, read, dispatch);
  return { feed, head, older, olderBusy: busy, olderError: error };
}

function useOlder<Row extends FeedRow>(
  cursor: string | undefined,
  read: FeedOptions<Row>["read"],
  dispatch: (step: Step<Row>) => void,
) {
  const asking = useRef<AbortController>(undefined);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const older = useCallback(async () => {
    if (cursor === undefined || asking.current) return;
    const controller = new AbortController();
    asking.current = controller;
    setBusy(true);
    setError(undefined);
    try {
      const page = await read(cursor, controller.signal);
      if (!controller.signal.aborted) dispatch({ older: page });
    } catch (cause) {
      if (!controller.signal.aborted) setError(cause as Error);
    } finally {
      asking.current = undefined;
      setBusy(false);
    }
  }, [cursor, read, dispatch]);
  useEffect(() => () => asking.current?.abort(), []);
  return { older, busy, error };
}
