/**
 * Wolf's events on their way up: bounded, and no faster than a control plane takes them. Those of a lobby's life go first, in
 * their order, and give way last; once one of them was dropped, the control plane has to list the lobbies again.
 */
import type { AgentWolfEvent } from "@wolfpack/api-contract";
import { wolfEventPrefix } from "@wolfpack/wolf-api";

/** At 15 KiB each at most 4 MiB. */
export const EVENTS_QUEUED_MAX = 256;
/** Below what the control plane takes of one agent (500 at once, 100 per second), so that heartbeats always fit. */
export const EVENTS_BURST_MAX = 200;
export const EVENTS_PER_SECOND_MAX = 50;

const prefixed = (...names: string[]) => names.map((name) => `${wolfEventPrefix}${name}`);

/** What changes which lobbies there are, or whether one runs. */
const lobbyEvents = new Set(
  prefixed("CreateLobbyEvent", "StopLobbyEvent", "DockerContainerCreated", "DockerContainerStopped"),
);
const otherEvents = new Set([
  ...prefixed("JoinLobbyEvent", "LeaveLobbyEvent"),
  ...prefixed("StreamSession", "PauseStreamEvent", "ResumeStreamEvent", "StopStreamEvent"),
  "DockerPullImageStartEvent",
  "DockerPullImageEndEvent",
]);

/**
 * Whether an event goes up at all. The rest is of use to no one there, may come with every packet, and some of it is secret
 * (a ping's payload is what Wolf knows a stream by).
 */
export const goesUp = (event: string): boolean => lobbyEvents.has(event) || otherEvents.has(event);

/** Numbered when it goes: what gives way, or is overtaken, leaves no gap in the numbers. */
export type WaitingEvent = Omit<AgentWolfEvent, "seq">;

export interface EventQueue {
  push(event: WaitingEvent): void;
  /** An event of a lobby could not be read. */
  lose(): void;
  /** What may go now: the next event, or the word that events of lobbies were lost, once and after all events. */
  take(nowMs: number): WaitingEvent | "gap" | undefined;
  /** Milliseconds until `take` gives something; undefined when nothing waits. */
  waitMs(nowMs: number): number | undefined;
}

export function eventQueue(nowMs: number): EventQueue {
  const ofLobbies: WaitingEvent[] = [];
  const others: WaitingEvent[] = [];
  let gap = false;
  let tokens = EVENTS_BURST_MAX;
  let filledAt = nowMs;

  function fill(now: number): void {
    const more = (Math.max(0, now - filledAt) / 1000) * EVENTS_PER_SECOND_MAX;
    tokens = Math.min(EVENTS_BURST_MAX, tokens + more);
    filledAt = now;
  }

  function next(): WaitingEvent | "gap" | undefined {
    const event = ofLobbies.shift() ?? others.shift();
    if (event !== undefined || !gap) return event;
    gap = false;
    return "gap";
  }

  return {
    push(event) {
      const ofLobby = lobbyEvents.has(event.event);
      // A stop tells of itself twice; nothing is learned from the second.
      if (ofLobby && ofLobbies.some((waiting) => saysTheSame(waiting, event))) return;
      (ofLobby ? ofLobbies : others).push(event);
      if (ofLobbies.length + others.length <= EVENTS_QUEUED_MAX) return;
      if (others.shift() !== undefined) return;
      ofLobbies.shift();
      gap = true;
    },

    lose() {
      gap = true;
    },

    take(now) {
      fill(now);
      if (tokens < 1) return undefined;
      const taken = next();
      if (taken !== undefined) tokens -= 1;
      return taken;
    },

    waitMs(now) {
      if (ofLobbies.length + others.length === 0 && !gap) return undefined;
      fill(now);
      return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) / EVENTS_PER_SECOND_MAX) * 1000);
    },
  };
}

const lobbyOf = ({ data }: WaitingEvent) => data.lobby_id ?? data.session_id ?? data.id;
const saysTheSame = (a: WaitingEvent, b: WaitingEvent) =>
  a.event === b.event && typeof lobbyOf(a) === "string" && lobbyOf(a) === lobbyOf(b);
