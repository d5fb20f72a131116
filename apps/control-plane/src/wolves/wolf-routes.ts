/** HTTP in, one service call, HTTP out: wolf instances, with the original's paths and shapes, and what operators do with them. */
import { WolfId, type WolfInstance } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Call, HandledId, Handlers, Reply } from "../http/call.ts";
import { page } from "../http/page.ts";
import type { RunnerBridge } from "../identity/runner-bridge.ts";
import type { DiskHistory } from "./disk-history.ts";
import { derivedStatus } from "./wolf-lifecycle.ts";
import type { WolfService } from "./wolf-service.ts";
import type { Wolf } from "./wolf-store.ts";

export interface WolfHandlersOptions {
  wolves: WolfService;
  diskHistory: DiskHistory;
  bridge: RunnerBridge;
  clock: Clock;
  /** Last measured round trip of a wolf's live tunnel. */
  rttMsOf: (wolfId: string) => number | undefined;
}

type Handled =
  | "registerWolf"
  | "heartbeatWolf"
  | "listWolves"
  | "getWolf"
  | "listDiskHistory"
  | "deleteWolf"
  | "registerSandboxHost"
  | "heartbeatSandboxHost"
  | "listSandboxHosts"
  | "deleteSandboxHost"
  | "listSandboxHostDiskHistory"
  | "cordonWolf"
  | "uncordonWolf"
  | "drainWolf"
  | "maintainWolf"
  | "retireWolf"
  | "readmitWolf";

export function wolfHandlers(options: WolfHandlersOptions): Pick<Handlers, Handled> {
  const { wolves, diskHistory, clock, rttMsOf } = options;
  const toResponse = (wolf: Wolf): WolfInstance => toWolfResponse(wolf, rttMsOf(wolf.id), clock.now());
  /** The audit log has one action for all of them: which one it was, its detail says. */
  const steered = (steering: string, wolf: Wolf) =>
    ({ status: 200, body: toResponse(wolf), detail: { steering } }) as const;
  const { registerWolf, heartbeatWolf, listWolves, deleteWolf } = inAnyWords(options, toResponse);
  async function listDiskHistory({
    params,
    query,
    url,
  }: Pick<Call<"listDiskHistory">, "params" | "query" | "url">): Promise<Reply<"listDiskHistory">> {
    const { hours, mount } = query;
    if (hours !== undefined)
      return { status: 200, body: await diskHistory.inHelixWords(params.id, { hours, mount }) };
    return page(url, await diskHistory.list(params.id, query), query.limit);
  }
  return {
    registerWolf,
    heartbeatWolf,
    listWolves,
    deleteWolf,
    registerSandboxHost: registerWolf,
    heartbeatSandboxHost: heartbeatWolf,
    listSandboxHosts: listWolves,
    deleteSandboxHost: deleteWolf,
    listDiskHistory,
    listSandboxHostDiskHistory: listDiskHistory,

    async getWolf({ params }) {
      return { status: 200, body: toResponse(await wolves.get(params.id)) };
    },

    cordonWolf: async ({ params, body }) =>
      steered("cordon", await wolves.changeIntent(params.id, "cordon", body)),
    uncordonWolf: async ({ params, body }) =>
      steered("uncordon", await wolves.changeIntent(params.id, "uncordon", body)),
    maintainWolf: async ({ params, body }) =>
      steered("maintenance", await wolves.changeIntent(params.id, "maintain", body)),
    retireWolf: async ({ params, body }) =>
      steered("retire", await wolves.changeIntent(params.id, "retire", body)),
    drainWolf: async ({ params, body }) => steered("drain", await wolves.drain(params.id, body)),
    readmitWolf: async ({ params }) => steered("readmit", await wolves.readmit(params.id)),
  };
}

type Asked<Id extends HandledId, Key extends keyof Call> = Pick<Call<Id>, Key>;

/** What Helix has two paths for. */
function inAnyWords(
  { wolves, bridge }: Pick<WolfHandlersOptions, "wolves" | "bridge">,
  toResponse: (wolf: Wolf) => WolfInstance,
) {
  return {
    async registerWolf({ principal, body }: Asked<"registerWolf", "principal" | "body">) {
      await bridge.check(principal, { name: body.name });
      const wolf = await wolves.register(body);
      return { status: 200, body: toResponse(wolf), object: wolf.id } as const;
    },

    async heartbeatWolf({
      principal,
      params: { id },
      body,
    }: Asked<"heartbeatWolf", "principal" | "params" | "body">) {
      await bridge.check(principal, WolfId.safeParse(id).success ? { id } : { name: id });
      await wolves.heartbeat(id, body);
      return { status: 200, body: { status: "ok" } } as const;
    },

    async listWolves({ query, url }: Asked<"listWolves", "query" | "url">) {
      return page(url, (await wolves.list(query)).map(toResponse), query.limit);
    },

    async deleteWolf({ params, query }: Asked<"deleteWolf", "params" | "query">) {
      const object = await wolves.remove(params.id, query.force);
      return { status: 200, body: { status: "ok" }, object } as const;
    },
  };
}

/** The one translation from row to API: a new column is not a new field. */
export function toWolfResponse(wolf: Wolf, rttMs: number | undefined, now: Date): WolfInstance {
  return {
    id: wolf.id,
    name: wolf.name,
    address: wolf.address,
    status: derivedStatus[wolf.connectivity][wolf.health],
    connectivity: wolf.connectivity,
    health: wolf.health,
    health_reasons: wolf.healthReasons,
    intent: wolf.intent,
    gpu_type: wolf.gpuType,
    connected_sandboxes: wolf.connectedSandboxes,
    max_sandboxes: wolf.maxSandboxes,
    last_heartbeat: wolf.lastHeartbeat?.toISOString() ?? null,
    labels: wolf.labels,
    region: wolf.region,
    cost_per_hour: wolf.costPerHour,
    agent_version: wolf.agentVersion,
    wolf_capabilities: wolf.capabilities,
    host: wolf.host,
    usage: wolf.usage,
    wolf_restarts: wolf.wolfRestarts,
    images: wolf.images,
    tunnel:
      wolf.tunnelSince === null
        ? null
        : {
            epoch: wolf.epoch,
            since: wolf.tunnelSince.toISOString(),
            rtt_ms: rttMs ?? wolf.tunnelRttMs,
            replica: wolf.tunnelReplicaId,
            protocol: wolf.tunnelBy.protocol,
            clock_offset_ms: wolf.tunnelClockOffsetMs,
          },
    legacy_credential: wolf.tunnelBy.legacyCredential,
    reconciled: wolf.tunnelSince !== null && wolf.reconciledEpoch === wolf.epoch,
    gpu_model: wolf.gpuModel,
    capacity: {
      slots: { max: wolf.maxSandboxes, claimed: wolf.connectedSandboxes, other: wolf.otherLobbies },
      vram_mb: wolf.vramMb,
      encoder_sessions: wolf.encoderSessions,
    },
    quarantine: quarantineOf(wolf, now),
    intent_reason: wolf.intentReason,
    drain: drainOf(wolf),
    created_at: wolf.createdAt.toISOString(),
    updated_at: wolf.updatedAt.toISOString(),
  };
}

/** Only while it lasts: the row keeps the last one. */
function quarantineOf({ quarantine }: Wolf, now: Date): WolfInstance["quarantine"] {
  if (quarantine === null || quarantine.until <= now) return null;
  return { ...quarantine, until: quarantine.until.toISOString() };
}

function drainOf({ drain, connectedSandboxes }: Wolf): WolfInstance["drain"] {
  if (drain === null) return null;
  return {
    started_at: drain.startedAt.toISOString(),
    deadline: drain.deadline.toISOString(),
    sessions_at_start: drain.sessionsAtStart,
    sessions_left: connectedSandboxes,
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    then: drain.next,
  };
}
