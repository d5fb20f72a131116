/** Sessions in memory: the twin of the store in PostgreSQL, for simulations. Each method is one step that nothing comes between. */
import { byId, type MemoryFleet, type SessionRow, toSession } from "../database/memory-fleet.ts";
import { memoryDeadlines, warnedOfClock } from "./session-deadlines.memory.ts";
import { liveStatuses, type SessionEvent, statusesBefore } from "./session-lifecycle.ts";
import { count, placing, turnOf } from "./session-queue.memory.ts";
import type { Ran, SessionStore } from "./session-store.ts";

export function memorySessionStore(fleet: MemoryFleet): SessionStore {
  return { ...placing(fleet), ...lookups(fleet), ...changes(fleet), ...memoryDeadlines(fleet) };
}

type Lookups = Pick<
  SessionStore,
  "get" | "list" | "countLive" | "listLive" | "listOwners" | "recorded" | "pinsOf"
>;
type Changes = Omit<
  SessionStore,
  keyof ReturnType<typeof placing> | keyof Lookups | keyof ReturnType<typeof memoryDeadlines>
>;

const isLive = ({ status }: SessionRow): boolean => liveStatuses.includes(status);
const isIn = (row: SessionRow, event: SessionEvent): boolean => statusesBefore(event).includes(row.status);

function lookups(fleet: MemoryFleet): Lookups {
  return {
    async get(id) {
      const row = fleet.sessions.get(id);
      return row && toSession(row);
    },

    async list({ limit, after, newestFirst = false, status, wolfId, ownerId }) {
      const rows =
        status && liveStatuses.includes(status) ? fleet.sessionsOf(status) : fleet.sessions.values();
      return [...rows]
        .filter(
          (row) =>
            (after === undefined || (newestFirst ? row.id < after : row.id > after)) &&
            (status === undefined || row.status === status) &&
            (wolfId === undefined || row.wolfId === wolfId) &&
            (ownerId === undefined || row.ownerId === ownerId),
        )
        .sort((a, b) => (newestFirst ? byId(b, a) : byId(a, b)))
        .slice(0, limit)
        .map(toSession);
    },

    async countLive() {
      const counts = liveStatuses.map((status) => [status, fleet.sessionsOf(status).size] as const);
      return Object.fromEntries(counts.filter(([, count]) => count > 0));
    },

    async listLive(wolfId) {
      return [...fleet.liveOnWolf(wolfId)].sort(byId).map(toSession);
    },

    async listOwners(lobbies) {
      const found = new Set<SessionRow>();
      for (const { lobbyId, sessionId } of lobbies) {
        for (const row of fleet.liveWithLobby(lobbyId)) found.add(row);
        const named = fleet.sessions.get(sessionId);
        if (named !== undefined && isLive(named)) found.add(named);
      }
      return [...found].map(({ id, lobbyId, wolfId, leftWolves }) => ({
        id,
        lobbyId,
        wolfId,
        leftWolves: [...leftWolves],
      }));
    },

    async recorded(sessionIds) {
      return new Set(sessionIds.filter((id) => fleet.sessions.has(id)));
    },

    async pinsOf(sessionIds) {
      const pins = new Map<string, string>();
      for (const id of sessionIds) {
        const pin = fleet.sessions.get(id)?.pin ?? null;
        if (pin !== null) pins.set(id, pin);
      }
      return pins;
    },
  };
}

/** What it claimed is given back, to a wolf that may be gone; the rest of the change with it. */
function release(
  fleet: MemoryFleet,
  row: SessionRow,
  change: Partial<SessionRow>,
  now: Date,
  lobbyGone = false,
): void {
  const wolf = row.wolfId === null ? undefined : fleet.wolves.get(row.wolfId);
  if (row.slotHeld && wolf !== undefined) {
    count(fleet, wolf, row, -1, now);
    if (!lobbyGone) fleet.changeWolf(wolf, { otherLobbies: wolf.otherLobbies + 1 });
  }
  fleet.changeSession(row, {
    ...change,
    slotHeld: false,
    vramMb: 0,
    encoderSessions: 0,
    lockToken: null,
    lockExpiresAt: null,
    statusSince: now,
    updatedAt: now,
  });
}

function changes(fleet: MemoryFleet): Changes {
  const isOnLostWolf = ({ wolfId }: SessionRow) =>
    wolfId !== null && fleet.wolves.get(wolfId)?.connectivity === "lost";

  function run(row: SessionRow, now: Date): Ran {
    const { id, wolfId, culprits, status, spec } = row;
    const ttlMs = spec.ttl_seconds === null ? null : spec.ttl_seconds * 1000;
    fleet.changeSession(row, {
      status: "running",
      statusSince: now,
      startedAt: row.startedAt ?? now,
      lastActiveAt: now,
      expiresAt: row.expiresAt ?? (ttlMs === null ? null : new Date(now.getTime() + ttlMs)),
      warnedAt: warnedOfClock(row),
      avoid: [],
      culprits: [],
      lockToken: null,
      lockExpiresAt: null,
      updatedAt: now,
    });
    return { id, wolfId: wolfId ?? "", culprits: [...culprits], isNew: status === "starting" };
  }

  return {
    async lobbyCreated(id, lobbyId, now, lockToken) {
      const row = fleet.sessions.get(id);
      if (row === undefined) return false;
      const isMine =
        lockToken === undefined
          ? row.lockExpiresAt === null || row.lockExpiresAt <= now
          : row.lockToken === lockToken;
      if (!isMine) return false;
      const found = { lobbyId, lockToken: null, lockExpiresAt: null, updatedAt: now };
      if (isIn(row, "lobbyCreated")) {
        fleet.changeSession(row, { ...found, status: "starting", statusSince: now });
        return true;
      }
      if (row.status === "stopping" && row.lobbyId === null) fleet.changeSession(row, found);
      return false;
    },

    async running(id, lobbyId, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || row.lobbyId !== lobbyId || !isIn(row, "running")) return undefined;
      return run(row, now);
    },

    async lobbiesRunning(wolf, lobbyIds, now) {
      if (fleet.wolves.get(wolf.id)?.epoch !== wolf.epoch) return [];
      const rows = [...new Set(lobbyIds)]
        .flatMap((lobbyId) => [...fleet.liveWithLobby(lobbyId)])
        .filter((row) => row.wolfId === wolf.id && isIn(row, "running"));
      return rows.map((row) => run(row, now));
    },

    async requestStop(id, reason, now, options) {
      const row = fleet.sessions.get(id);
      if (row === undefined) return undefined;
      const stop = { stopReason: reason, statusSince: now, updatedAt: now };
      if (options?.whileLost && !isOnLostWolf(row)) return toSession(row);
      if (row.status === "queued")
        fleet.changeSession(row, { ...stop, status: "stopped", endedAt: now, createKey: null });
      else if (isIn(row, "stopRequested")) fleet.changeSession(row, { ...stop, status: "stopping" });
      return toSession(row);
    },

    async end(id, outcome, now, { from, attempt, lobbyGone } = {}) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !isIn(row, outcome.status)) return false;
      if (from !== undefined && !from.includes(row.status)) return false;
      if (attempt !== undefined && (row.wolfId !== attempt.wolfId || row.attempts !== attempt.attempts))
        return false;
      const how =
        outcome.status === "failed"
          ? { failure: outcome.failure }
          : { stopReason: row.stopReason ?? outcome.reason ?? null };
      release(fleet, row, { ...how, status: outcome.status, endedAt: now, createKey: null }, now, lobbyGone);
      return true;
    },

    async requeue(id, wolfId, from, { avoid, blame, deadline, whileLost, attempts, lobbyGone }, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || row.wolfId !== wolfId) return false;
      if (!isIn(row, "requeued") || !from.includes(row.status)) return false;
      if (whileLost && !isOnLostWolf(row)) return false;
      if (attempts !== undefined && row.attempts !== attempts) return false;
      const withWolf = (ids: readonly string[]) => [...ids.filter((one) => one !== wolfId), wolfId];
      const change = {
        status: "queued" as const,
        wolfId: null,
        lobbyId: null,
        queuedAt: row.queuedAt ?? row.createdAt,
        queueDeadline: deadline,
        turn: turnOf(fleet, row.priority),
        leftWolves: withWolf(row.leftWolves),
        avoid: avoid ? withWolf(row.avoid) : row.avoid,
        culprits: blame ? withWolf(row.culprits) : row.culprits,
        attempts: row.status === "running" || row.status === "lost" ? 0 : row.attempts,
      };
      release(fleet, row, change, now, lobbyGone);
      return true;
    },

    async markLost(id, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !isIn(row, "wolfLost") || !isOnLostWolf(row)) return false;
      fleet.changeSession(row, { status: "lost", statusSince: now, updatedAt: now });
      return true;
    },
  };
}
