/** HTTP multiplexed over an outbound WebSocket. SPEC.md is normative. */

export { type Clock, systemClock, type Timer } from "./clock.ts";
export type { PeerHello } from "./core-events.ts";
export type { DispatchController, DispatchHandler, DispatchOptions, TunnelDispatcher } from "./dispatcher.ts";
export { type RequestFate, RevdialError, type RevdialErrorCode, revdialErrorCodes } from "./errors.ts";
export { type TunnelFetch, type TunnelFetchInit, tunnelFetch } from "./fetch.ts";
export type { HeaderList } from "./head.ts";
export { defaultLimits, type TunnelLimits } from "./limits.ts";
export type {
  Body,
  CloseOptions,
  IncomingRequest,
  OutgoingResponse,
  RequestHandler,
  Tunnel,
  TunnelEnd,
  TunnelOptions,
  TunnelRequest,
  TunnelResponse,
} from "./tunnel.ts";
export {
  acceptTunnel,
  type DialOptions,
  dialTunnel,
  REVDIAL_SUBPROTOCOL,
  webSocketServerOptions,
} from "./websocket.ts";
