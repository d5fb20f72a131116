/** Use cases of the registry: register, heartbeat, show, list, remove; and what operators want of a wolf. */
import {
  type DrainRequest,
  type HeartbeatRequest,
  type IntentRequest,
  type ListWolvesQuery,
  NewWolfName,
  type RegisterWolfRequest,
  WolfId,
} from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import { daemonReportOf } from "./helix.ts";
import { allowedWords, intentAfter, intentsBefore, type Steering, steering } from "./wolf-lifecycle.ts";
import type { DrainPlan, Wolf, WolfReport, WolfStore } from "./wolf-store.ts";

export interface WolfServiceOptions {
  store: WolfStore;
  clock: Clock;
  log: Log;
  /** Called after a wolf was removed: its tunnel has to go. */
  onRemoved: (wolfId: string) => void;
  /** Called after an operator has changed what a wolf may do: placement and sessions look again. */
  onChanged: (wolfId: string) => void;
  /** Called when a drain has begun, or was given another deadline: whoever has a session there is told. */
  onDraining: (wolfId: string, deadline: Date) => void;
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
    encoderSessionsMax: request.encoder_sessions_max ?? null,
  };
}

export const wolfNotFound = (): ApiError => new ApiError("wolf-not-found", "There is no such wolf instance.");

type Found = Pick<WolfStore, "get" | "getByName">;

/** No name looks like an id. Error: wolf-not-found. */
export async function findWolf(store: Found, idOrName: string): Promise<Wolf> {
  const isId = WolfId.safeParse(idOrName).success;
  const wolf = await (isId ? store.get(idOrName) : store.getByName(idOrName));
  if (wolf === undefined) throw wolfNotFound();
  return wolf;
}

/** An id as it is, whether there is such a wolf or not. */
const idOf = async (store: Found, idOrName: string): Promise<string> =>
  WolfId.safeParse(idOrName).success ? idOrName : (await findWolf(store, idOrName)).id;

const hasSessions = (advice: string): ApiError =>
  new ApiError("wolf-has-sessions", `This wolf has live sessions: ${advice}.`);

function refused(event: Steering, { intent }: Wolf): ApiError {
  const allowed = allowedWords(intent);
  return new ApiError(
    "intent-refused",
    `A wolf whose intent is ${intent} allows no ${steering[event]}, but ${allowed.join(", ")}.`,
    { extras: { intent, allowed } },
  );
}

function overtaken(event: Steering, { intent }: Wolf): ApiError {
  const allowed = allowedWords(intent);
  return new ApiError(
    "intent-refused",
    `Its intent has changed at the same moment, and is ${intent} now: ${steering[event]} has done nothing. Ask again if it is still meant.`,
    { extras: { intent, allowed } },
  );
}

export function createWolfService(options: WolfServiceOptions) {
  const { store, clock, log, onRemoved, onChanged, onDraining } = options;

  async function steer(
    id: string,
    event: Steering,
    { reason }: IntentRequest,
    drain?: Omit<DrainPlan, "sessionsAtStart">,
  ): Promise<Wolf> {
    const to = intentAfter(event);
    if (to === "next") throw new Error(`nobody may ask for ${event}`);
    const change = {
      from: intentsBefore(event),
      to,
      reason: reason ?? null,
      ...(drain && { drain }),
      unlessSessions: event === "retire",
    };
    const changed = await store.changeIntent(id, change, clock.now());
    if (changed.outcome === "unknown") throw wolfNotFound();
    if (changed.outcome === "refused") throw refused(event, changed.wolf);
    if (changed.outcome === "has-sessions") throw hasSessions("stop them, or drain it with `then: retired`");
    if (changed.outcome === "overtaken") throw overtaken(event, changed.wolf);
    log.info({ wolf_id: id, intent: to, reason }, "wolf steered");
    onChanged(id);
    return changed.wolf;
  }

  return {
    async register(request: RegisterWolfRequest): Promise<Wolf> {
      const wolf = await store.register(
        { id: newId("wlf"), name: request.name, address: request.address, ...reportOf(request) },
        clock.now(),
      );
      log.info({ wolf_id: wolf.id, name: wolf.name }, "wolf registered");
      return wolf;
    },

    /** The wolf of this name as it is; an unknown one is registered. Error: runner-id-invalid. */
    async registerOnConnect(name: string, address: string): Promise<Wolf> {
      if (!NewWolfName.safeParse(name).success)
        throw new ApiError(
          "runner-id-invalid",
          "No new wolf may have a name like that, which looks like an id.",
        );
      const id = newId("wlf");
      const wolf = await store.registerOnConnect(name, address, clock.now(), id);
      if (wolf.id === id) log.info({ wolf_id: id, name }, "wolf registered by its first tunnel");
      return wolf;
    },

    async heartbeat(idOrName: string, request: HeartbeatRequest): Promise<void> {
      const report = {
        gpuType: request.gpu_type,
        maxSandboxes: request.max_sandboxes,
        daemon: daemonReportOf(request),
      };
      const id = await idOf(store, idOrName);
      if (!(await store.heartbeat(id, report, clock.now()))) throw wolfNotFound();
    },

    get: (idOrName: string): Promise<Wolf> => findWolf(store, idOrName),

    /** One more than asked for, so that the caller sees whether there is a next page. */
    list({ limit, cursor, gpu_type, ...filter }: ListWolvesQuery): Promise<Wolf[]> {
      return store.list({ ...filter, limit: limit + 1, after: cursor, gpuType: gpu_type });
    },

    /** The id of what was removed. */
    async remove(idOrName: string, force: boolean): Promise<string> {
      const id = await idOf(store, idOrName);
      const outcome = await store.deregister(id, force, clock.now());
      if (outcome === "unknown") throw wolfNotFound();
      if (outcome === "has-sessions") throw hasSessions("stop them, or repeat with force=true");
      log.info({ wolf_id: id, force }, "wolf removed");
      onRemoved(id);
      return id;
    },

    /** Cordon, uncordon, maintenance, retirement: the wolf as it is then, or a problem that says what is allowed. */
    changeIntent(id: string, event: Exclude<Steering, "drain">, request: IntentRequest): Promise<Wolf> {
      return steer(id, event, request);
    },

    /** Its sessions may go on until the deadline; drains.ts does the rest. */
    async drain(id: string, request: DrainRequest): Promise<Wolf> {
      const startedAt = clock.now();
      const deadline = new Date(startedAt.getTime() + request.deadline_seconds * 1000);
      const wolf = await steer(id, "drain", request, { startedAt, deadline, next: request.then });
      onDraining(id, deadline);
      return wolf;
    },

    /** Ends a quarantine, if there is one. */
    async readmit(id: string): Promise<Wolf> {
      if (!(await store.readmit(id, clock.now()))) throw wolfNotFound();
      log.info({ wolf_id: id }, "wolf readmitted");
      onChanged(id);
      const wolf = await store.get(id);
      if (wolf === undefined) throw wolfNotFound();
      return wolf;
    },
  };
}
