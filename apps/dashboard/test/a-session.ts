/** A session as the API shows it, and the preview of one, for tests. */
import type { PlacementPreview, Session } from "@wolfpack/api-contract";

const AT = "2026-11-26T12:00:00.000Z";

export function aSession(given: Partial<Session> = {}): Session {
  return {
    id: "ses_1",
    owner_id: "usr_1",
    owner_name: "mara",
    name: "desk",
    status: "running",
    reachable: true,
    wolf_instance_id: "wlf_1",
    lobby_id: "lobby",
    spec: {
      image: "ghcr.io/games-on-whales/xfce:edge",
      resolution: { width: 1920, height: 1080, refresh_rate: 60 },
      gpu_type: null,
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
      candidates: 0,
      removed: [],
      ranked: [],
      counterfactuals: [],
      text: "",
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
    ...given,
  };
}

export function aPreview(given: Partial<PlacementPreview> = {}): PlacementPreview {
  return {
    outcome: "placed",
    wolf_instance_id: "wlf_1",
    queue_position: null,
    refusal: null,
    explanation: aSession().placement,
    ...given,
  };
}
