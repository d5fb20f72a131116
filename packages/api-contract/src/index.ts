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
export { openApiDocument } from "./openapi.ts";
export { type Auth, type Operation, type OperationId, operations, problemsOf } from "./operations.ts";
export { type ProblemCode, type ProblemKind, problemCodes, problemKind, problems } from "./problems.ts";
export {
  ApiKey,
  ApiKeyId,
  ClipboardContent,
  Connectivity,
  CreateApiKeyRequest,
  CreatedApiKey,
  CreateSessionRequest,
  CreateUserRequest,
  ForceQuery,
  GpuType,
  Health,
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
