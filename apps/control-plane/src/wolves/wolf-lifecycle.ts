/** The three axes of a wolf's state, as tables, and the one word that users see. */
import type { Connectivity, Health, WolfStatus } from "@wolfpack/api-contract";

/** A lost wolf is offline whatever else is known; a suspect one is not to be counted on. */
export const derivedStatus: Record<Connectivity, Record<Health, WolfStatus>> = {
  connected: { ok: "online", degraded: "degraded", failed: "degraded" },
  suspect: { ok: "degraded", degraded: "degraded", failed: "degraded" },
  lost: { ok: "offline", degraded: "offline", failed: "offline" },
};

export type ConnectivityEvent = "tunnelOpened" | "tunnelLost" | "graceOver" | "heartbeat" | "stale";

/**
 * What the store's statements do; a test holds them to this table. An absent cell changes nothing. `heartbeat` is one by HTTP or
 * a registration; `stale` concerns wolves without a live tunnel.
 */
export const connectivityTransitions: Record<
  Connectivity,
  Partial<Record<ConnectivityEvent, Connectivity>>
> = {
  connected: { tunnelOpened: "connected", tunnelLost: "suspect", heartbeat: "connected", stale: "lost" },
  suspect: { tunnelOpened: "connected", graceOver: "lost", heartbeat: "suspect" },
  lost: { tunnelOpened: "connected", heartbeat: "connected" },
};
