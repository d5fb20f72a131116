/** HTTP in, one call, HTTP out: the fleet as a whole, and the freeze of its evictions. */
import type { FleetState, SessionStatus } from "@wolfpack/api-contract";
import type { Handlers } from "../http/call.ts";
import type { FleetHealth } from "./eviction-valve.ts";
import type { HealthMonitor } from "./health-monitor.ts";

export type LiveCounts = Partial<Record<SessionStatus, number>>;

export interface FleetHandlersOptions {
  monitor: Pick<HealthMonitor, "state" | "unfreeze">;
  /** Live sessions by status. */
  countLive: () => Promise<LiveCounts>;
}

export function fleetHandlers({
  monitor,
  countLive,
}: FleetHandlersOptions): Pick<Handlers, "getFleet" | "unfreezeFleet"> {
  return {
    async getFleet() {
      const [fleet, live] = await Promise.all([monitor.state(), countLive()]);
      return { status: 200, body: toFleetState(fleet, live) };
    },

    async unfreezeFleet() {
      const fleet = await monitor.unfreeze();
      const detail = { steering: "unfreeze" };
      return { status: 200, body: toFleetState(fleet, await countLive()), detail };
    },
  };
}

export function toFleetState(fleet: FleetHealth, live: LiveCounts): FleetState {
  return {
    evictions_frozen: fleet.frozenSince !== null,
    frozen_since: fleet.frozenSince?.toISOString() ?? null,
    override_until: fleet.overrideUntil?.toISOString() ?? null,
    wolves: fleet.wolves,
    sessions: Object.fromEntries(Object.entries(live).filter(([, count]) => count > 0)),
    queue_length: live.queued ?? 0,
  };
}
