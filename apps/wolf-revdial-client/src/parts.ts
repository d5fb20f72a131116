/** The agent's way from its tunnel to Wolf, for the bench that says what it costs. The agent itself is the bundle. */
export { createForwarder } from "./forward.ts";
export { createLogger } from "./logger.ts";
export { createMetrics } from "./metrics.ts";
export { agentDefinitions } from "./metrics-definitions.ts";
export { wolfLine } from "./wolf-line.ts";
