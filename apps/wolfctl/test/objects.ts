/** Objects as the API answers with them. */
import type {
  ApiKey,
  AuditEvent,
  DiskSample,
  FleetEvent,
  JoinToken,
  PlacementPreview,
  Session,
  User,
  WolfInstance,
} from "@wolfpack/api-contract";

const id = (prefix: string, number: number) => `${prefix}_${String(number).padStart(26, "0")}`;
export const wolfId = (number: number) => id("wlf", number);
export const sessionId = (number: number) => id("ses", number);
export const userId = (number: number) => id("usr", number);
export const eventId = (number: number) => id("evt", number);
export const keyId = (number: number) => id("key", number);
export const tokenId = (number: number) => id("jtk", number);

const AT = "2026-11-26T21:29:00.000Z";
/** What a host may put into its texts: escapes of terminals, line breaks, turned direction, C1 controls, HTML. */
export const HOSTILE = "\u001b[2J\u001b]0;owned\u0007<b>x</b>\r\nfake line\u202e\u009b31m\u0000";

export function aWolf(number: number, changes: Partial<WolfInstance> = {}): WolfInstance {
  return {
    id: wolfId(number),
    name: `gpu-${number}`,
    address: "10.0.0.1",
    status: "online",
    connectivity: "connected",
    health: "ok",
    health_reasons: [],
    intent: "active",
    gpu_type: "nvidia",
    connected_sandboxes: 2,
    max_sandboxes: 10,
    last_heartbeat: AT,
    labels: {},
    region: "eu-west",
    cost_per_hour: null,
    agent_version: "0.1.0",
    tunnel: { epoch: 3, since: AT, rtt_ms: 12.3, protocol: "revdial" },
    created_at: AT,
    updated_at: AT,
    ...changes,
  };
}

export function aSession(number: number, changes: Partial<Session> = {}): Session {
  return {
    id: sessionId(number),
    owner_id: userId(1),
    owner_name: "ada",
    name: "desk",
    status: "running",
    reachable: true,
    wolf_instance_id: wolfId(1),
    lobby_id: "lobby-1",
    spec: {
      image: "xfce:edge",
      resolution: { width: 1920, height: 1080, refresh_rate: 60 },
      gpu_type: "nvidia",
      gpu_model: null,
      labels: {},
      constraints: [],
      region: null,
      region_required: false,
      resources: { vram_mb: 0, encoder_sessions: 1 },
      policy: "least-loaded",
      weights: null,
      allow_degraded: true,
      disconnect_policy: "keep",
      ttl_seconds: null,
      idle_timeout_seconds: null,
      priority: 4,
      queue: true,
      queue_deadline_seconds: 1800,
    },
    placement: {
      policy: "least-loaded",
      outcome: "placed",
      candidates: 3,
      removed: [{ filter: "gpu_type", count: 1 }],
      ranked: [{ wolf_instance_id: wolfId(1), load: 0.2, score: 0.8, parts: { load: 0.8 } }],
      counterfactuals: [],
      text: `${wolfId(1)} has the lowest load (2 of 10).`,
    },
    failure: null,
    stop_reason: null,
    queue: null,
    attempts: 1,
    status_deadline: null,
    expires_at: null,
    idle_at: null,
    pin_required: false,
    created_at: AT,
    updated_at: AT,
    started_at: AT,
    ended_at: null,
    ...changes,
  };
}

export function anEvent(number: number, changes: Partial<FleetEvent> = {}): FleetEvent {
  return {
    id: eventId(number),
    at: AT,
    kind: "session.running",
    session_id: sessionId(number),
    wolf_instance_id: wolfId(1),
    owner_id: userId(1),
    detail: {},
    ...changes,
  };
}

export function aUser(number: number, changes: Partial<User> = {}): User {
  return {
    id: userId(number),
    name: `user-${number}`,
    role: "user",
    disabled: false,
    sessions_max: null,
    creates_per_minute: null,
    revision: 1,
    created_at: AT,
    ...changes,
  };
}

export function aKey(number: number, changes: Partial<ApiKey> = {}): ApiKey {
  return {
    id: keyId(number),
    user_id: userId(1),
    name: "ci",
    prefix: "wpk_made",
    scopes: ["read"],
    created_at: AT,
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
    ...changes,
  };
}

export function aToken(number: number, changes: Partial<JoinToken> = {}): JoinToken {
  return {
    id: tokenId(number),
    wolf_name: null,
    labels: {},
    uses: 0,
    uses_max: 1,
    created_by: userId(1),
    created_at: AT,
    expires_at: "2026-11-26T22:29:00.000Z",
    revoked_at: null,
    ...changes,
  };
}

export function anAuditEvent(number: number, changes: Partial<AuditEvent> = {}): AuditEvent {
  return {
    id: id("aud", number),
    at: AT,
    actor: "user",
    actor_id: userId(1),
    credential_id: keyId(1),
    action: "session.stop",
    object: sessionId(1),
    result: "failed",
    code: "session-ended",
    request_id: "req-1",
    replica: "replica-1",
    address: "192.0.2.1",
    detail: {},
    ...changes,
  };
}

export function aDiskSample(number: number, changes: Partial<DiskSample> = {}): DiskSample {
  return {
    id: id("dsk", number),
    at: AT,
    mount: "/",
    total_bytes: 1000,
    used_bytes: 100,
    available_bytes: 900,
    level: "ok",
    ...changes,
  };
}

export function aPreview(changes: Partial<PlacementPreview> = {}): PlacementPreview {
  return {
    outcome: "placed",
    wolf_instance_id: wolfId(1),
    queue_position: null,
    refusal: null,
    explanation: aSession(1).placement,
    ...changes,
  };
}
