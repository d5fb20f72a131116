/** Schemas of every body, query and path parameter of the API. JSON is snake_case; what a client sends is strict, times are ISO 8601 in UTC. */
import { z } from "zod";
import { roles, scopes } from "./access.ts";
import { Hours, heartbeatWith, LooseGpuType, looseSandboxes } from "./helix.ts";
import { DiskUsage, HostFacts, HostUsage, Mount, WolfImages } from "./host.ts";
import { ApiKeyId, DiskSampleId, UserId, WolfId } from "./ids.ts";
import { Labels, Region } from "./placement.ts";
import { problemCodes } from "./problems.ts";
import { flag, GpuType, instant, LargeLimit, Limit, line, prefixedId } from "./schema-parts.ts";
import { userQuotas } from "./users.ts";

export const WolfStatus = z
  .enum(["online", "degraded", "offline"])
  .meta({ id: "WolfStatus", description: "Derived from connectivity and health." });
export type WolfStatus = z.infer<typeof WolfStatus>;
export const Connectivity = z.enum(["connected", "suspect", "lost"]);
export type Connectivity = z.infer<typeof Connectivity>;
export const Health = z.enum(["ok", "degraded", "failed"]);
export type Health = z.infer<typeof Health>;
/** Why a wolf is not ok; docs/operations/health.md says what to do. */
export const HealthReasonCode = z
  .enum([
    "wolf-slow",
    "wolf-stuck",
    "wolf-unreachable",
    "wolf-restarted",
    "gpu-missing",
    "gpu-unknown",
    "disk-critical",
    "disk-unknown",
  ])
  .meta({ id: "HealthReasonCode" });
export type HealthReasonCode = z.infer<typeof HealthReasonCode>;
export const HealthReason = z
  .object({ code: HealthReasonCode, detail: z.string() })
  .meta({ id: "HealthReason", description: "The code is stable; the detail is for people." });
export type HealthReason = z.infer<typeof HealthReason>;
export const Intent = z.enum(["pending", "active", "cordoned", "draining", "maintenance", "retired"]);
export type Intent = z.infer<typeof Intent>;

const wolfName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const WolfName = z
  .string()
  .regex(wolfName, "1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit");
/** No wolf to come has a name that looks like an id, so that a path may have either. */
export const NewWolfName = WolfName.regex(
  /^(?!wlf_[0-9A-HJKMNP-TV-Z]{26}$)/,
  "a name that looks like a wolf's id",
);
/** How a path names a wolf where either will do: what looks like an id is one. */
export const WolfIdOrName = z.string().regex(wolfName).meta({ description: "A wolf's id, or its name." });
const SANDBOXES_MAX = 1000;
const SANDBOXES_DEFAULT = 12;
const MaxSandboxes = z.int().min(1).max(SANDBOXES_MAX);
const CostPerHour = z.number().min(0).max(1_000_000);
const AgentVersion = line(63).min(1);

/** What an agent says of its host. */
export const RegisterWolfRequest = z.strictObject({
  name: NewWolfName,
  address: line(255).default("").meta({ description: "For display only; nothing connects to it." }),
  gpu_type: GpuType.default("none"),
  max_sandboxes: MaxSandboxes.default(SANDBOXES_DEFAULT),
  labels: Labels.default({}),
  region: Region.optional(),
  cost_per_hour: CostPerHour.optional(),
  agent_version: AgentVersion.optional(),
  encoder_sessions_max: z.int().min(1).max(1000).optional().meta({
    description: "Video streams that its GPU can encode at once; left out: not limited.",
  }),
});
export type RegisterWolfRequest = z.infer<typeof RegisterWolfRequest>;
/** The same from whoever registers a wolf by HTTP: scripts for Helix do, which are less exact about two of its fields. */
export const RegisterWolfBody = z
  .strictObject({
    ...RegisterWolfRequest.shape,
    gpu_type: LooseGpuType.default("none"),
    max_sandboxes: looseSandboxes(SANDBOXES_MAX, SANDBOXES_DEFAULT),
  })
  .meta({ id: "RegisterWolfRequest" });

export const WolfCapabilities = z
  .object({
    schema_hash: z.string().meta({ description: "SHA-256 of Wolf's own description of its API." }),
    features: z.array(z.string()),
    missing: z.array(z.string()).meta({
      description: "Routes that sessions need and this Wolf lacks; it gets none while there are any.",
    }),
  })
  .meta({ id: "WolfCapabilities" });
export type WolfCapabilities = z.infer<typeof WolfCapabilities>;

const claimed = (what: string) => ({
  max: z.int().nullable().meta({ description: "Null: not known, or not limited." }),
  claimed: z.int().meta({ description: `${what} that sessions have claimed.` }),
  other: z.int().meta({ description: `${what} that are used besides, as last measured.` }),
});
export const WolfCapacity = z
  .object({
    slots: z.object({
      max: z.int(),
      claimed: z.int(),
      other: z.int().meta({ description: "Lobbies of this Wolf that no session of it has." }),
    }),
    vram_mb: z.object(claimed("MiB")),
    encoder_sessions: z.object(claimed("Streams")),
  })
  .meta({ id: "WolfCapacity" });
export type WolfCapacity = z.infer<typeof WolfCapacity>;
export const QuarantineReason = z.enum(["creates-failed", "creates-slow", "tunnel-flaps"]);
export type QuarantineReason = z.infer<typeof QuarantineReason>;
export const Quarantine = z
  .object({ until: instant, reason: QuarantineReason, times: z.int().min(1) })
  .meta({ id: "Quarantine" });
export const Drain = z
  .object({
    started_at: instant,
    deadline: instant,
    sessions_at_start: z.int(),
    sessions_left: z.int(),
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    then: z.enum(["cordoned", "maintenance", "retired"]),
  })
  .meta({ id: "Drain" });

export const TunnelProtocol = z.enum(["revdial", "helix"]);
export type TunnelProtocol = z.infer<typeof TunnelProtocol>;
const WolfTunnel = z.object({
  epoch: z.int(),
  since: instant,
  rtt_ms: z.number().nullable(),
  replica: z.string().nullish().meta({ description: "Which process of the control plane holds it." }),
  // Absent in the answers of earlier versions.
  protocol: TunnelProtocol.optional().meta({
    description: "`helix`: its agent is one of Helix, which passes on bytes; the guard is here then.",
  }),
  clock_offset_ms: z.int().nullish().meta({
    description:
      "The host's time minus the server's when this tunnel was opened; the way of the request makes a host look that much slower. Null: not known, because it was opened without an agent's own key.",
  }),
});

export const WolfInstance = z
  .object({
    id: WolfId,
    name: WolfName,
    address: z.string(),
    status: WolfStatus,
    connectivity: Connectivity,
    health: Health,
    health_reasons: z.array(HealthReason),
    intent: Intent,
    gpu_type: GpuType,
    connected_sandboxes: z.int().min(0),
    max_sandboxes: z.int().min(0),
    last_heartbeat: instant.nullable(),
    labels: z.record(z.string(), z.string()),
    region: z.string().nullable(),
    cost_per_hour: z.number().nullable(),
    agent_version: z.string().nullable(),
    // These are absent in the answers of earlier versions, which an agent of this one still has to read.
    wolf_capabilities: WolfCapabilities.nullish().meta({ description: "Null: not known." }),
    host: HostFacts.nullish().meta({ description: "Null until an agent has said." }),
    usage: z
      .object({ ...HostUsage.shape, received_at: instant })
      .nullish()
      .meta({ description: "The newest figures; `received_at` says when they came." }),
    images: WolfImages.nullish().meta({ description: "Images of Wolf's lobbies and apps. Null: not known." }),
    wolf_restarts: z
      .int()
      .min(0)
      .optional()
      .meta({ description: "Restarts of the Wolf process that its agent has seen since it started." }),
    tunnel: WolfTunnel.nullable(),
    legacy_credential: z.boolean().optional().meta({
      description:
        "Its newest tunnel, live or not, was opened with the RUNNER_TOKEN, which all hosts share, instead of a key of this host.",
    }),
    reconciled: z.boolean().optional().meta({
      description:
        "What its Wolf runs has been compared with its sessions since its tunnel came up; before that it gets none.",
    }),
    gpu_model: z.string().nullish().meta({ description: "Of the GPU that sessions render on." }),
    capacity: WolfCapacity.optional(),
    quarantine: Quarantine.nullish().meta({ description: "It gets no sessions until then." }),
    intent_reason: z.string().nullish(),
    drain: Drain.nullish().meta({ description: "While its intent is `draining`." }),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: "WolfInstance", description: "One GPU host that runs Wolf." });
export type WolfInstance = z.infer<typeof WolfInstance>;

export const DiskSample = z
  .object({ id: DiskSampleId, at: instant, ...DiskUsage.shape })
  .meta({ id: "DiskSample", description: "How full a mount was; one for every five minutes at most." });
export type DiskSample = z.infer<typeof DiskSample>;

export const HeartbeatRequest = heartbeatWith({
  gpu_type: GpuType.optional(),
  max_sandboxes: MaxSandboxes.optional(),
  connected_sandboxes: z
    .int()
    .min(0)
    .optional()
    .meta({ description: "Accepted and ignored: the control plane counts for itself." }),
}).meta({
  id: "HeartbeatRequest",
  description:
    "The first three fields are ours. The others are those of Helix's `sandbox-heartbeat`, of all its versions: beside one of them any further field is ignored, otherwise it is refused.",
});
export type HeartbeatRequest = z.infer<typeof HeartbeatRequest>;

export const Ok = z.object({ status: z.literal("ok") }).meta({ id: "Ok" });
export type Ok = z.infer<typeof Ok>;
export const Liveness = Ok.extend({
  version: z.string().meta({ description: "Of the control plane.", example: "0.1.0" }),
}).meta({ id: "Liveness" });

const CLIPBOARD_BYTES_MAX = 48 * 1024;
const utf8Bytes = (text: string) => new TextEncoder().encode(text).byteLength;
export const ClipboardContent = z
  .strictObject({
    text: z
      .string()
      .refine((text) => text.isWellFormed(), "is not well-formed Unicode")
      .refine((text) => utf8Bytes(text) <= CLIPBOARD_BYTES_MAX, `more than ${CLIPBOARD_BYTES_MAX} bytes`)
      .meta({ description: "At most 48 KiB of UTF-8." }),
  })
  .meta({ id: "ClipboardContent" });
export type ClipboardContent = z.infer<typeof ClipboardContent>;

export const UserRole = z.enum(roles).meta({ id: "UserRole" });
export type UserRole = z.infer<typeof UserRole>;
export const User = z
  .object({
    id: UserId,
    name: z.string(),
    role: UserRole,
    disabled: z.boolean().meta({ description: "Its credentials open nothing." }),
    ...userQuotas,
    revision: z.int().min(1).meta({ description: "One more with every change." }),
    created_at: instant,
  })
  .meta({ id: "User" });
export type User = z.infer<typeof User>;
export const CreateUserRequest = z
  .strictObject({ name: line(100).min(1), role: UserRole.default("user") })
  .meta({ id: "CreateUserRequest" });
export type CreateUserRequest = z.infer<typeof CreateUserRequest>;

export const ApiKeyScope = z.enum(scopes).meta({ id: "ApiKeyScope" });
export const ApiKey = z
  .object({
    id: ApiKeyId,
    user_id: UserId,
    name: z.string(),
    prefix: z.string().meta({ description: "What the key begins with; enough to recognise it." }),
    scopes: z.array(ApiKeyScope).nullable().meta({ description: "Null: all that its user may do." }),
    created_at: instant,
    expires_at: instant.nullable(),
    last_used_at: instant.nullable(),
    revoked_at: instant.nullable(),
  })
  .meta({ id: "ApiKey" });
export type ApiKey = z.infer<typeof ApiKey>;
export const CreateApiKeyRequest = z
  .strictObject({
    name: line(100).min(1),
    user_id: UserId.optional().meta({ description: "Admins may make keys for others; default: yourself." }),
    expires_in_seconds: z.int().min(60).max(31_536_000).optional(),
    scopes: z
      .array(ApiKeyScope)
      .min(1)
      .max(scopes.length)
      .refine((given) => new Set(given).size === given.length, "names a scope twice")
      .optional()
      .meta({ description: "What it may do at most; default: what the key may that makes it." }),
  })
  .meta({ id: "CreateApiKeyRequest" });
export type CreateApiKeyRequest = z.infer<typeof CreateApiKeyRequest>;
export const CreatedApiKey = ApiKey.extend({
  key: z.string().meta({ description: "The key itself; shown this once." }),
}).meta({ id: "CreatedApiKey" });
export type CreatedApiKey = z.infer<typeof CreatedApiKey>;

export const AuditEventId = prefixedId("aud");
export const AuditResult = z.enum(["allowed", "failed", "denied"]).meta({
  id: "AuditResult",
  description: "`failed`: its caller may do it, and it was not done; `code` says why.",
});
export type AuditResult = z.infer<typeof AuditResult>;
export const AuditActor = z.enum(["anonymous", "user", "agent", "join-token", "runner-token", "system"]);
export type AuditActor = z.infer<typeof AuditActor>;
export const AuditEvent = z
  .object({
    id: AuditEventId,
    at: instant,
    actor: AuditActor,
    actor_id: z.string().nullable().meta({ description: "The user, or the wolf of an agent." }),
    // Both names are absent in the answers of earlier versions.
    actor_name: z
      .string()
      .nullable()
      .optional()
      .meta({ description: "As it is now. Null: it has none any more." }),
    credential_id: z.string().nullable(),
    action: z.string(),
    object: z.string().nullable().meta({ description: "The id of what it was done to." }),
    object_name: z.string().nullable().optional().meta({
      description:
        "As it is now; of an agent's key or a join token, the wolf's. Null: it has none, or none any more.",
    }),
    result: AuditResult,
    code: z.string().nullable().meta({ description: "The problem's code." }),
    request_id: z.string(),
    replica: z.string(),
    address: z.string().nullable().meta({ description: "Where the request came from." }),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "AuditEvent" });
export type AuditEvent = z.infer<typeof AuditEvent>;

/** A cursor is the id of the last item of the page before. */
export const ListUsersQuery = z.strictObject({
  limit: Limit,
  cursor: UserId.optional(),
  name: line(100).optional(),
  role: UserRole.optional(),
  disabled: flag.optional(),
});
export type ListUsersQuery = z.infer<typeof ListUsersQuery>;
export const ListApiKeysQuery = z.strictObject({
  limit: Limit,
  cursor: ApiKeyId.optional(),
  user_id: UserId.optional(),
  revoked: flag.optional(),
});
export type ListApiKeysQuery = z.infer<typeof ListApiKeysQuery>;
export const ListWolvesQuery = z.strictObject({
  limit: LargeLimit,
  cursor: WolfId.optional(),
  status: WolfStatus.optional(),
  gpu_type: GpuType.optional(),
  intent: Intent.optional(),
  region: Region.optional(),
  name: WolfName.optional(),
});
export type ListWolvesQuery = z.infer<typeof ListWolvesQuery>;
export const DiskHistoryQuery = z
  .strictObject({
    limit: Limit,
    cursor: DiskSampleId.optional(),
    mount: Mount.optional(),
    since: instant.optional(),
    until: instant.optional(),
    hours: Hours.optional(),
  })
  .refine(
    ({ hours, cursor, since, until }) => hours === undefined || (cursor ?? since ?? until) === undefined,
    {
      path: ["hours"],
      message: "goes with neither cursor nor since nor until",
    },
  );
export type DiskHistoryQuery = z.infer<typeof DiskHistoryQuery>;
export const ForceQuery = z.strictObject({
  force: z
    .enum(["true", "false"])
    .default("false")
    .transform((value) => value === "true"),
});
export type ForceQuery = z.infer<typeof ForceQuery>;

export const Problem = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    instance: z.string().meta({ description: "The request id, as in the x-request-id header." }),
    code: z.enum(problemCodes),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details." });
export type Problem = z.infer<typeof Problem>;
