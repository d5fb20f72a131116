/** HTTP at both ends of a tunnel: a front for those who ask, and a forwarder for those who answer. */

export type { Dispatching, DispatchingOptions } from "./dispatching.ts";
export { type ForwardOptions, forwardTo } from "./forward.ts";
export { type HttpFront, type HttpFrontOptions, httpFront } from "./front.ts";
export type { ForwardConnection, ForwardConnector, ForwardTarget } from "./origin-target.ts";
