/** A user's sandbox: what is asked for, what it is made of, and what becomes of it. */
import { z } from "zod";
import { SessionId, UserId, WolfId } from "./ids.ts";
import {
  checkWish,
  PlacementConstraint,
  PlacementExplanation,
  PlacementPolicy,
  PlacementResources,
  PlacementWeights,
  PRIORITY_DEFAULT,
  placementWish,
  queueWish,
} from "./placement.ts";
import { flag, GpuType, instant, LargeLimit, line } from "./schema-parts.ts";

export const Resolution = z
  .strictObject({
    width: z.int().min(320).max(7680),
    height: z.int().min(240).max(4320),
    refresh_rate: z.int().min(1).max(240),
  })
  .meta({ id: "Resolution" });
export type Resolution = z.infer<typeof Resolution>;

/** A container image reference: no spaces, no shell characters, no dot segments. */
export const ImageReference = z
  .string()
  .max(255)
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._:@-]*(\/[a-zA-Z0-9][a-zA-Z0-9._:@-]*)*$/);

export const DisconnectPolicy = z.enum(["keep", "replace", "stop"]).meta({
  id: "DisconnectPolicy",
  description:
    "When its wolf is lost: `keep` waits for it, `replace` makes a new sandbox elsewhere and stops the old one on its return, `stop` ends the session.",
});
export type DisconnectPolicy = z.infer<typeof DisconnectPolicy>;

const life = z.int().min(60).max(31_536_000);
export const CreateSessionRequest = z
  .strictObject({
    name: line(100).min(1).optional(),
    image: ImageReference.optional().meta({
      description: "Container image; default: the control plane's DEFAULT_SANDBOX_IMAGE.",
    }),
    resolution: Resolution.default({ width: 1920, height: 1080, refresh_rate: 60 }),
    ...placementWish,
    disconnect_policy: DisconnectPolicy.default("keep"),
    ttl_seconds: life.optional().meta({ description: "Stopped so long after it began to run." }),
    idle_timeout_seconds: life.optional().meta({
      description: "Stopped so long after nobody was connected to it or looked at it any more.",
    }),
    pin: z
      .string()
      .regex(/^[0-9]{4,16}$/, "is not 4 to 16 digits")
      .optional()
      .meta({ description: "Asked of whoever joins the sandbox with Moonlight. Never shown." }),
    queue: queueWish.queue,
    queue_deadline_seconds: z.int().min(1).max(86_400).optional().meta({
      description: "How long it may wait for a wolf; default: WOLFPACK_QUEUE_DEADLINE_SECONDS.",
    }),
    priority: queueWish.priority,
    wait_seconds: z
      .int()
      .min(0)
      .max(120)
      .default(60)
      .meta({ description: "How long the answer may wait for the sandbox to run." }),
  })
  .superRefine(checkWish)
  .meta({
    id: "CreateSessionRequest",
    example: { name: "desk", gpu_type: "nvidia", labels: { zone: "a" }, ttl_seconds: 28_800 },
  });
export type CreateSessionRequest = z.infer<typeof CreateSessionRequest>;

export const ExtendSessionRequest = z
  .strictObject({ ttl_seconds: life })
  .meta({ id: "ExtendSessionRequest", example: { ttl_seconds: 7200 } });
export type ExtendSessionRequest = z.infer<typeof ExtendSessionRequest>;

export const SessionStatus = z
  .enum(["queued", "placed", "starting", "running", "stopping", "lost", "stopped", "failed"])
  .meta({
    id: "SessionStatus",
    description: "`lost`: its wolf is lost, and its disconnect policy is to wait for it.",
  });
export type SessionStatus = z.infer<typeof SessionStatus>;

export const SessionSpec = z
  .object({
    image: z.string(),
    resolution: Resolution,
    gpu_type: GpuType.nullable(),
    gpu_model: z.string().nullable().default(null),
    labels: z.record(z.string(), z.string()).default({}),
    constraints: z.array(PlacementConstraint).default([]),
    region: z.string().nullable().default(null),
    region_required: z.boolean().default(false),
    resources: PlacementResources.default({ vram_mb: 0, encoder_sessions: 1 }),
    policy: PlacementPolicy.default("least-loaded"),
    weights: PlacementWeights.nullable().default(null),
    allow_degraded: z.boolean().default(true),
    disconnect_policy: DisconnectPolicy.default("keep"),
    ttl_seconds: z.int().nullable().default(null),
    idle_timeout_seconds: z.int().nullable().default(null),
    priority: z.int().default(PRIORITY_DEFAULT),
    queue: z.boolean().default(true),
    queue_deadline_seconds: z.int().default(1800),
  })
  .meta({ id: "SessionSpec" });
export type SessionSpec = z.infer<typeof SessionSpec>;

export const StopReason = z
  .enum(["requested", "forced", "expired", "idle", "drained", "wolf-lost", "cancelled"])
  .meta({ id: "StopReason" });
export type StopReason = z.infer<typeof StopReason>;

export const Session = z
  .object({
    id: SessionId,
    owner_id: UserId,
    owner_name: z.string().nullable().default(null).meta({ description: "Null: nobody knows it any more." }),
    name: z.string(),
    status: SessionStatus,
    reachable: z.boolean().meta({ description: "A live tunnel leads to it now." }),
    wolf_instance_id: WolfId.nullable(),
    lobby_id: z.string().nullable(),
    spec: SessionSpec,
    placement: PlacementExplanation,
    failure: z.object({ code: z.string(), reason: z.string() }).nullable(),
    stop_reason: StopReason.nullable().default(null).meta({ description: "Why it stops or has stopped." }),
    queue: z
      .object({ position: z.int().min(1).nullable(), queued_at: instant, deadline: instant })
      .nullable()
      .default(null)
      .meta({ description: "While it is `queued`; 1 is next. The position is null in lists." }),
    attempts: z.int().default(0).meta({ description: "Times that a sandbox was begun for it." }),
    status_deadline: instant.nullable().default(null).meta({
      description: "When its status ends by itself, if it is one that passes.",
    }),
    expires_at: instant.nullable().default(null),
    idle_at: instant.nullable().default(null).meta({
      description: "When it is stopped for want of anybody who uses it.",
    }),
    pin_required: z.boolean().default(false),
    created_at: instant,
    updated_at: instant,
    started_at: instant.nullable(),
    ended_at: instant.nullable(),
  })
  .meta({ id: "Session", description: "A user's sandbox." });
export type Session = z.infer<typeof Session>;

export const ListSessionsQuery = z.strictObject({
  limit: LargeLimit,
  cursor: SessionId.optional(),
  newest_first: flag.optional(),
  status: SessionStatus.optional(),
  wolf_instance_id: WolfId.optional(),
  owner_id: UserId.optional(),
});
export type ListSessionsQuery = z.infer<typeof ListSessionsQuery>;
