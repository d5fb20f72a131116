/** The contract of the Wolfpack API: schemas, problems, operations, OpenAPI document, typed client. */

export {
  AgentCapabilities,
  AgentHeartbeat,
  AgentInventory,
  AgentRelist,
  AgentWolfEvent,
  agentNoticeTypes,
} from "./agent-notices.ts";
export {
  type CallInput,
  type CallReply,
  type ClientOptions,
  WolfpackApiError,
  type WolfpackClient,
  wolfpackClient,
} from "./client.ts";
export {
  DiskLevel,
  DiskUsage,
  Gpu,
  GpuState,
  GpuUsage,
  HostFacts,
  HostUsage,
  hostLimits,
  Mount,
} from "./host.ts";
export { openApiDocument } from "./openapi.ts";
export { type Auth, type Operation, type OperationId, operations, problemsOf } from "./operations.ts";
export { type ProblemCode, type ProblemKind, problemCodes, problemKind, problems } from "./problems.ts";
export { GpuType } from "./schema-parts.ts";
export {
  ApiKey,
  ApiKeyId,
  ClipboardContent,
  Connectivity,
  CreateApiKeyRequest,
  CreatedApiKey,
  CreateSessionRequest,
  CreateUserRequest,
  DiskHistoryQuery,
  DiskSample,
  DiskSampleId,
  ForceQuery,
  Health,
  HealthReason,
  HealthReasonCode,
  HeartbeatRequest,
  Intent,
  ListSessionsQuery,
  ListWolvesQuery,
  Ok,
  PageQuery,
  PlacementExplanation,
  PlacementFilter,
  Problem,
  RegisterWolfRequest,
  Resolution,
  Session,
  SessionId,
  SessionSpec,
  SessionStatus,
  User,
  UserId,
  UserRole,
  WolfCapabilities,
  WolfId,
  WolfInstance,
  WolfName,
  WolfStatus,
} from "./schemas.ts";
