/** What a host says of itself that its settings and its graphics cards know. */
import type { AgentInventory } from "@wolfpack/api-contract";
import type { AgentConfig } from "../config.ts";
import { gpuTypeOf, readCards } from "./drm.ts";

/** What does not change while the agent runs. */
export function inventoryOf(config: AgentConfig, version: string): AgentInventory {
  return {
    gpu_type: config.gpuType ?? gpuTypeOf(readCards(config.gpuFolder).map(({ gpu }) => gpu)),
    max_sandboxes: config.maxSandboxes,
    labels: config.labels,
    agent_version: version,
    ...(config.encoderSessionsMax === undefined ? {} : { encoder_sessions_max: config.encoderSessionsMax }),
    ...(config.region === undefined ? {} : { region: config.region }),
    ...(config.costPerHour === undefined ? {} : { cost_per_hour: config.costPerHour }),
  };
}
