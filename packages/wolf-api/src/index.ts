/** What Wolf promises: schemas, the guard's routes, a client, its events. The emulator is `@wolfpack/wolf-api/emulator`. */

export {
  requiredOfWolf,
  type WolfCapabilities,
  type WolfFeature,
  wolfCapabilities,
  wolfFeatures,
} from "./capabilities.ts";
export {
  checkWolfRequest,
  WOLF_BODY_BYTES_MAX,
  type WolfCheck,
  type WolfRefusal,
  wolfRefusalCodes,
} from "./check.ts";
export {
  type FetchInit,
  type FetchLike,
  refusedHeader,
  WolfApiError,
  type WolfApiErrorCode,
  type WolfClient,
  type WolfClientOptions,
  wolfClient,
} from "./client.ts";
export {
  EventStreamError,
  parseEventStream,
  redactWolfEvent,
  type StreamItem,
  type WolfEvent,
  wolfEventPrefix,
} from "./events.ts";
export {
  type AskWolf,
  createWolfGuard,
  type GuardReply,
  type GuardRequest,
  ReplyTooLarge,
  screenReplyTooLarge,
  UpstreamError,
  type UpstreamErrorCode,
  upstreamStatus,
  type WolfReply,
} from "./guard.ts";
export { parseWolfJson } from "./json.ts";
export {
  defaultWolfPolicy,
  type EffectivePolicy,
  effectivePolicy,
  policyDocument,
  readWolfPolicy,
  WolfPolicy,
} from "./policy.ts";
export {
  type ClassLimits,
  classLimits,
  type RouteClass,
  routeName,
  type WolfRoute,
  wolfRoutes,
} from "./routes.ts";
export {
  CreateLobbyRequest,
  DockerRunner,
  ImageReference,
  Lobby,
  LobbyId,
  NumericId,
  StopLobbyRequest,
} from "./schemas.ts";
export { Semaphore } from "./semaphore.ts";
