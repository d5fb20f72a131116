/** The three axes of a wolf's state, as tables, and the one word that users see. */
import type { Connectivity, Health, WolfStatus } from "@wolfpack/api-contract";

/** A lost wolf is offline whatever else is known; a suspect one is not to be counted on. */
export const derivedStatus: Record<Connectivity, Record<Health, WolfStatus>> = {
  connected: { ok: "online", degraded: "degraded", failed: "degraded" },
  suspect: { ok: "degraded", degraded: "degraded", failed: "degraded" },
  lost: { ok: "offline", degraded: "offline", failed: "offline" },
};

export type ConnectivityEvent = "tunnelOpened" | "tunnelLost" | "graceOver" | "heartbeat" | "stale";

/** An absent cell changes nothing. `heartbeat` and `stale` concern wolves without a tunnel. */
export const connectivityTransitions: Record<
  Connectivity,
  Partial<Record<ConnectivityEvent, Connectivity>>
> = {
  connected: { tunnelOpened: "connected", tunnelLost: "suspect", heartbeat: "connected", stale: "lost" },
  suspect: { tunnelOpened: "connected", graceOver: "lost", heartbeat: "suspect" },
  lost: { tunnelOpened: "connected", heartbeat: "connected" },
};

/** What the agent's probe of Wolf says about health. */
export function healthOf(
  wolf: "ok" | "slow" | "unreachable",
  detail: string | undefined,
): { health: Health; reasons: string[] } {
  if (wolf === "ok") return { health: "ok", reasons: [] };
  const what = wolf === "slow" ? "Wolf answers slowly" : "Wolf does not answer its agent";
  return {
    health: wolf === "slow" ? "degraded" : "failed",
    reasons: [detail === undefined ? what : `${what}: ${detail}`],
  };
}
