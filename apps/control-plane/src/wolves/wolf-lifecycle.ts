/** The three axes of a wolf's state, as tables, and the one word that users see. */
import type { Connectivity, Health, Intent, WolfStatus } from "@wolfpack/api-contract";

/** A lost wolf is offline whatever else is known; a suspect one is not to be counted on. */
export const derivedStatus: Record<Connectivity, Record<Health, WolfStatus>> = {
  connected: { ok: "online", degraded: "degraded", failed: "degraded" },
  suspect: { ok: "degraded", degraded: "degraded", failed: "degraded" },
  lost: { ok: "offline", degraded: "offline", failed: "offline" },
};

export type ConnectivityEvent =
  | "tunnelOpened"
  | "tunnelLives"
  | "tunnelLost"
  | "graceOver"
  | "heartbeat"
  | "stale";

/**
 * What the store's statements do; a test holds them to this table. An absent cell changes nothing. `heartbeat` is one by HTTP or
 * a registration, or of a daemon of Helix as long as there was no tunnel; `stale` concerns wolves without a live tunnel. `tunnelLives` is said of the newest tunnel by the replica that has it, which
 * knows better than whoever took it for gone.
 */
export const connectivityTransitions: Record<
  Connectivity,
  Partial<Record<ConnectivityEvent, Connectivity>>
> = {
  connected: {
    tunnelOpened: "connected",
    tunnelLives: "connected",
    tunnelLost: "suspect",
    heartbeat: "connected",
    stale: "lost",
  },
  suspect: { tunnelOpened: "connected", tunnelLives: "connected", graceOver: "lost", heartbeat: "suspect" },
  lost: { tunnelOpened: "connected", tunnelLives: "connected", heartbeat: "connected" },
};

export type IntentEvent = "cordon" | "uncordon" | "drain" | "drained" | "maintain" | "retire";

/** What operators may do with a wolf. `drained` is nobody's wish: its drain is done, and `next` of its plan says what comes. */
export const intentTransitions: Record<Intent, Partial<Record<IntentEvent, Intent | "next">>> = {
  pending: { uncordon: "active", retire: "retired" },
  active: { cordon: "cordoned", drain: "draining", maintain: "maintenance", retire: "retired" },
  cordoned: { uncordon: "active", drain: "draining", maintain: "maintenance", retire: "retired" },
  // Draining again sets another deadline.
  draining: {
    cordon: "cordoned",
    uncordon: "active",
    drain: "draining",
    drained: "next",
    maintain: "maintenance",
    retire: "retired",
  },
  maintenance: { cordon: "cordoned", uncordon: "active", drain: "draining", retire: "retired" },
  retired: { uncordon: "active" },
};

/** Whose absence or failure says something: of the others nobody expects that they are there, or well. For valve, checks and metrics. */
export const countedIntents: readonly Intent[] = ["active", "cordoned", "draining"];
export const isCounted = ({ intent }: { intent: Intent }): boolean => countedIntents.includes(intent);

/** The intents in which an event has an effect. */
export function intentsBefore(event: IntentEvent): Intent[] {
  return (Object.keys(intentTransitions) as Intent[]).filter(
    (intent) => intentTransitions[intent][event] !== undefined,
  );
}

/** What an intent turns into by an event that has an effect on it: the same for all of them. */
export function intentAfter(event: IntentEvent): Intent | "next" {
  const after = new Set(Object.values(intentTransitions).flatMap((row) => row[event] ?? []));
  const [only] = after;
  if (only === undefined || after.size > 1) throw new Error(`${event} leads to ${after.size} intents`);
  return only;
}

/** What an operator does, and the word for it in the API's paths. */
export const steering = {
  cordon: "cordon",
  uncordon: "uncordon",
  drain: "drain",
  maintain: "maintenance",
  retire: "retire",
} as const satisfies Record<Exclude<IntentEvent, "drained">, string>;
export type Steering = keyof typeof steering;

/** What can be done with a wolf of this intent, in the API's words. */
export function allowedWords(intent: Intent): string[] {
  return (Object.keys(steering) as Steering[])
    .filter((event) => intentTransitions[intent][event] !== undefined)
    .map((event) => steering[event]);
}
