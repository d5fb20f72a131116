/** HTTP multiplexed over an outbound WebSocket. SPEC.md is normative. */

export type { Clock, Timer } from "./clock.ts";
export type { PeerHello } from "./core-events.ts";
export { dialTunnel } from "./dial.ts";
export { type DialSetOptions, dialTunnelSet } from "./dial-set.ts";
export type { DialOptions } from "./dialling.ts";
export type { TunnelDispatcher } from "./dispatcher.ts";
export type { DispatchController, DispatchHandler, DispatchOptions } from "./dispatching.ts";
export { type RequestFate, RevdialError, type RevdialErrorCode, revdialErrorCodes } from "./errors.ts";
export { type TunnelFetch, type TunnelFetchInit, tunnelFetch } from "./fetch.ts";
export { GrowthPool } from "./growth-pool.ts";
export type { HeaderList } from "./head.ts";
export {
  createHttpAcceptor,
  type HttpAcceptor,
  type HttpAcceptorOptions,
} from "./http-accept.ts";
export { defaultLimits, type TunnelLimits } from "./limits.ts";
export { type MoveBackOptions, moveBack } from "./move-back.ts";
export type { ChannelDiagnostic, TunnelDiagnostic, TunnelMetrics } from "./observe.ts";
export type {
  Body,
  CloseOptions,
  ConnectOptions,
  IncomingRequest,
  OutgoingResponse,
  Reply,
  RequestHandler,
  Tunnel,
  TunnelEnd,
  TunnelOptions,
  TunnelRequest,
  TunnelResponse,
} from "./tunnel.ts";
export { createTunnelSet, type TunnelSet, type TunnelSetOptions } from "./tunnel-set.ts";
export { acceptTunnel, REVDIAL_SUBPROTOCOL, webSocketServerOptions } from "./websocket.ts";
