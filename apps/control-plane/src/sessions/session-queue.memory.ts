/** Places for sessions in memory, and the queue of those that wait for one: the twin of session-queue.prisma.ts. */
import {
  inTurn,
  type MemoryFleet,
  type SessionRow,
  toSession,
  type WolfRow,
} from "../database/memory-fleet.ts";
import type {
  Claim,
  ClaimRequest,
  NewSession,
  OverQuota,
  Quotas,
  SessionStore,
  Unqueued,
} from "./session-store.ts";

type Placing = Pick<
  SessionStore,
  "claim" | "enqueue" | "prospect" | "listQueued" | "queuePosition" | "countQueued" | "explainQueued"
>;

const MINUTE_MS = 60_000;

/** Of who begins to wait: the one that the queue has come to, or one more than the owner's last. */
export function turnOf(fleet: MemoryFleet, priority: number, ownerId?: string): number {
  const peers = fleet.queue().filter((row) => row.priority === priority);
  const first = peers[0]?.turn ?? 0;
  const own = peers.filter((row) => row.ownerId === ownerId);
  return Math.max(first, ...own.map(({ turn }) => turn + 1));
}

function newRow({ createKey, ...made }: NewSession, now: Date): SessionRow {
  return {
    ...made,
    status: "queued",
    statusSince: now,
    wolfId: null,
    lobbyId: null,
    failure: null,
    stopReason: null,
    expiresAt: null,
    queuedAt: null,
    queueDeadline: null,
    priority: made.spec.priority,
    turn: 0,
    attempts: 0,
    avoid: [],
    culprits: [],
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
export function count(fleet: MemoryFleet, wolf: WolfRow, amounts: Amounts, sign: 1 | -1, now: Date): void {
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

export type Amounts = Pick<SessionRow, "vramMb" | "encoderSessions">;

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

/** Of a new session that is to wait: its turn, or why not. */
function prospectOf(
  fleet: MemoryFleet,
  { ownerId, priority }: { ownerId: string; priority: number },
  queueMax: number,
  quotas: Quotas,
  now: Date,
): { outcome: "queued"; turn: number } | Unqueued {
  mustExist(fleet, ownerId);
  const over = overQuota(fleet, ownerId, quotas, now);
  if (over !== undefined) return over;
  const current = fleet.queue().length;
  if (current >= queueMax) return { outcome: "full", limit: queueMax, current };
  return { outcome: "queued", turn: turnOf(fleet, priority, ownerId) };
}

export function placing(fleet: MemoryFleet): Placing {
  return {
    async claim(requests, quotas, now) {
      for (const request of requests) if ("session" in request) mustExist(fleet, request.session.ownerId);
      return requests.map((request) => claimOne(fleet, request, quotas, now));
    },

    async enqueue(session, { max, deadline }, quotas, now) {
      mustExist(fleet, session.ownerId);
      const made = existing(fleet, session);
      if (made !== undefined) return { outcome: "exists", session: toSession(made) };
      const { ownerId, spec } = session;
      const prospect = prospectOf(fleet, { ownerId, priority: spec.priority }, max, quotas, now);
      if (prospect.outcome !== "queued") return prospect;
      const { turn } = prospect;
      const row = fleet.addSession({ ...newRow(session, now), queuedAt: now, queueDeadline: deadline, turn });
      return { outcome: "queued", session: toSession(row) };
    },

    async prospect(session, queueMax, quotas, now) {
      const prospect = prospectOf(fleet, session, queueMax, quotas, now);
      if (prospect.outcome !== "queued") return prospect;
      const isBefore = ({ priority, turn }: SessionRow) =>
        priority > session.priority || (priority === session.priority && turn <= prospect.turn);
      return { outcome: "queued", position: fleet.queue().filter(isBefore).length + 1 };
    },

    async listQueued(limit, { after, ownerId } = {}) {
      const cursor = after === undefined ? undefined : fleet.sessions.get(after);
      if (after !== undefined && cursor === undefined) return [];
      return fleet
        .queue()
        .map((row, at) => ({ row, position: at + 1 }))
        .filter(({ row }) => ownerId === undefined || row.ownerId === ownerId)
        .filter(({ row }) => cursor === undefined || (row !== cursor && inTurn(row, cursor) > 0))
        .slice(0, limit)
        .map(({ row, position }) => ({ session: toSession(row), position }));
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
