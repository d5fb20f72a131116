/** A wolf with everything in order, for tests of decisions. */
import type { HostUsage } from "@wolfpack/api-contract";
import { nativeTunnel, type Wolf } from "../src/wolves/wolf-store.ts";

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
    intentSince: at,
    intentReason: null,
    drain: null,
    gpuType: "nvidia",
    gpuModel: null,
    renderNode: null,
    maxSandboxes: 12,
    connectedSandboxes: 0,
    otherLobbies: 0,
    vramMb: { max: null, claimed: 0, other: 0 },
    encoderSessions: { max: null, claimed: 0, other: 0 },
    reconciledEpoch: 1,
    createFailures: 0,
    quarantine: null,
    lastHeartbeat: at,
    epoch: 1,
    tunnelSince: at,
    tunnelBy: nativeTunnel,
    tunnelReplicaId: null,
    tunnelRttMs: null,
    tunnelClockOffsetMs: null,
    agentVersion: null,
    capabilities: null,
    labels: {},
    region: null,
    costPerHour: null,
    host: null,
    usage: null,
    wolfRestarts: 0,
    images: null,
    createdAt: at,
    updatedAt: at,
    ...overrides,
  };
}

const GIB = 2 ** 30;

/** An idle host with one disk. */
export function aUsage(overrides: Partial<HostUsage> = {}): HostUsage {
  return {
    cpu_load: 0.25,
    memory_available_bytes: 8 * GIB,
    gpu_state: "ok",
    gpu_detail: null,
    gpus: [],
    disks: [aDisk("/")],
    disk_detail: null,
    ...overrides,
  };
}

export function aDisk(mount: string, overrides: Partial<HostUsage["disks"][number]> = {}) {
  return {
    mount,
    total_bytes: 100 * GIB,
    used_bytes: 40 * GIB,
    available_bytes: 55 * GIB,
    level: "ok" as const,
    ...overrides,
  };
}
