/** Use cases of the registry: register, heartbeat, show, list, remove. */
import type { HeartbeatRequest, ListWolvesQuery, RegisterWolfRequest } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import type { Wolf, WolfReport, WolfStore } from "./wolf-store.ts";

export interface WolfServiceOptions {
  store: WolfStore;
  clock: Clock;
  log: Log;
  /** Called after a wolf was removed: its tunnel has to go. */
  onRemoved: (wolfId: string) => void;
}

export type WolfService = ReturnType<typeof createWolfService>;

/** A registration or inventory as the store keeps it. */
export function reportOf(request: Omit<RegisterWolfRequest, "name" | "address">): WolfReport {
  return {
    gpuType: request.gpu_type,
    maxSandboxes: request.max_sandboxes,
    labels: request.labels,
    region: request.region ?? null,
    costPerHour: request.cost_per_hour ?? null,
    agentVersion: request.agent_version ?? null,
  };
}

export const wolfNotFound = (): ApiError => new ApiError("wolf-not-found", "There is no such wolf instance.");

export function createWolfService({ store, clock, log, onRemoved }: WolfServiceOptions) {
  return {
    async register(request: RegisterWolfRequest): Promise<Wolf> {
      const wolf = await store.register(
        { id: newId("wlf"), name: request.name, address: request.address, ...reportOf(request) },
        clock.now(),
      );
      log.info({ wolf_id: wolf.id, name: wolf.name }, "wolf registered");
      return wolf;
    },

    async heartbeat(id: string, request: HeartbeatRequest): Promise<void> {
      const report = { gpuType: request.gpu_type, maxSandboxes: request.max_sandboxes };
      if (!(await store.heartbeat(id, report, clock.now()))) throw wolfNotFound();
    },

    async get(id: string): Promise<Wolf> {
      const wolf = await store.get(id);
      if (wolf === undefined) throw wolfNotFound();
      return wolf;
    },

    /** One more than asked for, so that the caller sees whether there is a next page. */
    list({ limit, cursor, status, gpu_type, name }: ListWolvesQuery): Promise<Wolf[]> {
      return store.list({ limit: limit + 1, after: cursor, status, gpuType: gpu_type, name });
    },

    async remove(id: string, force: boolean): Promise<void> {
      const outcome = await store.deregister(id, force, clock.now());
      if (outcome === "unknown") throw wolfNotFound();
      if (outcome === "has-sessions") {
        throw new ApiError(
          "wolf-has-sessions",
          "This wolf has live sessions: stop them, or repeat with force=true.",
        );
      }
      log.info({ wolf_id: id, force }, "wolf removed");
      onRemoved(id);
    },
  };
}
