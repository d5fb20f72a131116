/** A session's row, read: what rows of earlier versions lack is filled in. */
import { PlacementExplanation, SessionSpec } from "@wolfpack/api-contract";
import type { Session as Row } from "../generated/client.ts";
import type { Session } from "./session-store.ts";

export type SessionRow = Row;

const specFields = Object.keys(SessionSpec.shape);

// Parsing costs more than all else here, so that only rows of before are parsed.
function toSpec(json: Row["spec"]): SessionSpec {
  const isComplete = specFields.every((field) => Object.hasOwn(json as object, field));
  return isComplete ? (json as unknown as SessionSpec) : SessionSpec.parse(json);
}

function toPlacement(json: Row["placement"]): PlacementExplanation {
  const isComplete = Object.hasOwn(json as object, "counterfactuals");
  return isComplete ? (json as unknown as PlacementExplanation) : PlacementExplanation.parse(json);
}

export function toSession(row: Row): Session {
  return {
    id: row.id,
    ownerId: row.owner_id,
    name: row.name,
    status: row.status as Session["status"],
    statusSince: row.status_since,
    wolfId: row.wolf_instance_id,
    lobbyId: row.lobby_id,
    spec: toSpec(row.spec),
    placement: toPlacement(row.placement),
    failure: row.failure_code === null ? null : { code: row.failure_code, reason: row.failure_reason ?? "" },
    stopReason: row.stop_reason as Session["stopReason"],
    queuedAt: row.queued_at,
    queueDeadline: row.queue_deadline,
    priority: row.priority,
    turn: row.turn,
    attempts: row.attempts,
    avoid: row.avoid,
    culprits: row.culprits,
    leftWolves: row.left_wolves,
    lockToken: row.lock_token,
    lockExpiresAt: row.lock_expires_at,
    expiresAt: row.expires_at,
    idleSeconds: row.idle_seconds,
    lastActiveAt: row.last_active_at,
    warnedAt: row.warned_at,
    pin: row.pin,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}
