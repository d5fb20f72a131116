/** What a session is made of: what was asked for, completed by what everybody gets who does not say otherwise. */
import {
  type CreateSessionRequest,
  type PlacementPolicy,
  type PlacementPreviewRequest,
  PRIORITY_DEFAULT,
  type SessionSpec,
} from "@wolfpack/api-contract";

export interface SessionDefaults {
  image: string;
  policy: PlacementPolicy;
  queueMs: number;
  /** Null: no end. */
  ttlMs: number | null;
  idleMs: number | null;
}

/** A preview says less than a request does. */
type Asked = PlacementPreviewRequest & Partial<CreateSessionRequest>;

const RESOLUTION = { width: 1920, height: 1080, refresh_rate: 60 };
const seconds = (ms: number | null) => (ms === null ? null : Math.round(ms / 1000));

export function specOf(asked: Asked, defaults: SessionDefaults): SessionSpec {
  return {
    image: asked.image ?? defaults.image,
    resolution: asked.resolution ?? RESOLUTION,
    gpu_type: asked.gpu_type ?? null,
    gpu_model: asked.gpu_model ?? null,
    labels: asked.labels,
    constraints: asked.constraints,
    region: asked.region ?? null,
    region_required: asked.region_required,
    resources: asked.resources,
    policy: asked.policy ?? defaults.policy,
    weights: asked.weights ?? null,
    allow_degraded: asked.allow_degraded,
    disconnect_policy: asked.disconnect_policy ?? "keep",
    ttl_seconds: asked.ttl_seconds ?? seconds(defaults.ttlMs),
    idle_timeout_seconds: asked.idle_timeout_seconds ?? seconds(defaults.idleMs),
    priority: asked.priority ?? PRIORITY_DEFAULT,
    queue: asked.queue ?? true,
    queue_deadline_seconds: asked.queue_deadline_seconds ?? Math.round(defaults.queueMs / 1000),
  };
}
