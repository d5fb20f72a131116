/** A wolf with everything in order, for tests of decisions. */
import type { Wolf } from "../src/wolves/wolf-store.ts";

export function aWolf(overrides: Partial<Wolf> = {}): Wolf {
  const at = new Date("2026-11-23T12:00:00.000Z");
  return {
    id: "wlf_01KB00000000000000000000W1",
    name: "wolf-1",
    address: "",
    connectivity: "connected",
    connectivitySince: at,
    health: "ok",
    healthReasons: [],
    intent: "active",
    gpuType: "nvidia",
    maxSandboxes: 12,
    connectedSandboxes: 0,
    lastHeartbeat: at,
    epoch: 1,
    tunnelSince: at,
    agentVersion: null,
    capabilities: null,
    labels: {},
    region: null,
    costPerHour: null,
    createdAt: at,
    updatedAt: at,
    ...overrides,
  };
}
