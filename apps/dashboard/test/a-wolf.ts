/** Wolves as the API tells them, for tests. */
import type { FleetEvent, WolfInstance } from "@wolfpack/api-contract";

export const WOLF_ID = "wlf_01KB00000000000000000000WF";

export function aWolf(changes: Partial<WolfInstance> = {}): WolfInstance {
  return {
    id: WOLF_ID,
    name: "nvidia-1",
    address: "",
    status: "online",
    connectivity: "connected",
    health: "ok",
    health_reasons: [],
    intent: "active",
    gpu_type: "nvidia",
    connected_sandboxes: 0,
    max_sandboxes: 10,
    last_heartbeat: "2026-11-26T12:00:00.000Z",
    labels: {},
    region: null,
    cost_per_hour: null,
    agent_version: "0.1.0",
    tunnel: { epoch: 1, since: "2026-11-26T11:00:00.000Z", rtt_ms: 3.2 },
    created_at: "2026-11-26T11:00:00.000Z",
    updated_at: "2026-11-26T11:00:00.000Z",
    ...changes,
  };
}

export function anEvent(changes: Partial<FleetEvent> = {}): FleetEvent {
  return {
    id: "evt_01KB00000000000000000000EV",
    at: "2026-11-26T12:00:00.000Z",
    kind: "wolf.connectivity",
    session_id: null,
    wolf_instance_id: WOLF_ID,
    owner_id: null,
    detail: { from: "connected", to: "suspect" },
    ...changes,
  };
}
