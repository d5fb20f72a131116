/**
 * Live events: one EventSource for the tab. What an event concerns is read anew; where events were missed, everything is. A
 * control plane or a proxy that gives no stream is asked every five seconds instead.
 */

import type { QueryClient } from "@tanstack/react-query";
import type { FleetEvent } from "@wolfpack/api-contract";
import { call, whenSignedOut } from "./client.ts";
import { type Concern, concernName, concernsOf, isConcerned } from "./concerns.ts";
import { createPace } from "./pace.ts";
import { refreshWolves, wolfChanged } from "./wolves.ts";

/** `live`: the stream is open. `polling`: no stream, asked every five seconds. `offline`: nothing answers. */
export type LiveState = "connecting" | "live" | "polling" | "offline";

/** One object may be read so often, a list of them so often, whatever happens. */
const OBJECT_MS = 50;
const LIST_MS = 1000;
const POLL_MS = 5000;
/** Before a stream is tried again, at first and at most. */
const RETRY_MS = 1000;
const RETRY_MS_MAX = 60_000;
/** A hidden tab gives its connection back: a browser has six for a host, and others may need them. */
const HIDDEN_MS = 30_000;
/** The server sends a comment every 15 s, which no page sees; errors tell of a broken stream, this of one that never began. */
const HELLO_MS = 10_000;

type EventListener = (event: FleetEvent) => void;

let state: LiveState = "connecting";
let version: string | undefined;
const onState = new Set<() => void>();
const onEvent = new Set<EventListener>();

export const liveState = (): LiveState => state;
/** Of the control plane, as its stream said when it began. */
export const liveVersion = (): string | undefined => version;
export function whenLiveState(listener: () => void): () => void {
  onState.add(listener);
  return () => onState.delete(listener);
}
/** Hears every event as it comes, such as a page that lists them. */
export function whenEvent(listener: EventListener): () => void {
  onEvent.add(listener);
  return () => onEvent.delete(listener);
}

function enter(next: LiveState): void {
  if (state === next) return;
  state = next;
  for (const listener of onState) listener();
}

/** Begins; returns how to end. */
export function startLive(client: QueryClient): () => void {
  const pace = createPace();
  let source: EventSource | undefined;
  let cursor: string | undefined;
  let retryMs = RETRY_MS;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let hello: ReturnType<typeof setTimeout> | undefined;
  let hiding: ReturnType<typeof setTimeout> | undefined;
  let polling: ReturnType<typeof setInterval> | undefined;
  let ended = false;

  function invalidate(concern: Concern): void {
    const run = () =>
      void client.invalidateQueries({ predicate: ({ queryKey }) => isConcerned(queryKey, concern) });
    pace.ask(concernName(concern), run, concern.id === undefined ? LIST_MS : OBJECT_MS);
  }

  function everything(): void {
    pace.ask(
      "everything",
      () => {
        void client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== "wolves" });
        refreshWolves(client);
      },
      LIST_MS,
    );
  }

  function hear(event: FleetEvent): void {
    for (const concern of concernsOf(event)) invalidate(concern);
    if (event.wolf_instance_id) wolfChanged(client, event.wolf_instance_id);
    for (const listener of onEvent) listener(event);
  }

  function stopPolling(): void {
    clearInterval(polling);
    polling = undefined;
  }

  async function poll(): Promise<void> {
    try {
      await call("getFleet");
      if (ended || polling === undefined) return;
      enter("polling");
      everything();
    } catch {
      if (!ended && polling !== undefined) enter("offline");
    }
  }

  function startPolling(): void {
    polling ??= setInterval(() => {
      if (!document.hidden) void poll();
    }, POLL_MS);
    void poll();
  }

  function close(): void {
    source?.close();
    source = undefined;
    clearTimeout(hello);
  }

  function failed(): void {
    close();
    if (ended || document.hidden) return;
    if (state === "live" || state === "connecting") startPolling();
    clearTimeout(retry);
    retry = setTimeout(open, retryMs * (0.5 + Math.random() / 2));
    retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
  }

  function open(): void {
    close();
    const query = cursor === undefined ? "" : `?last_event_id=${encodeURIComponent(cursor)}`;
    const resumed = cursor !== undefined;
    const opened = new EventSource(`/api/v1/events${query}`);
    source = opened;
    hello = setTimeout(failed, HELLO_MS);
    opened.addEventListener("hello", (message) => {
      clearTimeout(hello);
      const said = parsed<{ version?: string; cursor?: string }>(message);
      version = said?.version;
      cursor ??= said?.cursor;
      retryMs = RETRY_MS;
      // Without a place to go on from, nobody knows what happened in between.
      if (!resumed && state !== "connecting") everything();
      stopPolling();
      enter("live");
    });
    opened.addEventListener("missed", everything);
    opened.addEventListener("message", (message) => {
      cursor = message.lastEventId || cursor;
      const event = parsed<FleetEvent>(message);
      if (typeof event?.kind === "string") hear(event);
    });
    // Its own attempts to come back know neither a limit nor that a session may be over.
    opened.addEventListener("error", failed);
  }

  function visibility(): void {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(close, HIDDEN_MS);
      return;
    }
    if (source === undefined) {
      clearTimeout(retry);
      retryMs = RETRY_MS;
      open();
    }
  }

  function end(): void {
    ended = true;
    close();
    stopPolling();
    pace.close();
    clearTimeout(retry);
    clearTimeout(hiding);
    document.removeEventListener("visibilitychange", visibility);
    stopHearing();
  }

  const stopHearing = whenSignedOut(end);
  document.addEventListener("visibilitychange", visibility);
  enter("connecting");
  open();
  return end;
}

function parsed<Value>({ data }: MessageEvent): Value | undefined {
  try {
    return JSON.parse(String(data)) as Value;
  } catch {
    return undefined;
  }
}
