/**
 * What the agent sees of Wolf: exactly one /events subscription for its whole life (a second one that leaves can crash Wolf), and
 * a small probe that tells answering, slow and gone apart.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import {
  type AgentCapabilities,
  type AgentHeartbeat,
  type AgentRelist,
  type AgentWolfEvent,
  agentNoticeTypes,
} from "@wolfpack/api-contract";
import { parseEventStream, parseWolfJson, redactWolfEvent } from "@wolfpack/wolf-api";
import { backoffMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { eventQueue } from "./event-queue.ts";
import type { HostWatch } from "./inventory/host-watch.ts";
import type { ImageWatch } from "./inventory/images.ts";
import type { Log } from "./logger.ts";
import type { Target } from "./target.ts";
import { askUpstream, requestOptions, UpstreamError } from "./upstream.ts";
import { probeCapabilities } from "./wolf-capabilities.ts";

export interface WolfWatchOptions {
  wolf: Target;
  log: Log;
  random: () => number;
  clock: Clock;
  signal: AbortSignal;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
  /** Wolf's events are subscribed to after this. Default: at once. */
  eventsFree?: Promise<void>;
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
const NOTICE_BYTES_MAX = 15 * 1024;
/** A Wolf that could not say what it can do is asked again. */
const CAPABILITIES_RETRY_MS = 60_000;
/** Longer strings are no ids. */
const ID_CHARACTERS_MAX = 200;
const reconnect = { baseMs: 250, capMs: 10_000 };

export function watchWolf(options: WolfWatchOptions): WolfWatch {
  const { wolf, log, random, clock, signal, notify, eventsFree, host, images } = options;
  /** Unknown until the first probe: nothing is said about a Wolf that was not asked. */
  let state: AgentHeartbeat | undefined;
  let seq = 0;
  let nap = new AbortController();

  /** Undefined until Wolf was asked. */
  let capabilities: AgentCapabilities | undefined;
  /** Events were lost, and the control plane has not been told yet. */
  let lost: AgentRelist["reason"] | undefined;
  const queue = eventQueue(clock.now());
  let sending = false;

  const beat = () => {
    if (state !== undefined) notify(agentNoticeTypes.heartbeat, { ...state, ...host?.beat() });
  };
  const sayCapabilities = () => {
    if (capabilities !== undefined) notify(agentNoticeTypes.capabilities, capabilities);
  };
  const sayLost = () => {
    if (lost !== undefined && notify(agentNoticeTypes.relist, { reason: lost })) lost = undefined;
  };
  const announce = () => {
    beat();
    sayCapabilities();
    sayLost();
  };

  /** Asks once per start of Wolf; an answer that says nothing is asked for again as long as that Wolf is there. */
  async function learn(stream: AbortSignal): Promise<void> {
    while (!stream.aborted) {
      const learned = await probeCapabilities(wolf, stream);
      if (stream.aborted) return;
      if (learned.schema_hash !== capabilities?.schema_hash) {
        const { schema_hash, features, missing } = learned;
        if (missing.length > 0)
          log.warn({ schema_hash, features, missing }, "this Wolf lacks what sessions need");
        else
          log.info(
            { schema_hash, features },
            schema_hash ? "Wolf's capabilities" : "Wolf does not say what it can do",
          );
      }
      const before = capabilities?.missing.length ?? 0;
      capabilities = learned;
      sayCapabilities();
      if (learned.missing.length !== before) nap.abort(); // Its answer to the probe means something else now.
      if (learned.schema_hash !== null) return;
      await pause(CAPABILITIES_RETRY_MS, clock, stream);
    }
  }

  /** Sends what waits, at most as fast as the queue allows; one at a time, so that order stays. */
  async function send(): Promise<void> {
    if (sending) return;
    sending = true;
    for (let wait = queue.waitMs(clock.now()); wait !== undefined && !signal.aborted; ) {
      if (wait > 0) await pause(wait, clock, signal);
      const event = queue.take(clock.now());
      // Without a tunnel it is gone: the control plane lists the lobbies when the next one is up.
      if (event !== undefined && !notify(agentNoticeTypes.wolfEvent, event)) lost = "events-dropped";
      wait = queue.waitMs(clock.now());
    }
    sending = false;
    if (queue.takeGap()) lost = "events-dropped";
    sayLost();
  }

  async function probe(): Promise<AgentHeartbeat> {
    const ask = () =>
      askUpstream({
        target: wolf,
        method: "GET",
        path: "/api/v1/lobbies",
        timeoutMs: PROBE_TIMEOUT_MS,
        replyBytesMax: 4 * 1024 * 1024,
        signal,
      });
    try {
      // Wolf corrupts some long replies, so that one broken reply says nothing yet.
      const { status, body } = await ask().catch((error: unknown) => {
        if (error instanceof UpstreamError && error.code === "upstream-reply-broken") return ask();
        throw error;
      });
      // A Wolf from before lobbies answers so; what it lacks, its capabilities say.
      const answers = status === 200 || (status === 404 && capabilities?.missing.includes(LOBBIES) === true);
      host?.saw(answers, body);
      if (status === 200) images?.saw(body);
      // Something else may listen there, or Wolf is out of order: neither can take a lobby.
      return answers
        ? { wolf: "ok" }
        : { wolf: "unreachable", detail: `the list of lobbies is answered with status ${status}` };
    } catch (error) {
      host?.saw(false, undefined);
      const [code, why] =
        error instanceof UpstreamError ? [error.code, error.message] : ["upstream-unreachable", "unknown"];
      const detail = `${code}: ${why}`.slice(0, 200);
      return { wolf: code === "upstream-timeout" ? "slow" : "unreachable", detail };
    }
  }

  async function watchHealth(): Promise<void> {
    while (!signal.aborted) {
      const before = state?.wolf ?? "ok";
      nap = new AbortController();
      state = await probe();
      if (signal.aborted) return;
      if (state.wolf !== before) log.warn({ ...state, before }, "Wolf's state changed");
      beat();
      sayLost();
      await pause(PROBE_INTERVAL_MS, clock, AbortSignal.any([signal, nap.signal]));
    }
  }

  function tell(event: string, data: string): void {
    seq += 1;
    let json: unknown;
    try {
      json = parseWolfJson(data);
    } catch {
      json = undefined;
    }
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      log.warn({ event: event.slice(0, 100) }, "an event of Wolf is not a JSON object");
      return;
    }
    const safe = redactWolfEvent({ event, data: json as Record<string, unknown> });
    images?.heard(safe.event, safe.data);
    const notice: AgentWolfEvent = { seq, event: safe.event.slice(0, 200), data: safe.data };
    if (Buffer.byteLength(JSON.stringify(notice)) > NOTICE_BYTES_MAX) notice.data = idsOf(safe.data);
    queue.push(notice);
    void send();
  }

  async function watchEvents(): Promise<void> {
    if (eventsFree !== undefined) await untilAborted(eventsFree, signal);
    for (let attempt = 0, streams = 0; !signal.aborted; attempt += 1) {
      const ended = new AbortController();
      let learning: Promise<unknown> = Promise.resolve();
      try {
        const stream = await subscribe(wolf, signal);
        log.info("subscribed to Wolf's events");
        nap.abort(); // Wolf is there: the probe says so now.
        const there = AbortSignal.any([signal, ended.signal]);
        learning = Promise.all([learn(there), images?.watch(there)]);
        streams += 1;
        // Only now: what changes from here on is told by an event.
        if (streams > 1) lost = "stream-was-down";
        sayLost();
        for await (const item of parseEventStream(stream as AsyncIterable<Uint8Array>)) {
          attempt = 0;
          if ("event" in item) tell(item.event, item.data);
        }
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, "Wolf's event stream ended");
      }
      ended.abort();
      await learning;
      nap.abort(); // Wolf may have gone: the probe looks now.
      await pause(backoffMs(attempt, { ...reconnect, random }) + reconnect.baseMs, clock, signal);
    }
  }

  const done = Promise.all([watchHealth(), watchEvents()]).then(() => undefined);
  return { announce, done };
}

/** What matters of an event that is too large for a notice. */
function idsOf(data: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(data).filter(
      ([name, value]) =>
        /^(id|lobby_id|session_id|name)$/.test(name) &&
        typeof value === "string" &&
        value.length <= ID_CHARACTERS_MAX,
    ),
  );
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

function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    void promise.then(resolve);
  });
}
