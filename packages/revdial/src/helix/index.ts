/** The original protocol of Helix's agents and control planes, in both roles, behind the tunnels of this library. */

export {
  createHelixExchange,
  type HelixAcceptOptions,
  type HelixExchange,
  type HelixExchangeOptions,
  type HelixFault,
  isDialerId,
  newDialerId,
} from "./accept.ts";
export { dialHelix, type HelixDialOptions } from "./dial.ts";
export { helixWebSocketServerOptions } from "./web-socket-stream.ts";
