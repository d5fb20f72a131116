/** What the RUNNER_TOKEN may do besides enrolling and doctors: serve agents of before, where that is allowed. */
import { ApiError } from "../http/problem.ts";
import type { AgentKeyStore } from "./agent-key-store.ts";
import type { Principal } from "./principal.ts";

export interface RunnerBridge {
  /** Throws where the RUNNER_TOKEN may not speak for this wolf. Everybody else passes. */
  check(principal: Principal, wolf: { id: string } | { name: string }): Promise<void>;
}

export function createRunnerBridge(allowed: boolean, keys: Pick<AgentKeyStore, "isKeyed">): RunnerBridge {
  return {
    async check(principal, wolf) {
      if (principal.kind !== "runner") return;
      if (!allowed)
        throw new ApiError(
          "forbidden",
          "The RUNNER_TOKEN only enrols (LEGACY_RUNNER_TOKEN=refuse): an agent connects with its own key.",
        );
      if (await keys.isKeyed(wolf))
        throw new ApiError("forbidden", "This wolf has a key of its own, and takes nothing else.");
    },
  };
}
