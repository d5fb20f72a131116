/** A wolf's row, read. */
import type { HostUsage } from "@wolfpack/api-contract";
import type { WolfInstance } from "../generated/client.ts";
import type { Wolf } from "./wolf-store.ts";

export type WolfRow = Omit<WolfInstance, "host" | "usage" | "images"> & Partial<WolfInstance>;

interface DrainJson {
  started_at: string;
  deadline: string;
  sessions_at_start: number;
  next: NonNullable<Wolf["drain"]>["next"];
}

function toDrain(json: WolfRow["drain"]): Wolf["drain"] {
  if (json === null) return null;
  const plan = json as unknown as DrainJson;
  return {
    startedAt: new Date(plan.started_at),
    deadline: new Date(plan.deadline),
    sessionsAtStart: plan.sessions_at_start,
    next: plan.next,
  };
}

function toQuarantine({
  quarantined_until: until,
  quarantine_reason,
  quarantines,
}: WolfRow): Wolf["quarantine"] {
  if (until === null) return null;
  const reason = quarantine_reason as NonNullable<Wolf["quarantine"]>["reason"];
  return { until, reason, times: quarantines };
}

export function toWolf(row: WolfRow): Wolf {
  return {
    id: row.id,
    name: row.name,
    address: row.address,
    connectivity: row.connectivity as Wolf["connectivity"],
    connectivitySince: row.connectivity_since,
    health: row.health as Wolf["health"],
    healthReasons: row.health_reasons as Wolf["healthReasons"],
    intent: row.intent as Wolf["intent"],
    intentSince: row.intent_since,
    intentReason: row.intent_reason,
    drain: toDrain(row.drain),
    gpuType: row.gpu_type as Wolf["gpuType"],
    gpuModel: row.gpu_model,
    renderNode: row.render_node,
    maxSandboxes: row.max_sandboxes,
    connectedSandboxes: row.connected_sandboxes,
    otherLobbies: row.other_lobbies,
    vramMb: { max: row.vram_mb, claimed: row.vram_mb_claimed, other: row.vram_mb_other },
    encoderSessions: {
      max: row.encoder_sessions_max,
      claimed: row.encoder_sessions_claimed,
      other: row.encoder_sessions_other,
    },
    reconciledEpoch: row.reconciled_epoch,
    createFailures: row.create_failures,
    quarantine: toQuarantine(row),
    lastHeartbeat: row.last_heartbeat,
    epoch: row.epoch,
    tunnelSince: row.tunnel_since,
    tunnelBy: {
      protocol: row.tunnel_protocol as Wolf["tunnelBy"]["protocol"],
      legacyCredential: row.tunnel_legacy_credential,
    },
    tunnelReplicaId: row.tunnel_replica_id,
    tunnelRttMs: row.tunnel_rtt_ms,
    // A replica of an earlier version opens tunnels without it.
    tunnelClockOffsetMs: row.tunnel_clock_epoch === row.epoch ? row.tunnel_clock_offset_ms : null,
    agentVersion: row.agent_version,
    capabilities: row.wolf_capabilities as Wolf["capabilities"],
    labels: row.labels as Record<string, string>,
    region: row.region,
    costPerHour: row.cost_per_hour,
    host: (row.host ?? null) as Wolf["host"],
    usage:
      row.usage && row.usage_at
        ? { ...(row.usage as unknown as HostUsage), received_at: row.usage_at.toISOString() }
        : null,
    wolfRestarts: row.wolf_restarts,
    images: (row.images ?? null) as Wolf["images"],
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
