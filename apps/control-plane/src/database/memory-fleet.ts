/**
 * The rows of wolves and sessions in memory, for the stores' twins, with an index of all that these look for: a fleet of thousands of
 * wolves with years of ended sessions is no slower than its live sessions are many. What goes in is copied; what is handed out here
 * are the rows themselves, which only the stores may change, and only by `changeWolf` and `changeSession`.
 */
import type { Connectivity, SessionStatus } from "@wolfpack/api-contract";
import { liveStatuses } from "../sessions/session-lifecycle.ts";
import type { Session } from "../sessions/session-store.ts";
import type { FleetRow, Wolf } from "../wolves/wolf-store.ts";

export interface SessionRow extends Session {
  /** From the claim to the one release, with what was claimed besides. */
  slotHeld: boolean;
  vramMb: number;
  encoderSessions: number;
  createKey: string | null;
}

export interface WolfRow extends Wolf {
  /** Tunnels lost since `flapsSince`. */
  flaps: number;
  flapsSince: Date | null;
}

/** Null: what the configuration says. */
export interface OwnerRow {
  sessionsMax: number | null;
  createsPerMinute: number | null;
}

interface OfOwner {
  live: Set<SessionRow>;
  byCreateKey: Map<string, SessionRow>;
  /** When its sessions were made, ended ones too; sorted. */
  createdMs: number[];
}

export type MemoryFleet = ReturnType<typeof memoryFleet>;

/** What placement looks at: the columns of the trigger `wolf_instance_placement_changed`. */
const placementFields = [
  "intent",
  "connectivity",
  "health",
  "quarantine",
  "epoch",
  "tunnelSince",
  "reconciledEpoch",
  "capabilities",
  "gpuType",
  "gpuModel",
  "labels",
  "region",
  "costPerHour",
  "images",
  "maxSandboxes",
  "connectedSandboxes",
  "otherLobbies",
  "vramMb",
  "encoderSessions",
] as const satisfies readonly (keyof WolfRow)[];

/** A deep copy of what rows consist of: plain objects, arrays, dates and values. */
export function copy<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date) return new Date(value) as Value;
  if (Array.isArray(value)) return value.map(copy) as Value;
  const copied: Record<string, unknown> = {};
  for (const key in value) copied[key] = copy(value[key]);
  return copied as Value;
}

/** What only the stores know stays here. */
export function toSession(row: SessionRow): Session {
  const { slotHeld: _slot, vramMb: _vram, encoderSessions: _encoder, createKey: _key, ...session } = row;
  return copy(session);
}

export function toWolf(row: WolfRow): Wolf {
  const { flaps: _flaps, flapsSince: _since, ...wolf } = row;
  return copy(wolf);
}

export const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);

export function memoryFleet() {
  const owners = new Map<string, OwnerRow>();
  const wolves = new Map<string, WolfRow>();
  const wolvesByName = new Map<string, WolfRow>();
  const wolvesByConnectivity = new Map<Connectivity, Set<WolfRow>>();
  const sessions = new Map<string, SessionRow>();
  const ofOwners = new Map<string, OfOwner>();
  // Of live sessions only.
  const byStatus = new Map<SessionStatus, Set<SessionRow>>();
  const byWolf = new Map<string, Set<SessionRow>>();
  const byLobby = new Map<string, Set<SessionRow>>();
  /** Those that can expire. */
  const mortal = new Set<SessionRow>();
  /** By the number of the change that last concerned placement. */
  const changedAt = new Map<string, number>();
  const removedAt = new Map<string, number>();
  let changes = 0;
  let queue: readonly SessionRow[] | undefined;
  let state: FleetRow = { frozenSince: null, overrideUntil: null };

  function ofOwner(id: string): OfOwner {
    const known = ofOwners.get(id) ?? { live: new Set(), byCreateKey: new Map(), createdMs: [] };
    ofOwners.set(id, known);
    return known;
  }

  function index(row: SessionRow): void {
    if (!liveStatuses.includes(row.status)) return;
    add(byStatus, row.status, row);
    if (row.wolfId !== null) add(byWolf, row.wolfId, row);
    if (row.lobbyId !== null) add(byLobby, row.lobbyId, row);
    if (row.expiresAt !== null || row.idleSeconds !== null) mortal.add(row);
    const { live, byCreateKey } = ofOwner(row.ownerId);
    live.add(row);
    if (row.createKey !== null) byCreateKey.set(row.createKey, row);
    if (row.status === "queued") queue = undefined;
  }

  function unindex(row: SessionRow): void {
    byStatus.get(row.status)?.delete(row);
    if (row.wolfId !== null) remove(byWolf, row.wolfId, row);
    if (row.lobbyId !== null) remove(byLobby, row.lobbyId, row);
    mortal.delete(row);
    const { live, byCreateKey } = ofOwner(row.ownerId);
    live.delete(row);
    if (row.createKey !== null) byCreateKey.delete(row.createKey);
    if (row.status === "queued") queue = undefined;
  }

  return {
    /** Whoever may have sessions: a session of nobody else can be made. */
    owners,
    wolves: wolves as ReadonlyMap<string, WolfRow>,
    sessions: sessions as ReadonlyMap<string, SessionRow>,
    mortal: mortal as ReadonlySet<SessionRow>,

    wolfNamed: (name: string) => wolvesByName.get(name),
    wolvesOf: (connectivity: Connectivity): Iterable<WolfRow> => wolvesByConnectivity.get(connectivity) ?? [],

    addWolf(row: WolfRow): WolfRow {
      const added = copy(row);
      wolves.set(added.id, added);
      wolvesByName.set(added.name, added);
      add(wolvesByConnectivity, added.connectivity, added);
      changes += 1;
      changedAt.set(added.id, changes);
      return added;
    },

    changeWolf(row: WolfRow, patch: Partial<WolfRow>): void {
      const concerns = placementFields.some((field) => field in patch && !isSame(row[field], patch[field]));
      const before = row.connectivity;
      Object.assign(row, copy(patch));
      if (row.connectivity !== before) {
        remove(wolvesByConnectivity, before, row);
        add(wolvesByConnectivity, row.connectivity, row);
      }
      if (!concerns) return;
      changes += 1;
      changedAt.set(row.id, changes);
    },

    /** Its ended sessions stay, as those of no wolf. */
    removeWolf(row: WolfRow): void {
      wolves.delete(row.id);
      wolvesByName.delete(row.name);
      remove(wolvesByConnectivity, row.connectivity, row);
      changedAt.delete(row.id);
      changes += 1;
      removedAt.set(row.id, changes);
      for (const session of sessions.values()) if (session.wolfId === row.id) session.wolfId = null;
    },

    /** Those of a change numbered `mark` or later, and the number of the next change. */
    changedSince(mark: number): { wolves: WolfRow[]; gone: string[]; next: number } {
      if (changes < mark) return { wolves: [], gone: [], next: mark };
      const changed = [...wolves.values()].filter(({ id }) => (changedAt.get(id) ?? 0) >= mark);
      const gone = [...removedAt].flatMap(([id, at]) => (at >= mark && !wolves.has(id) ? [id] : []));
      return { wolves: changed, gone, next: changes + 1 };
    },

    addSession(row: SessionRow): SessionRow {
      const added = copy(row);
      sessions.set(added.id, added);
      index(added);
      const { createdMs } = ofOwner(added.ownerId);
      const at = added.createdAt.getTime();
      const place = createdMs.findLastIndex((other) => other <= at) + 1;
      createdMs.splice(place, 0, at);
      return added;
    },

    changeSession(row: SessionRow, patch: Partial<SessionRow>): void {
      unindex(row);
      Object.assign(row, copy(patch));
      index(row);
    },

    sessionsOf: (status: SessionStatus): ReadonlySet<SessionRow> => byStatus.get(status) ?? new Set(),
    liveOnWolf: (wolfId: string): ReadonlySet<SessionRow> => byWolf.get(wolfId) ?? new Set(),
    liveWithLobby: (lobbyId: string): ReadonlySet<SessionRow> => byLobby.get(lobbyId) ?? new Set(),
    liveOfOwner: (ownerId: string): number => ofOwner(ownerId).live.size,
    withCreateKey: (ownerId: string, key: string | null): SessionRow | undefined =>
      key === null ? undefined : ofOwner(ownerId).byCreateKey.get(key),
    /** When the owner's sessions after `sinceMs` were made, newest first. */
    createdSince(ownerId: string, sinceMs: number): number[] {
      const { createdMs } = ofOwner(ownerId);
      return createdMs.slice(createdMs.findLastIndex((at) => at <= sinceMs) + 1).reverse();
    },

    /** Those that wait, next first. */
    queue(): readonly SessionRow[] {
      queue ??= [...(byStatus.get("queued") ?? [])].sort(inTurn);
      return queue;
    },

    get state(): FleetRow {
      return state;
    },
    set state(row: FleetRow) {
      state = copy(row);
    },
  };
}

/** By priority, then by turn, then by the time they came. */
export function inTurn(a: SessionRow, b: SessionRow): number {
  const came = ({ queuedAt, createdAt }: SessionRow) => (queuedAt ?? createdAt).getTime();
  return b.priority - a.priority || a.turn - b.turn || came(a) - came(b) || byId(a, b);
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}

function add<Key, Row>(index: Map<Key, Set<Row>>, key: Key, row: Row): void {
  const rows = index.get(key);
  if (rows === undefined) index.set(key, new Set([row]));
  else rows.add(row);
}

function remove<Key, Row>(index: Map<Key, Set<Row>>, key: Key, row: Row): void {
  const rows = index.get(key);
  rows?.delete(row);
  if (rows?.size === 0) index.delete(key);
}
