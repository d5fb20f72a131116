/** Wolf's events on their way into notices: those that go up, numbered, without secrets, small enough; and the word that some were lost. */
import { type AgentRelist, type AgentWolfEvent, agentNoticeTypes } from "@wolfpack/api-contract";
import { parseWolfJson, redactWolfEvent, type WolfEvent } from "@wolfpack/wolf-api";
import { type Clock, pause } from "./clock.ts";
import { eventQueue, goesUp, type WaitingEvent } from "./event-queue.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

export interface EventRelayOptions {
  clock: Clock;
  log: Log;
  /** Counts what does not go up. */
  metrics: Metrics;
  signal: AbortSignal;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
}

export interface EventRelay {
  /** Takes one event as it came; what is left of it without secrets, undefined for what does not go up. */
  take(event: string, data: string): WolfEvent | undefined;
  /** Events were lost: the control plane is told, now or by the next `sayLost`. */
  lose(reason: AgentRelist["reason"]): void;
  /** Says that events were lost, unless that is said already. */
  sayLost(): void;
}

const NOTICE_BYTES_MAX = 15 * 1024;
/** `"seq":` and 16 digits at most. */
const SEQ_BYTES_MAX = 23;
/** Malformed events are logged at most this often: a flood of them is no flood of lines. */
const MALFORMED_LOGGED_EVERY_MS = 10_000;
/** Longer strings are no ids. */
const ID_CHARACTERS_MAX = 200;

export function eventRelay({ clock, log, metrics, signal, notify }: EventRelayOptions): EventRelay {
  const queue = eventQueue(clock.now());
  const malformed = malformedCounter(clock, log);
  signal.addEventListener("abort", malformed.report, { once: true });
  let seq = 0;
  let sending = false;
  /** Events were lost, and the control plane has not been told yet. */
  let lost: AgentRelist["reason"] | undefined;

  function sayLost(): void {
    if (lost !== undefined && notify(agentNoticeTypes.relist, { reason: lost })) lost = undefined;
  }

  /** Sends what waits, at most as fast as the queue allows; one at a time, so that order stays. */
  async function send(): Promise<void> {
    if (sending) return;
    sending = true;
    for (let wait = queue.waitMs(clock.now()); wait !== undefined && !signal.aborted; ) {
      if (wait > 0) await pause(wait, clock, signal);
      const taken = queue.take(clock.now());
      // Without a tunnel it is gone: the control plane lists the lobbies when the next one is up.
      if (taken === "gap" || (taken !== undefined && !tell(taken))) lost = "events-dropped";
      if (taken === "gap") sayLost();
      wait = queue.waitMs(clock.now());
    }
    sending = false;
    sayLost();
  }

  function tell(event: WaitingEvent): boolean {
    seq += 1;
    return notify(agentNoticeTypes.wolfEvent, { seq, ...event } satisfies AgentWolfEvent);
  }

  return {
    take(event, data) {
      if (!goesUp(event)) return void metrics.count("events_not_sent", { why: "not-needed" });
      const json = jsonObject(data);
      if (json === undefined) {
        metrics.count("events_not_sent", { why: "malformed" });
        malformed.add(event);
        queue.lose();
        void send();
        return undefined;
      }
      const safe = redactWolfEvent({ event, data: json });
      const large = Buffer.byteLength(JSON.stringify(safe)) > NOTICE_BYTES_MAX - SEQ_BYTES_MAX;
      queue.push(large ? { event, data: idsOf(safe.data) } : safe);
      void send();
      return safe;
    },
    lose(reason) {
      lost = reason;
      sayLost();
    },
    sayLost,
  };
}

function jsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = parseWolfJson(text);
    return typeof json === "object" && json !== null && !Array.isArray(json)
      ? (json as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
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

function malformedCounter(clock: Clock, log: Log): { add(event: string): void; report(): void } {
  let count = 0;
  let last = "";
  let reportedAt = Number.NEGATIVE_INFINITY;
  function report(): void {
    if (count > 0) log.warn({ event: last, count }, "events of Wolf are not JSON objects");
    count = 0;
    reportedAt = clock.now();
  }
  return {
    add(event) {
      count += 1;
      last = event.slice(0, 100);
      if (clock.now() - reportedAt >= MALFORMED_LOGGED_EVERY_MS) report();
    },
    report,
  };
}
