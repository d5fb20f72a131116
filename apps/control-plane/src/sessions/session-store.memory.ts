/** Sessions in memory: the twin of the store in PostgreSQL, for simulations. Each method is one step that nothing comes between. */
import {
  byId,
  type MemoryFleet,
  type SessionRow,
  toSession,
  type WolfRow,
} from "../database/memory-fleet.ts";
import { memoryDeadlines } from "./session-deadlines.memory.ts";
import { liveStatuses, type SessionEvent, statusesBefore } from "./session-lifecycle.ts";
import type { Claim, ClaimRequest, NewSession, OverQuota, Quotas, SessionStore } from "./session-store.ts";

/** Of who begins to wait: the one that the queue has come to, or one more than the owner's last. */
function turnOf(fleet: MemoryFleet, priority: number, ownerId?: string): number {
  const peers = fleet.queue().filter((row) => row.priority === priority);
  const first = peers[0]?.turn ?? 0;
  const own = peers.filter((row) => row.ownerId === ownerId);
  return Math.max(first, ...own.map(({ turn }) => turn + 1));
}

export function memorySessionStore(fleet: MemoryFleet): SessionStore {
  return { ...placing(fleet), ...lookups(fleet), ...changes(fleet), ...memoryDeadlines(fleet) };
}

type Placing = Pick<
  SessionStore,
  "claim" | "enqueue" | "listQueued" | "queuePosition" | "countQueued" | "explainQueued"
>;
type Lookups = Pick<SessionStore, "get" | "list" | "countLive" | "listLive" | "listOwners" | "pinsOf">;
type Changes = Omit<SessionStore, keyof Placing | keyof Lookups | keyof ReturnType<typeof memoryDeadlines>>;

const MINUTE_MS = 60_000;

const isLive = ({ status }: SessionRow): boolean => liveStatuses.includes(status);
const isIn = (row: SessionRow, event: SessionEvent): boolean => statusesBefore(event).includes(row.status);

function newRow({ createKey, ...made }: NewSession, now: Date): SessionRow {
  return {
    ...made,
    status: "queued",
    statusSince: now,
    wolfId: null,
    lobbyId: null,
    failure: null,
    stopReason: null,
    queuedAt: null,
    queueDeadline: null,
    priority: made.spec.priority,
    turn: 0,
    attempts: 0,
    avoid: [],
    leftWolves: [],
    lockToken: null,
    lockExpiresAt: null,
    idleSeconds: made.spec.idle_timeout_seconds,
    lastActiveAt: null,
    warnedAt: null,
    createdAt: now,
    updatedAt: now,
    startedAt: null,
    endedAt: null,
    slotHeld: false,
    vramMb: 0,
    encoderSessions: 0,
    createKey,
  };
}

function overQuota(fleet: MemoryFleet, ownerId: string, quotas: Quotas, now: Date): OverQuota | undefined {
  const owner = fleet.owners.get(ownerId);
  const [sessionsMax, createsMax] = [
    owner?.sessionsMax ?? quotas.sessionsMax,
    owner?.createsPerMinute ?? quotas.createsPerMinute,
  ];
  const live = fleet.liveOfOwner(ownerId);
  if (live >= sessionsMax) return { outcome: "too-many", limit: sessionsMax, current: live };
  const recent = fleet.createdSince(ownerId, now.getTime() - MINUTE_MS);
  if (recent.length < createsMax) return undefined;
  const since = recent[Math.max(createsMax - 1, 0)] ?? now.getTime();
  return {
    outcome: "too-fast",
    limit: createsMax,
    current: recent.length,
    freeAt: new Date(since + MINUTE_MS),
  };
}

function fits(wolf: WolfRow, epoch: number, vramMb: number, encoders: number, now: Date): boolean {
  const { vramMb: vram, encoderSessions, quarantine } = wolf;
  return (
    wolf.epoch === epoch &&
    wolf.connectivity === "connected" &&
    wolf.intent === "active" &&
    wolf.health !== "failed" &&
    wolf.reconciledEpoch === epoch &&
    (quarantine === null || quarantine.until <= now) &&
    (wolf.capabilities?.missing ?? []).length === 0 &&
    wolf.connectedSandboxes + wolf.otherLobbies < wolf.maxSandboxes &&
    (vramMb === 0 || (vram.max !== null && vram.claimed + vram.other + vramMb <= vram.max)) &&
    (encoders === 0 ||
      encoderSessions.max === null ||
      encoderSessions.claimed + encoderSessions.other + encoders <= encoderSessions.max)
  );
}

/** `sign` 1: claims for a session; −1: gives back. */
function count(fleet: MemoryFleet, wolf: WolfRow, amounts: Amounts, sign: 1 | -1, now: Date): void {
  fleet.changeWolf(wolf, {
    connectedSandboxes: wolf.connectedSandboxes + sign,
    vramMb: { ...wolf.vramMb, claimed: wolf.vramMb.claimed + sign * amounts.vramMb },
    encoderSessions: {
      ...wolf.encoderSessions,
      claimed: wolf.encoderSessions.claimed + sign * amounts.encoderSessions,
    },
    updatedAt: now,
  });
}

type Amounts = Pick<SessionRow, "vramMb" | "encoderSessions">;

/** What it claimed is given back, to a wolf that may be gone; the rest of the change with it. */
function release(fleet: MemoryFleet, row: SessionRow, change: Partial<SessionRow>, now: Date): void {
  const wolf = row.wolfId === null ? undefined : fleet.wolves.get(row.wolfId);
  if (row.slotHeld && wolf !== undefined) count(fleet, wolf, row, -1, now);
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

function claimOne(fleet: MemoryFleet, request: ClaimRequest, quotas: Quotas, now: Date): Claim {
  const isNew = "session" in request;
  const waiting = isNew ? undefined : fleet.sessions.get(request.queued);
  if (isNew) {
    const made = existing(fleet, request.session);
    if (made !== undefined) return { outcome: "exists", session: toSession(made) };
    const over = overQuota(fleet, request.session.ownerId, quotas, now);
    if (over !== undefined) return over;
  } else if (waiting?.status !== "queued") return { outcome: "gone" };
  const row = waiting ?? newRow((request as { session: NewSession }).session, now);
  const { vram_mb: vramMb, encoder_sessions: encoderSessions } = row.spec.resources;
  const wolf = fleet.wolves.get(request.wolf.id);
  if (wolf === undefined || !fits(wolf, request.wolf.epoch, vramMb, encoderSessions, now))
    return { outcome: "lost" };
  count(fleet, wolf, { vramMb, encoderSessions }, 1, now);
  const placed = {
    status: "placed" as const,
    statusSince: now,
    wolfId: wolf.id,
    placement: isNew ? request.session.placement : request.placement,
    slotHeld: true,
    vramMb,
    encoderSessions,
    attempts: row.attempts + 1,
    lockToken: request.lock.token,
    lockExpiresAt: request.lock.expiresAt,
    updatedAt: now,
  };
  if (waiting === undefined)
    return { outcome: "claimed", session: toSession(fleet.addSession({ ...row, ...placed })) };
  fleet.changeSession(waiting, placed);
  return { outcome: "claimed", session: toSession(waiting) };
}

function existing(fleet: MemoryFleet, { id, ownerId, createKey }: NewSession): SessionRow | undefined {
  return fleet.sessions.get(id) ?? fleet.withCreateKey(ownerId, createKey);
}

function mustExist(fleet: MemoryFleet, ownerId: string): void {
  if (!fleet.owners.has(ownerId)) throw new Error("a session's owner does not exist");
}

function placing(fleet: MemoryFleet): Placing {
  return {
    async claim(requests, quotas, now) {
      for (const request of requests) if ("session" in request) mustExist(fleet, request.session.ownerId);
      return requests.map((request) => claimOne(fleet, request, quotas, now));
    },

    async enqueue(session, { max, deadline }, quotas, now) {
      mustExist(fleet, session.ownerId);
      const made = existing(fleet, session);
      if (made !== undefined) return { outcome: "exists", session: toSession(made) };
      const over = overQuota(fleet, session.ownerId, quotas, now);
      if (over !== undefined) return over;
      const length = fleet.queue().length;
      if (length >= max) return { outcome: "full", length };
      const turn = turnOf(fleet, session.spec.priority, session.ownerId);
      const row = fleet.addSession({ ...newRow(session, now), queuedAt: now, queueDeadline: deadline, turn });
      return { outcome: "queued", session: toSession(row) };
    },

    async listQueued(limit) {
      return fleet
        .queue()
        .slice(0, limit)
        .map((row, at) => ({ session: toSession(row), position: at + 1 }));
    },

    async queuePosition(id) {
      const at = fleet.queue().findIndex((row) => row.id === id);
      return at === -1 ? undefined : at + 1;
    },

    async countQueued() {
      return fleet.queue().length;
    },

    async explainQueued(id, placement) {
      const row = fleet.sessions.get(id);
      if (row?.status === "queued") fleet.changeSession(row, { placement });
    },
  };
}

function lookups(fleet: MemoryFleet): Lookups {
  return {
    async get(id) {
      const row = fleet.sessions.get(id);
      return row && toSession(row);
    },

    async list({ limit, after = "", status, wolfId, ownerId }) {
      const rows =
        status && liveStatuses.includes(status) ? fleet.sessionsOf(status) : fleet.sessions.values();
      return [...rows]
        .filter(
          (row) =>
            row.id > after &&
            (status === undefined || row.status === status) &&
            (wolfId === undefined || row.wolfId === wolfId) &&
            (ownerId === undefined || row.ownerId === ownerId),
        )
        .sort(byId)
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

function changes(fleet: MemoryFleet): Changes {
  const isOnLostWolf = ({ wolfId }: SessionRow) =>
    wolfId !== null && fleet.wolves.get(wolfId)?.connectivity === "lost";

  function run(row: SessionRow, now: Date): void {
    fleet.changeSession(row, {
      status: "running",
      statusSince: now,
      startedAt: row.startedAt ?? now,
      lastActiveAt: now,
      lockToken: null,
      lockExpiresAt: null,
      updatedAt: now,
    });
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

    async running(id, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !isIn(row, "running")) return false;
      run(row, now);
      return true;
    },

    async lobbiesRunning(wolf, lobbyIds, now) {
      if (fleet.wolves.get(wolf.id)?.epoch !== wolf.epoch) return [];
      const rows = lobbyIds
        .flatMap((lobbyId) => [...fleet.liveWithLobby(lobbyId)])
        .filter((row) => row.wolfId === wolf.id && isIn(row, "running"));
      for (const row of rows) run(row, now);
      return rows.map(({ id }) => id);
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

    async end(id, outcome, now, from) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !isIn(row, outcome.status)) return false;
      if (from !== undefined && !from.includes(row.status)) return false;
      const how =
        outcome.status === "failed"
          ? { failure: outcome.failure }
          : { stopReason: row.stopReason ?? outcome.reason ?? null };
      release(fleet, row, { ...how, status: outcome.status, endedAt: now, createKey: null }, now);
      return true;
    },

    async requeue(id, wolfId, from, { avoid, deadline, whileLost }, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || row.wolfId !== wolfId) return false;
      if (!isIn(row, "requeued") || !from.includes(row.status)) return false;
      if (whileLost && !isOnLostWolf(row)) return false;
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
      };
      release(fleet, row, change, now);
      return true;
    },

    async markLost(id, now) {
      const row = fleet.sessions.get(id);
      if (row === undefined || !isIn(row, "wolfLost") || !isOnLostWolf(row)) return false;
      fleet.changeSession(row, { status: "lost", statusSince: now, updatedAt: now });
      return true;
    },

    async leftNothing(id, wolfId) {
      const row = fleet.sessions.get(id);
      if (row?.leftWolves.includes(wolfId))
        fleet.changeSession(row, { leftWolves: row.leftWolves.filter((one) => one !== wolfId) });
    },
  };
}
