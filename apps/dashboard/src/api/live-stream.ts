/**
 * The stream of events as a machine of states, apart from the browser: opened, resumed where it broke, given up when it is silent,
 * and replaced by asking every five seconds as long as there is none.
 */

import type { FleetEvent } from "@wolfpack/api-contract";
import type { PaceTimers } from "./pace.ts";

/** `live`: the stream is open. `polling`: no stream, asked every five seconds. `offline`: nothing answers. */
export type LiveState = "connecting" | "live" | "polling" | "offline";

export interface StreamSource {
  addEventListener(type: string, listener: (message: MessageEvent) => void): void;
  close(): void;
}

export interface StreamEdges {
  open(address: string): StreamSource;
  /** Resolves if the control plane answers. */
  ask(): Promise<unknown>;
  isHidden(): boolean;
  random(): number;
  timers: PaceTimers;
}

export interface StreamHears {
  state(state: LiveState): void;
  version(version: string | undefined): void;
  event(event: FleetEvent): void;
  /** What happened in between nobody knows. */
  everything(): void;
}

export interface LiveStream {
  open(): void;
  /** The page was hidden, or is shown again. */
  visibility(): void;
  end(): void;
}

export const POLL_MS = 5000;
/** Before a stream is tried again, at first and at most. */
const RETRY_MS = 1000;
const RETRY_MS_MAX = 60_000;
/** A hidden tab gives its connection back: a browser has six for a host, and others may need them. */
export const HIDDEN_MS = 30_000;
/** Errors tell of a broken stream, this of one that never began. */
export const HELLO_MS = 10_000;
/** The server says something every 15 s. A proxy may hold a stream open whose other end is gone. */
export const SILENCE_MS = 40_000;

export function createLiveStream(edges: StreamEdges, hears: StreamHears): LiveStream {
  const { timers } = edges;
  let state: LiveState = "connecting";
  let source: StreamSource | undefined;
  let cursor: string | undefined;
  let retryMs = RETRY_MS;
  let polling = false;
  let ended = false;
  /** Pages were read before there was a stream that tells of changes. */
  let late = false;
  const cancels: Partial<Record<"retry" | "quiet" | "hiding" | "poll", () => void>> = {};

  function cancel(name: keyof typeof cancels): void {
    cancels[name]?.();
    delete cancels[name];
  }

  function after(name: keyof typeof cancels, ms: number, run: () => void): void {
    cancel(name);
    cancels[name] = timers.after(ms, run);
  }

  function enter(next: LiveState): void {
    if (state === next) return;
    state = next;
    hears.state(next);
  }

  function stopPolling(): void {
    polling = false;
    cancel("poll");
  }

  async function poll(): Promise<void> {
    after("poll", POLL_MS, () => void poll());
    if (edges.isHidden()) return;
    try {
      await edges.ask();
      if (ended || !polling) return;
      enter("polling");
      hears.everything();
    } catch {
      if (!ended && polling) enter("offline");
    }
  }

  function close(): void {
    source?.close();
    source = undefined;
    cancel("quiet");
  }

  function failed(): void {
    close();
    if (ended || edges.isHidden()) return;
    if (!polling) {
      polling = true;
      void poll();
    }
    after("retry", retryMs * (0.5 + edges.random() / 2), open);
    retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
  }

  function open(): void {
    if (ended) return;
    // Six tabs that begin in the background would have all connections there are. When it is shown it opens by itself.
    if (edges.isHidden()) {
      late = true;
      return;
    }
    close();
    const resumed = cursor !== undefined;
    const opened = edges.open(
      cursor === undefined ? "/api/v1/events" : `/api/v1/events?last_event_id=${encodeURIComponent(cursor)}`,
    );
    source = opened;
    after("quiet", HELLO_MS, failed);
    /** What a source says that was given up is too late. */
    const on = (type: string, run: (message: MessageEvent) => void) =>
      opened.addEventListener(type, (message) => {
        if (source === opened) run(message);
      });
    const says = (type: string, run: (message: MessageEvent) => void) =>
      on(type, (message) => {
        after("quiet", SILENCE_MS, failed);
        run(message);
      });
    says("hello", (message) => {
      const said = parsed<{ version?: string; cursor?: string }>(message);
      hears.version(said?.version);
      // Also where it goes on behind a gap: from there the next one is resumed.
      cursor = said?.cursor ?? cursor;
      retryMs = RETRY_MS;
      if (!resumed && (late || state !== "connecting")) hears.everything();
      late = false;
      stopPolling();
      enter("live");
    });
    says("beat", () => undefined);
    says("missed", () => hears.everything());
    says("message", (message) => {
      cursor = message.lastEventId || cursor;
      const event = parsed<FleetEvent>(message);
      if (typeof event?.kind === "string") hears.event(event);
    });
    // Its own attempts to come back know neither a limit nor that a session may be over.
    on("error", failed);
  }

  return {
    open,
    visibility() {
      cancel("hiding");
      if (ended) return;
      if (edges.isHidden()) return after("hiding", HIDDEN_MS, close);
      if (source !== undefined) return;
      cancel("retry");
      retryMs = RETRY_MS;
      open();
    },
    end() {
      ended = true;
      close();
      stopPolling();
      cancel("retry");
      cancel("hiding");
    },
  };
}

function parsed<Value>({ data }: MessageEvent): Value | undefined {
  try {
    return JSON.parse(String(data)) as Value;
  } catch {
    return undefined;
  }
}
