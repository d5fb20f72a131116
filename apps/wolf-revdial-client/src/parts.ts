/** Parts of the agent for the benches: its way from its tunnel to Wolf, and when it comes back. The agent itself is the bundle. */
export { createForwarder } from "./forward.ts";
export { LASTED_MS, nextTry } from "./life.ts";
export { createLogger } from "./logger.ts";
export { createMetrics } from "./metrics.ts";
export { agentDefinitions } from "./metrics-definitions.ts";
export { WebSocketPatience } from "./web-socket-patience.ts";
export { wolfLine } from "./wolf-line.ts";
