/**
 * Wolf's events on their way up: bounded, in order, and no faster than a control plane takes them. What says nothing of a
 * lobby's life gives way first; once something of a lobby was dropped, the control plane has to list the lobbies again.
 */
import type { AgentWolfEvent } from "@wolfpack/api-contract";
import { wolfEventPrefix } from "@wolfpack/wolf-api";

/** At 15 KiB each at most 4 MiB. */
export const EVENTS_QUEUED_MAX = 256;
/** Below what the control plane takes of one agent (500 at once, 100 per second), so that heartbeats always fit. */
export const EVENTS_BURST_MAX = 200;
export const EVENTS_PER_SECOND_MAX = 50;

/** What changes which lobbies there are, or whether one runs. */
const lobbyEvents = new Set(
  ["CreateLobbyEvent", "StopLobbyEvent", "DockerContainerCreated", "DockerContainerStopped"].map(
    (name) => `${wolfEventPrefix}${name}`,
  ),
);

export interface EventQueue {
  push(event: AgentWolfEvent): void;
  /** The next event that may go now. */
  take(nowMs: number): AgentWolfEvent | undefined;
  /** Milliseconds until `take` gives one; undefined when none waits. */
  waitMs(nowMs: number): number | undefined;
  /** True once after events of lobbies were dropped and all others have gone. */
  takeGap(): boolean;
}

export function eventQueue(nowMs: number): EventQueue {
  const queue: AgentWolfEvent[] = [];
  let gap = false;
  let tokens = EVENTS_BURST_MAX;
  let filledAt = nowMs;

  function fill(now: number): void {
    const more = (Math.max(0, now - filledAt) / 1000) * EVENTS_PER_SECOND_MAX;
    tokens = Math.min(EVENTS_BURST_MAX, tokens + more);
    filledAt = now;
  }

  return {
    push(event) {
      // A stop tells of itself twice; nothing is learned from the second.
      if (lobbyEvents.has(event.event) && queue.some((waiting) => saysTheSame(waiting, event))) return;
      queue.push(event);
      if (queue.length <= EVENTS_QUEUED_MAX) return;
      const idle = queue.findIndex(({ event: name }) => !lobbyEvents.has(name));
      if (idle < 0) gap = true;
      queue.splice(Math.max(0, idle), 1);
    },

    take(now) {
      fill(now);
      if (tokens < 1) return undefined;
      const event = queue.shift();
      if (event !== undefined) tokens -= 1;
      return event;
    },

    waitMs(now) {
      if (queue.length === 0) return undefined;
      fill(now);
      return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) / EVENTS_PER_SECOND_MAX) * 1000);
    },

    takeGap() {
      if (!gap || queue.length > 0) return false;
      gap = false;
      return true;
    },
  };
}

const lobbyOf = ({ data }: AgentWolfEvent) => data.lobby_id ?? data.session_id ?? data.id;
const saysTheSame = (a: AgentWolfEvent, b: AgentWolfEvent) =>
  a.event === b.event && typeof lobbyOf(a) === "string" && lobbyOf(a) === lobbyOf(b);
