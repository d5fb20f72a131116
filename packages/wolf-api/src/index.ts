/** What Wolf promises: schemas, the guard's routes, a client, its events. The emulator is `@wolfpack/wolf-api/emulator`. */

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
export { parseWolfJson } from "./json.ts";
export {
  checkWolfRequest,
  WOLF_BODY_BYTES_MAX,
  type WolfCheck,
  type WolfGuardPolicy,
  type WolfRefusal,
  type WolfRoute,
  wolfRoutes,
} from "./routes.ts";
export { CreateLobbyRequest, DockerRunner, Lobby, LobbyId, NumericId, StopLobbyRequest } from "./schemas.ts";
