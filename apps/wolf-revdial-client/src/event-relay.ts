/** Wolf's events on their way into notices: numbered, without secrets, small enough; and the word that some were lost. */
import { type AgentRelist, type AgentWolfEvent, agentNoticeTypes } from "@wolfpack/api-contract";
import { parseWolfJson, redactWolfEvent, type WolfEvent } from "@wolfpack/wolf-api";
import { type Clock, pause } from "./clock.ts";
import { eventQueue } from "./event-queue.ts";
import type { Log } from "./logger.ts";

export interface EventRelayOptions {
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  /** Sends a notice up; false when it was dropped. */
  notify: (type: string, payload: unknown) => boolean;
}

export interface EventRelay {
  /** Takes one event as it came; what is left of it without secrets, undefined for what is no event. */
  take(event: string, data: string): WolfEvent | undefined;
  /** Events were lost: the control plane is told, now or by the next `sayLost`. */
  lose(reason: AgentRelist["reason"]): void;
  /** Says that events were lost, unless that is said already. */
  sayLost(): void;
}

const NOTICE_BYTES_MAX = 15 * 1024;
/** Longer strings are no ids. */
const ID_CHARACTERS_MAX = 200;

export function eventRelay({ clock, log, signal, notify }: EventRelayOptions): EventRelay {
  const queue = eventQueue(clock.now());
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
      const event = queue.take(clock.now());
      // Without a tunnel it is gone: the control plane lists the lobbies when the next one is up.
      if (event !== undefined && !notify(agentNoticeTypes.wolfEvent, event)) lost = "events-dropped";
      wait = queue.waitMs(clock.now());
    }
    sending = false;
    if (queue.takeGap()) lost = "events-dropped";
    sayLost();
  }

  return {
    take(event, data) {
      seq += 1;
      const json = jsonObject(data);
      if (json === undefined) {
        log.warn({ event: event.slice(0, 100) }, "an event of Wolf is not a JSON object");
        return undefined;
      }
      const safe = redactWolfEvent({ event, data: json });
      const notice: AgentWolfEvent = { seq, event: safe.event.slice(0, 200), data: safe.data };
      if (Buffer.byteLength(JSON.stringify(notice)) > NOTICE_BYTES_MAX) notice.data = idsOf(safe.data);
      queue.push(notice);
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
