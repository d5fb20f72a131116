/**
 * What the agent sees of Wolf: exactly one /events subscription for its whole life (a second one that leaves can crash Wolf), and
 * a small probe that tells answering, slow and gone apart.
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
import type { Target } from "./target.ts";
import { askUpstream, requestOptions, UpstreamError } from "./upstream.ts";
import { watchCapabilities } from "./wolf-capabilities.ts";

export interface WolfWatchOptions {
  wolf: Target;
  log: Log;
  random: () => number;
  clock: Clock;
  signal: AbortSignal;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
  /** Wolf's events are subscribed to after this; it tells whether another agent may have heard of some. Default: at once. */
  eventsFree?: Promise<boolean>;
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
const PROBE_TIMEOUT_MS = 3000;
const LOBBIES = "GET /api/v1/lobbies";
/** Wolf sends a keepalive every 15 s; silence for three of them means that the stream is dead. */
const EVENTS_SILENCE_MS = 45_000;
const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const reconnect = { baseMs: 250, capMs: 10_000 };

export function watchWolf(options: WolfWatchOptions): WolfWatch {
  const { wolf, log, random, clock, signal, notify, eventsFree, host, images } = options;
  /** Unknown until the first probe: nothing is said about a Wolf that was not asked. */
  let state: AgentHeartbeat | undefined;
  let nap = new AbortController();
  const lookNow = () => nap.abort();
  const events = eventRelay({ clock, log, signal, notify });
  const capabilities = watchCapabilities({ wolf, clock, log, notify, onMissing: lookNow });

  const beat = () => {
    if (state !== undefined) notify(agentNoticeTypes.heartbeat, { ...state, ...host?.beat() });
  };

  async function watchHealth(): Promise<void> {
    while (!signal.aborted) {
      const before = state?.wolf ?? "ok";
      nap = new AbortController();
      const { reply, ...found } = await probe(wolf, signal, capabilities.lacks(LOBBIES));
      if (signal.aborted) return;
      state = found;
      host?.saw(found.wolf === "ok", reply);
      if (reply !== undefined) images?.saw(reply);
      if (state.wolf !== before) log.warn({ ...state, before }, "Wolf's state changed");
      beat();
      events.sayLost();
      await pause(PROBE_INTERVAL_MS, clock, AbortSignal.any([signal, nap.signal]));
    }
  }

  async function watchEvents(): Promise<void> {
    /** What happened until now may be known to nobody. */
    let missed = (await untilAborted(eventsFree, signal)) === true;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const ended = new AbortController();
      let learning: Promise<unknown> = Promise.resolve();
      try {
        const stream = await subscribe(wolf, signal);
        log.info("subscribed to Wolf's events");
        lookNow();
        const there = AbortSignal.any([signal, ended.signal]);
        learning = Promise.all([capabilities.learn(there), images?.watch(there)]);
        // Only now: what changes from here on is told by an event.
        if (missed) events.lose("stream-was-down");
        for await (const item of parseEventStream(stream as AsyncIterable<Uint8Array>)) {
          attempt = 0;
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

type Probed = AgentHeartbeat & {
  /** The list of lobbies. */
  reply?: Buffer;
};

/** Never rejects. `noLobbies`: this Wolf is known to have no list of lobbies, so that its 404 is an answer. */
async function probe(wolf: Target, signal: AbortSignal, noLobbies: boolean): Promise<Probed> {
  const ask = () =>
    askUpstream({
      target: wolf,
      method: "GET",
      path: "/api/v1/lobbies",
      timeoutMs: PROBE_TIMEOUT_MS,
      replyBytesMax: REPLY_BYTES_MAX,
      signal,
    });
  try {
    // Wolf corrupts some long replies, so that one broken reply says nothing yet.
    const { status, body } = await ask().catch((error: unknown) => {
      if (error instanceof UpstreamError && error.code === "upstream-reply-broken") return ask();
      throw error;
    });
    if (status === 200) return { wolf: "ok", reply: body };
    if (status === 404 && noLobbies) return { wolf: "ok" };
    // Something else may listen there, or Wolf is out of order: neither can take a lobby.
    return { wolf: "unreachable", detail: `the list of lobbies is answered with status ${status}` };
  } catch (error) {
    const [code, why] =
      error instanceof UpstreamError ? [error.code, error.message] : ["upstream-unreachable", "unknown"];
    const detail = `${code}: ${why}`.slice(0, 200);
    return { wolf: code === "upstream-timeout" ? "slow" : "unreachable", detail };
  }
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
