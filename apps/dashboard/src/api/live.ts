/**
 * Live events: one EventSource for the tab. What an event concerns is read anew; where events were missed, everything is. A
 * control plane or a proxy that gives no stream is asked every five seconds instead.
 */

import type { QueryClient } from "@tanstack/react-query";
import type { FleetEvent } from "@wolfpack/api-contract";
import { call, whenSignedOut } from "./client.ts";
import { type Concern, concernName, concernsOf, isConcerned } from "./concerns.ts";
import { createLiveStream, type LiveState } from "./live-stream.ts";
import { browserTimers, createPace } from "./pace.ts";
import { createReread } from "./reread.ts";
import { followWolves, refreshWolves, wolfChanged } from "./wolves.ts";

export type { LiveState } from "./live-stream.ts";

/** One object may be read so often, a list of them so often, and everything so often, whatever happens. */
const OBJECT_MS = 200;
const LIST_MS = 1000;
const EVERYTHING_MS = 5000;
/** An answer that says whether the control plane is there is not waited for any longer. */
const ASK_MS = 10_000;

/** Long lists know by themselves how they are read anew. */
const ownWays: readonly unknown[] = ["wolves", "sessions"];

type EventListener = (event: FleetEvent) => void;

let state: LiveState = "connecting";
let version: string | undefined;
const onState = new Set<() => void>();
const onEvent = new Set<EventListener>();
const onOutdated = new Set<() => void>();

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
/** Hears that events were missed. */
export function whenOutdated(listener: () => void): () => void {
  onOutdated.add(listener);
  return () => onOutdated.delete(listener);
}

function enter(next: LiveState): void {
  if (state === next) return;
  state = next;
  for (const listener of onState) listener();
}

/** Begins; returns how to end. */
export function startLive(client: QueryClient): () => void {
  const pace = createPace();
  const reread = createReread(client);
  const leaveWolves = followWolves(client);

  function outdated(concern: Concern): void {
    const run = () => reread.read((key) => isConcerned(key, concern));
    pace.ask(concernName(concern), run, concern.id === undefined ? LIST_MS : OBJECT_MS);
  }

  function everything(): void {
    const run = () => {
      reread.read(([operation]) => !ownWays.includes(operation));
      void client.invalidateQueries({ queryKey: ["sessions"], refetchType: "none" });
      refreshWolves(client);
      for (const listener of onOutdated) listener();
    };
    pace.ask("everything", run, EVERYTHING_MS);
  }

  function hear(event: FleetEvent): void {
    for (const concern of concernsOf(event)) outdated(concern);
    if (event.wolf_instance_id) wolfChanged(client, event.wolf_instance_id);
    for (const listener of onEvent) listener(event);
  }

  const stream = createLiveStream(
    {
      open: (address) => new EventSource(address),
      ask: () => call("getFleet", undefined, { signal: AbortSignal.timeout(ASK_MS) }),
      isHidden: () => document.hidden,
      random: Math.random,
      timers: browserTimers,
    },
    {
      state: enter,
      version(said) {
        version = said;
      },
      event: hear,
      everything,
    },
  );

  function end(): void {
    stream.end();
    pace.close();
    reread.stop();
    leaveWolves();
    document.removeEventListener("visibilitychange", stream.visibility);
    stopHearing();
  }

  const stopHearing = whenSignedOut(end);
  document.addEventListener("visibilitychange", stream.visibility);
  enter("connecting");
  stream.open();
  return end;
}
