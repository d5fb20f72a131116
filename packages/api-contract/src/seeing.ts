/** What is looked at and never changed: the control plane's own checks, its replicas, and a wolf's tunnel, figures and policy. */
import { z } from "zod";
import { GpuUsage } from "./host.ts";
import { instant, line } from "./schema-parts.ts";
import { TunnelProtocol, User } from "./schemas.ts";

/** The service of a wolf's tunnel that tells of its agent; an agent of before refuses it. */
export const AGENT_SERVICE = "agent";
export const POLICY_PATH = "/policy";
/**
 * POST: the agent is to open another tunnel in place of the one that this came through, which takes requests until then. 202, and at
 * once; an agent of before refuses it, and hears of the end by GOAWAY.
 */
export const MOVE_PATH = "/move";
/** Spreads those that are told together. */
export const MoveRequest = z.strictObject({ after_ms: z.int().min(0).max(60_000) });
export type MoveRequest = z.infer<typeof MoveRequest>;

export const CheckStatus = z.enum(["ok", "warning", "failed", "skipped"]).meta({
  id: "CheckStatus",
  description: "`skipped`: there is nothing to check here, or it could not be checked; `detail` says why.",
});
export type CheckStatus = z.infer<typeof CheckStatus>;

export const HealthCheck = z
  .object({
    id: z
      .string()
      .regex(/^C[0-9]{2}$/)
      .meta({ description: "Stable; docs/operations/health-checks.md says what to do.", example: "C01" }),
    title: z.string(),
    status: CheckStatus,
    detail: z.string().meta({ description: "What was found, for people." }),
    advice: z.string().nullable().meta({ description: "What to do. Null where nothing is." }),
    ms: z.number().min(0).meta({ description: "How long the check took." }),
  })
  .meta({ id: "HealthCheck" });
export type HealthCheck = z.infer<typeof HealthCheck>;

export const HealthReport = z
  .object({
    status: CheckStatus.exclude(["skipped"]).meta({ description: "The worst of the checks." }),
    at: instant.meta({ description: "When they were made; an answer may be a few seconds old." }),
    replica: z.string().meta({ description: "Who made them." }),
    version: z.string(),
    checks: z.array(HealthCheck),
  })
  .meta({ id: "HealthReport", description: "Numbered checks of the control plane itself." });
export type HealthReport = z.infer<typeof HealthReport>;

export const Replica = z
  .object({
    id: z.string().meta({ description: "As the audit log names it; a new one with each start." }),
    version: z.string(),
    started_at: instant,
    is_self: z.boolean().meta({ description: "It gave this answer." }),
    tunnels: z.int().min(0).meta({ description: "Live tunnels of wolves." }),
    draining: z.boolean(),
  })
  .meta({ id: "Replica", description: "One control-plane process." });
export type Replica = z.infer<typeof Replica>;

/** Points of a history. */
const HISTORY_MAX = 360;

export const WolfTunnelView = z
  .object({
    epoch: z.int(),
    protocol: TunnelProtocol,
    transport: z.string().meta({ description: "`websocket`, `http`; of an agent of Helix also its own." }),
    since: instant,
    replica: z.string(),
    rtt_ms: z.number().nullable().meta({ description: "Null: not measured yet." }),
    rtt_history: z
      .array(z.object({ at: instant, ms: z.number().min(0) }))
      .max(HISTORY_MAX)
      .meta({
        description:
          "Oldest first, one for every 10 s in which there was a tunnel here, of the last hour; earlier tunnels of this wolf are in it.",
      }),
    channels: z.int().min(0).meta({ description: "In use now, of both sides." }),
    requests_total: z.int().min(0).meta({ description: "Opened since this tunnel came up, by both sides." }),
    bytes_in: z.int().min(0).meta({ description: "From the agent, since this tunnel came up." }),
    bytes_out: z.int().min(0),
    reconnects: z.int().min(0).meta({
      description: "Tunnels of this wolf after the first, since this replica has known it.",
    }),
  })
  .meta({ id: "WolfTunnelView", description: "The live tunnel of a wolf as its replica sees it." });
export type WolfTunnelView = z.infer<typeof WolfTunnelView>;

export const UsageSample = z
  .object({
    at: instant,
    cpu_load: z.number().nullable().meta({ description: "Runnable tasks, mean of one minute." }),
    memory_available_bytes: z.int().min(0).nullable(),
    gpus: z.array(GpuUsage),
  })
  .meta({ id: "UsageSample", description: "How busy a host was, rounded. Null is unknown." });
export type UsageSample = z.infer<typeof UsageSample>;
export const UsageHistory = z.array(UsageSample).max(HISTORY_MAX);

const Name = line(255);
const limitsOfClass = z.object({
  concurrent_max: z.int().min(0).meta({ description: "At once." }),
  waiting_max: z.int().min(0),
  wait_ms: z.int().min(0),
  timeout_ms: z.int().min(0),
});

/** What an agent says of its guard. Fields of later versions are left out. */
export const GuardPolicy = z
  .object({
    open: z.array(Name).max(200).meta({ description: "Routes of Wolf that may be called." }),
    closed: z.array(z.object({ route: Name, because: line(300) })).max(200),
    mount_folders: z.array(line(1024)).max(64),
    state_folders: z.array(line(1024)).max(64),
    helix_homes: line(1024).nullable(),
    image_prefixes: z.array(Name).max(64).nullable().meta({ description: "Null: any image." }),
    process_runners: z.boolean(),
    base_create_json: z.boolean(),
    pipelines: z.boolean(),
    secrets: z.boolean(),
    limits: z.object({
      read: limitsOfClass,
      change: limitsOfClass,
      create: limitsOfClass,
      pull: limitsOfClass,
    }),
  })
  .meta({ id: "GuardPolicy", description: "The guard's table as the owner of the host has changed it." });
export type GuardPolicy = z.infer<typeof GuardPolicy>;

export const WolfPolicyView = z
  .object({
    guard: z.enum(["agent", "control-plane"]).meta({
      description:
        "Where the guard is: of an agent of Helix in the control plane, without a file of the host.",
    }),
    policy: GuardPolicy.nullable().meta({ description: "Null: `unknown_because` says why." }),
    unknown_because: z
      .enum(["agent-too-old", "answer-broken"])
      .nullable()
      .meta({ description: "The agent does not say it yet, or says something that is no policy." }),
  })
  .meta({ id: "WolfPolicyView", description: "What the guard of a wolf lets through now." });
export type WolfPolicyView = z.infer<typeof WolfPolicyView>;

export const Me = User.extend({
  // Absent in the answers of earlier versions.
  actions: z.array(z.string()).optional().meta({
    description: "What this credential may do, at least to its own: names of `x-action` in this document.",
  }),
}).meta({ id: "Me" });
export type Me = z.infer<typeof Me>;

export const historyLimits = { samplesMax: HISTORY_MAX } as const;
