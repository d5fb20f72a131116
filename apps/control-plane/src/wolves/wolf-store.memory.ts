/**
 * Wolves in memory: the twin of the store in PostgreSQL, for simulations. Each method is one step that nothing comes between. Disk
 * samples, revocations, events and the labels of join tokens are not kept.
 */
import { byId, type MemoryFleet, toWolf, type WolfRow } from "../database/memory-fleet.ts";
import { newId } from "../ids.ts";
import { derivedStatus } from "./wolf-lifecycle.ts";
import { described, memoryReports } from "./wolf-reports.memory.ts";
import { memorySteering, quarantineIf } from "./wolf-steering.memory.ts";
import { nativeTunnel, type TunnelKey, undescribed, type WolfReport, type WolfStore } from "./wolf-store.ts";

export function memoryWolfStore(fleet: MemoryFleet): WolfStore {
  return { ...memorySteering(fleet), ...wolvesThemselves(fleet), ...memoryReports(fleet), ...silence(fleet) };
}

type Themselves = Pick<
  WolfStore,
  "register" | "registerOnConnect" | "get" | "getByName" | "list" | "candidates" | "deregister" | "openTunnel"
>;
type Silence = Pick<
  WolfStore,
  | "heartbeat"
  | "heartbeats"
  | "epochs"
  | "loseTunnel"
  | "markLost"
  | "listSuspect"
  | "findStale"
  | "markStale"
  | "orphanTunnels"
>;

function newRow(wolf: { id: string; name: string; address: string } & WolfReport, now: Date): WolfRow {
  return {
    ...described(wolf),
    id: wolf.id,
    name: wolf.name,
    address: wolf.address,
    connectivity: "connected",
    connectivitySince: now,
    health: "ok",
    healthReasons: [],
    intent: "active",
    intentSince: now,
    intentReason: null,
    drain: null,
    gpuModel: null,
    renderNode: null,
    connectedSandboxes: 0,
    otherLobbies: 0,
    vramMb: { max: null, claimed: 0, other: 0 },
    encoderSessions: { max: wolf.encoderSessionsMax, claimed: 0, other: 0 },
    reconciledEpoch: 0,
    createFailures: 0,
    quarantine: null,
    lastHeartbeat: now,
    epoch: 0,
    tunnelSince: null,
    tunnelBy: nativeTunnel,
    tunnelReplicaId: null,
    tunnelRttMs: null,
    tunnelClockOffsetMs: null,
    capabilities: null,
    host: null,
    usage: null,
    wolfRestarts: 0,
    images: null,
    createdAt: now,
    updatedAt: now,
    flaps: 0,
    flapsSince: null,
  };
}

/** The newest tunnel, live or not, is one of an agent of ours. */
const isSaidByOurs = ({ epoch, tunnelBy }: WolfRow) => epoch > 0 && tunnelBy.protocol === "revdial";

/** What agents of ours say all the time; what the host consists of stays. */
function forgotten({ vramMb, encoderSessions }: WolfRow): Partial<WolfRow> {
  return {
    health: "ok",
    healthReasons: [],
    capabilities: null,
    images: null,
    usage: null,
    agentVersion: null,
    wolfRestarts: 0,
    vramMb: { ...vramMb, other: 0 },
    encoderSessions: { ...encoderSessions, other: 0 },
  };
}

/** By HTTP: one that was lost is connected again. */
function heard(row: WolfRow, now: Date): Partial<WolfRow> {
  const back = row.connectivity === "lost" && { connectivity: "connected" as const, connectivitySince: now };
  return { lastHeartbeat: now, updatedAt: now, ...back };
}

function wolvesThemselves(fleet: MemoryFleet): Themselves {
  return {
    async register(wolf, now) {
      const row = fleet.wolfNamed(wolf.name);
      if (row === undefined) {
        if (fleet.wolves.has(wolf.id)) throw new Error("a wolf of another name has this id");
        return toWolf(fleet.addWolf(newRow(wolf, now)));
      }
      const encoderSessions = { ...row.encoderSessions, max: wolf.encoderSessionsMax };
      fleet.changeWolf(row, {
        ...described(wolf),
        address: wolf.address,
        encoderSessions,
        ...heard(row, now),
      });
      return toWolf(row);
    },

    async registerOnConnect(name, address, now, id = newId("wlf")) {
      const row = fleet.wolfNamed(name);
      if (row !== undefined) return toWolf(row);
      if (fleet.wolves.has(id)) throw new Error("a wolf of another name has this id");
      return toWolf(fleet.addWolf(newRow({ id, name, address, ...undescribed }, now)));
    },

    async get(id) {
      const row = fleet.wolves.get(id);
      return row && toWolf(row);
    },

    async getByName(name) {
      const row = fleet.wolfNamed(name);
      return row && toWolf(row);
    },

    async list({ limit, after = "", status, gpuType, intent, region, name }) {
      return [...fleet.wolves.values()]
        .filter(
          (row) =>
            row.id > after &&
            (status === undefined || derivedStatus[row.connectivity][row.health] === status) &&
            (gpuType === undefined || row.gpuType === gpuType) &&
            (intent === undefined || row.intent === intent) &&
            (region === undefined || row.region === region) &&
            (name === undefined || row.name === name),
        )
        .sort(byId)
        .slice(0, limit)
        .map(toWolf);
    },

    async candidates() {
      return [...fleet.wolves.values()]
        .filter(({ intent }) => intent !== "retired")
        .sort(byId)
        .map((row) => toWolf({ ...row, host: null, usage: null, images: null }));
    },

    async deregister(id, force, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined) return "unknown";
      const live = [...fleet.liveOnWolf(id)];
      if (live.length > 0 && !force) return "has-sessions";
      for (const session of live) {
        fleet.changeSession(session, {
          status: "failed",
          statusSince: now,
          failure: { code: "wolf-removed", reason: "Its wolf was removed from the fleet." },
          endedAt: now,
          updatedAt: now,
          slotHeld: false,
          vramMb: 0,
          encoderSessions: 0,
          createKey: null,
          lockToken: null,
          lockExpiresAt: null,
        });
      }
      fleet.removeWolf(row);
      return "deleted";
    },

    async openTunnel(id, now, by = nativeTunnel, { after = 0, clockOffsetMs } = {}) {
      const row = fleet.wolves.get(id);
      if (row === undefined) return undefined;
      fleet.changeWolf(row, {
        epoch: Math.max(row.epoch, after) + 1,
        tunnelSince: now,
        tunnelBy: by,
        tunnelRttMs: null,
        tunnelClockOffsetMs: clockOffsetMs ?? null,
        ...(by.protocol === "helix" && isSaidByOurs(row) && forgotten(row)),
        lastHeartbeat: now,
        updatedAt: now,
        connectivity: "connected",
        connectivitySince: row.connectivity === "connected" ? row.connectivitySince : now,
      });
      return toWolf(row);
    },
  };
}

function silence(fleet: MemoryFleet): Silence {
  const keyOf = ({ id, epoch }: TunnelKey) => `${id} ${epoch}`;

  function stale(cutoff: Date, live: readonly TunnelKey[]): WolfRow[] {
    const lives = new Set(live.map(keyOf));
    return [...fleet.wolvesOf("connected")]
      .filter((row) => (row.lastHeartbeat === null || row.lastHeartbeat < cutoff) && !lives.has(keyOf(row)))
      .sort(byId);
  }

  return {
    async heartbeat(id, { gpuType, maxSandboxes, daemon }, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined) return false;
      const { gpuType: daemonGpu, disks } = (!isSaidByOurs(row) && daemon) || {};
      fleet.changeWolf(row, {
        ...(daemonGpu !== undefined && { gpuType: daemonGpu }),
        ...(disks && { usage: { ...disks.usage, received_at: now.toISOString() } }),
        ...(gpuType !== undefined && { gpuType }),
        ...(maxSandboxes !== undefined && { maxSandboxes }),
        // Whether a wolf is there that has had a tunnel, its tunnel says.
        ...(daemon === undefined || row.epoch === 0 ? heard(row, now) : { updatedAt: now }),
      });
      return true;
    },

    async heartbeats(beats, now) {
      const rows = beats.flatMap(({ id, epoch, rttMs }) => {
        const row = fleet.wolves.get(id);
        return row?.epoch === epoch ? [{ row, rttMs }] : [];
      });
      for (const { row, rttMs } of rows) {
        const back = { connectivity: "connected", connectivitySince: now, updatedAt: now } as const;
        fleet.changeWolf(row, {
          lastHeartbeat: now,
          tunnelSince: row.tunnelSince ?? now,
          tunnelRttMs: rttMs ?? row.tunnelRttMs,
          ...(row.connectivity === "connected" ? {} : back),
        });
      }
      return new Set(rows.map(({ row }) => row)).size;
    },

    async epochs(ids) {
      const rows = ids.flatMap((id) => fleet.wolves.get(id) ?? []);
      return new Map(rows.map(({ id, epoch }) => [id, epoch]));
    },

    async loseTunnel(id, epoch, rules, now) {
      const row = fleet.wolves.get(id);
      if (row?.epoch !== epoch || row.tunnelSince === null) return false;
      const windowStartMs = now.getTime() - rules.flapWindowMs;
      const goesOn = row.flapsSince !== null && row.flapsSince.getTime() >= windowStartMs;
      const flaps = goesOn ? row.flaps + 1 : 1;
      fleet.changeWolf(row, {
        connectivity: "suspect",
        connectivitySince: now,
        tunnelSince: null,
        updatedAt: now,
        flaps,
        flapsSince: goesOn ? row.flapsSince : now,
        ...quarantineIf(flaps >= rules.flapsMax, row, "tunnel-flaps", rules, now),
      });
      return true;
    },

    async markLost(id, epoch, now) {
      const row = fleet.wolves.get(id);
      if (row?.epoch !== epoch || row.connectivity !== "suspect" || row.tunnelSince !== null) return false;
      fleet.changeWolf(row, { connectivity: "lost", connectivitySince: now, updatedAt: now });
      return true;
    },

    async listSuspect(cutoff) {
      return [...fleet.wolvesOf("suspect")]
        .filter(({ connectivitySince }) => connectivitySince < cutoff)
        .sort(byId)
        .map(({ id, epoch }) => ({ id, epoch }));
    },

    async findStale(cutoff, live) {
      return stale(cutoff, live).map(toWolf);
    },

    async markStale(cutoff, live, now) {
      const rows = stale(cutoff, live);
      for (const row of rows) {
        fleet.changeWolf(row, {
          connectivity: "lost",
          connectivitySince: now,
          tunnelSince: null,
          updatedAt: now,
        });
      }
      return rows.map(({ name }) => name);
    },

    async orphanTunnels(now, of = "start") {
      // There are no replicas here: no tunnel is that of one whose lease runs, nor of one that was removed.
      const orphans = [...fleet.wolves.values()].filter(
        ({ tunnelSince }) => of === "start" && tunnelSince !== null,
      );
      for (const row of orphans) {
        fleet.changeWolf(row, {
          connectivity: "suspect",
          connectivitySince: now,
          tunnelSince: null,
          updatedAt: now,
        });
      }
      return [...fleet.wolvesOf("suspect")].map(({ id, epoch }) => ({ id, epoch }));
    },
  };
}
