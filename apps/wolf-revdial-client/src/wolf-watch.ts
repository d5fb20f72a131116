/**
 * What the agent sees of Wolf: exactly one /events subscription for its whole life (a second one that leaves can crash Wolf), and
 * a small probe, one at a time.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { type AgentHeartbeat, agentNoticeTypes } from "@wolfpack/api-contract";
import { parseEventStream } from "@wolfpack/wolf-api";
import { backoffMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { eventRelay } from "./event-relay.ts";
import type { HostWatch } from "./inventory/host-watch.ts";
import type { ImageWatch } from "./inventory/images.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { Target } from "./target.ts";
import { requestOptions } from "./upstream.ts";
import { watchCapabilities } from "./wolf-capabilities.ts";
import { probeWolf } from "./wolf-probe.ts";

export interface WolfWatchOptions {
  wolf: Target;
  log: Log;
  metrics: Metrics;
  random: () => number;
  clock: Clock;
  signal: AbortSignal;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
  /** Wolf's events are subscribed to after this; it tells whether another agent may have heard of some. Default: at once. */
  eventsFree?: Promise<boolean>;
  /** Waits for that, or does no longer. */
  onEventsWait?: (waits: boolean) => void;
  /** Hears of every probe, and adds to every heartbeat. */
  host?: Pick<HostWatch, "saw" | "beat"> | undefined;
  /** Hears of starts, lists of lobbies and events. */
  images?: Pick<ImageWatch, "watch" | "saw" | "heard"> | undefined;
}

export interface WolfWatch {
  /** Says the present state at once: a tunnel has just come up. */
  announce(): void;
  /** Settles when the signal has aborted and everything is closed. */
  readonly done: Promise<void>;
}

const PROBE_INTERVAL_MS = 10_000;
const LOBBIES = "GET /api/v1/lobbies";
/** Wolf sends a keepalive every 15 s; silence for three of them means that the stream is dead. */
const EVENTS_SILENCE_MS = 45_000;
const EVENTS_ALIVE_MS = 20_000;
/** An older agent that is well leaves sooner; behind another, what can be asked is asked without events. */
const WAIT_PATIENCE_MS = 5000;
const WAIT_WARNING_MS = 60_000;
const reconnect = { baseMs: 250, capMs: 10_000 };

export function watchWolf(options: WolfWatchOptions): WolfWatch {
  const { wolf, log, metrics, random, clock, signal, notify, host, images } = options;
  /** Unknown until the first probe: nothing is said about a Wolf that was not asked. */
  let state: AgentHeartbeat | undefined;
  /** When the event stream last said anything, keepalives included. */
  let heardAt = Number.NEGATIVE_INFINITY;
  let nap = new AbortController();
  const lookNow = () => nap.abort();
  const events = eventRelay({ clock, log, metrics, signal, notify });
  const capabilities = watchCapabilities({ wolf, clock, log, notify, onMissing: lookNow });

  const beat = () => {
    if (state !== undefined) notify(agentNoticeTypes.heartbeat, { ...state, ...host?.beat() });
  };

  function become(found: AgentHeartbeat): void {
    const before = state?.wolf;
    state = found;
    if (found.wolf !== (before ?? "ok")) log.warn({ ...found, before }, "Wolf's state changed");
    beat();
  }

  /** The I/O thread of a Wolf whose other threads hang still sends keepalives: it tells one hang from another, and excuses none. */
  const withEvents = (found: AgentHeartbeat): AgentHeartbeat => {
    if (found.wolf !== "stuck") return found;
    const alive = clock.now() - heardAt <= EVENTS_ALIVE_MS;
    return {
      ...found,
      detail: `${found.detail}, ${alive ? "though its event stream is alive" : "and its event stream is silent"}`,
    };
  };

  async function watchHealth(): Promise<void> {
    while (!signal.aborted) {
      nap = new AbortController();
      const { reply, ...found } = await probeWolf({
        wolf,
        clock,
        signal,
        noLobbies: capabilities.lacks(LOBBIES),
        onSlow(slow) {
          // A stuck Wolf stays so until it answers.
          if (state?.wolf !== "stuck") become(slow);
        },
      });
      if (signal.aborted) return;
      host?.saw(reply !== undefined || found.wolf === "ok", reply);
      if (reply !== undefined) images?.saw(reply);
      become(withEvents(found));
      events.sayLost();
      await pause(PROBE_INTERVAL_MS, clock, AbortSignal.any([signal, nap.signal]));
    }
  }

  const learn = (there: AbortSignal): Promise<unknown> =>
    Promise.all([capabilities.learn(there), images?.watch(there)]);

  async function watchEvents(): Promise<void> {
    /** What happened until now may be known to nobody. */
    let missed = await waitForEvents(options, learn);
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const ended = new AbortController();
      let learning: Promise<unknown> = Promise.resolve();
      try {
        const stream = await subscribe(wolf, signal);
        log.info("subscribed to Wolf's events");
        lookNow();
        const there = AbortSignal.any([signal, ended.signal]);
        learning = learn(there);
        // Only now: what changes from here on is told by an event.
        if (missed) events.lose("stream-was-down");
        for await (const item of parseEventStream(stream as AsyncIterable<Uint8Array>)) {
          attempt = 0;
          heardAt = clock.now();
          const event = "event" in item ? events.take(item.event, item.data) : undefined;
          if (event !== undefined) images?.heard(event.event, event.data);
        }
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, "Wolf's event stream ended");
      }
      missed = true;
      ended.abort();
      await learning;
      lookNow(); // Wolf may have gone.
      await pause(backoffMs(attempt, { ...reconnect, random }) + reconnect.baseMs, clock, signal);
    }
  }

  return {
    announce() {
      beat();
      capabilities.say();
      events.sayLost();
    },
    done: Promise.all([watchHealth(), watchEvents()]).then(() => undefined),
  };
}

/** Resolves when Wolf's events are ours, or the signal has aborted: to whether another agent may have heard of some. */
async function waitForEvents(
  { eventsFree, onEventsWait, clock, log, signal }: WolfWatchOptions,
  learn: (there: AbortSignal) => Promise<unknown>,
): Promise<boolean> {
  const free = new AbortController();
  const over = AbortSignal.any([signal, free.signal]);
  const freed = untilAborted(eventsFree, signal).finally(() => free.abort());
  onEventsWait?.(true);
  await pause(WAIT_PATIENCE_MS, clock, over);
  const learning = over.aborted ? undefined : learn(over);
  await pause(WAIT_WARNING_MS - WAIT_PATIENCE_MS, clock, over);
  if (!over.aborted)
    log.warn(
      { waited_s: WAIT_WARNING_MS / 1000 },
      "does not hear Wolf's events: waits for an older agent of this host to end, or for the folder of Wolf's socket",
    );
  const before = await freed;
  onEventsWait?.(false);
  // One look at Wolf's images at a time.
  await learning;
  return before === true;
}

function subscribe(wolf: Target, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      ...requestOptions(wolf),
      method: "GET",
      path: "/api/v1/events",
      agent: false,
      headers: { host: "localhost" },
      signal,
    });
    request.setTimeout(EVENTS_SILENCE_MS, () =>
      request.destroy(new Error("no sign of life on the event stream")),
    );
    request.on("error", reject);
    request.on("response", (response) => {
      if (response.statusCode === 200) return resolve(response);
      request.destroy(); // Or a body without an end would keep this connection open beside the next one.
      reject(new Error(`the event stream was answered with status ${response.statusCode}`));
    });
    request.end();
  });
}

/** Undefined when the signal aborted first. */
function untilAborted(
  promise: Promise<boolean> | undefined,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    if (signal.aborted || promise === undefined) return resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
    void promise.then(resolve);
  });
}
