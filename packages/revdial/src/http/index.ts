/** HTTP at both ends of a tunnel: a front for those who ask, and a forwarder for those who answer. */

export { type ForwardOptions, type ForwardTarget, forwardTo } from "./forward.ts";
export { type Dispatching, type HttpFront, type HttpFrontOptions, httpFront } from "./front.ts";
