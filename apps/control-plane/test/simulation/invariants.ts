/**
 * What must hold after every step, whatever happens: of the rows (no wolf overcommitted, no slot leaked, no status out of order) and
 * of the truth on the hosts (nothing of others is touched, nothing of ours is stopped without its PIN).
 */
import { sessionTransitions } from "../../src/sessions/session-lifecycle.ts";
import type { Session } from "../../src/sessions/session-store.ts";
import type { Rows, SessionRow, WolfRow } from "./rows.ts";
import type { SimLobby, Witness } from "./wolf.ts";
import type { World } from "./world.ts";

/** After so many steps everything is looked at, not only what a statement has named; in a large fleet after more. */
const ALL_EVERY = 2000;
const ALL_EVERY_PER_ROW = 20;
/** Who is to be given up was decided before, and is being written one after the other. */
const DECIDED_WITHIN_MS = 5000;
/** A tunnel that works is known, and written; if not at once, with one of its heartbeats. */
const SEEN_WITHIN_MS = 45_000;
const ID = /^(ses|wlf)_[0-9A-Z]{26}$/;

type Status = Session["status"];
const holding: ReadonlySet<Status> = new Set(["placed", "starting", "running", "stopping", "lost"]);
const ended: ReadonlySet<Status> = new Set(["stopped", "failed"]);
const next = Object.fromEntries(
  Object.entries(sessionTransitions).map(([status, events]) => [status, new Set(Object.values(events))]),
) as unknown as Record<Status, ReadonlySet<Status>>;

/** Failures that say that the lobby is gone. */
const goneCodes: ReadonlySet<string> = new Set(["lobby-vanished", "lobby-stopped", "container-ended"]);

interface SeenSession {
  status: Status;
  wolfId: string | null;
  /** Of an ended one, all of it. */
  text: string | undefined;
  attempts: number;
  sinceMs: number;
  lock: { token: string; until: Date } | undefined;
}

export class Invariants implements Witness {
  /** By the session that they say they are of. */
  readonly copies = new Map<string, Set<SimLobby>>();
  /** When each session came into its status, by the world's clock. */
  readonly sessions = new Map<string, SeenSession>();
  private readonly wolves = new Map<
    string,
    Pick<WolfRow, "epoch" | "connectedSandboxes" | "otherLobbies" | "connectivity">
  >();
  private readonly world: World;
  private readonly rows: Rows;
  private readonly reachableMs: (wolfId: string) => number;
  private readonly touched = new Set<string>();
  private everything = false;
  /** Since when evictions have been frozen. */
  private frozenAtMs: number | undefined;
  private stepsLeft = ALL_EVERY;

  /** `reachableMs`: for how long a wolf could have been asked by whoever serves, without a disturbance. */
  constructor(world: World, rows: Rows, reachableMs: (wolfId: string) => number) {
    this.world = world;
    this.rows = rows;
    this.reachableMs = reachableMs;
  }

  appeared(lobby: SimLobby): void {
    if (lobby.tag === undefined) return;
    const copies = this.copies.get(lobby.tag) ?? new Set();
    copies.add(lobby);
    this.copies.set(lobby.tag, copies);
  }

  gone(lobby: SimLobby): void {
    if (lobby.tag === undefined) return;
    const copies = this.copies.get(lobby.tag);
    copies?.delete(lobby);
    if (copies?.size === 0) this.copies.delete(lobby.tag);
  }

  stopAsked(lobby: SimLobby, pinFits: boolean): void {
    if (lobby.tag === undefined || this.rows.session(lobby.tag) === undefined)
      this.world.violate(
        "foreign-lobby",
        `${lobby.wolf.id} was asked to stop ${lobby.id}, which is not ours`,
      );
    else if (!pinFits)
      this.world.violate("pin", `${lobby.id} of ${lobby.tag} was to be stopped without its PIN`);
  }

  /** A statement has taken effect: what it names may have changed. */
  done(method: string, args: readonly unknown[], result: unknown): void {
    if (method === "lobbyCreated" && result === true)
      this.checkLock(...(args as [id: string, lobbyId: string, now: Date, token?: string]));
    // These name wolves otherwise, or all of them.
    if (method === "markStale" || method === "orphanTunnels" || method === "deregister")
      this.everything = true;
    else if (!/^(get|list|count|changedCandidates|candidates|find|pins|fleet|queue)/.test(method)) {
      this.collect(args);
      this.collect(result);
    }
  }

  check(): void {
    this.frozenAtMs = this.rows.isFrozen() ? (this.frozenAtMs ?? this.world.nowMs) : undefined;
    this.stepsLeft -= 1;
    if (this.everything || this.stepsLeft <= 0) return this.checkAll();
    if (this.touched.size === 0) return;
    const ids = [...this.touched];
    this.touched.clear();
    const wolfIds = new Set(ids.filter((id) => id.startsWith("wlf_")));
    for (const id of ids) {
      if (!id.startsWith("ses_")) continue;
      const before = this.sessions.get(id)?.wolfId;
      this.checkSession(id);
      for (const wolfId of [before, this.sessions.get(id)?.wolfId]) if (wolfId) wolfIds.add(wolfId);
    }
    for (const id of wolfIds) this.checkWolf(id);
  }

  checkAll(): void {
    this.everything = false;
    this.touched.clear();
    const live = this.rows.live();
    this.stepsLeft = Math.max(ALL_EVERY, ALL_EVERY_PER_ROW * live.length);
    for (const { id } of live) this.checkSession(id);
    for (const [id, { status }] of this.sessions) if (!ended.has(status)) this.checkSession(id);
    for (const { id } of this.rows.wolves()) this.checkWolf(id);
  }

  /** All rows that ever ended, once more: they must be as they were. */
  checkEnded(): void {
    for (const [id, { text }] of this.sessions) if (text !== undefined) this.checkSession(id);
  }

  private collect(value: unknown): void {
    if (typeof value === "string") {
      if (ID.test(value)) this.touched.add(value);
    } else if (Array.isArray(value)) for (const item of value) this.collect(item);
    else if (typeof value === "object" && value !== null && !(value instanceof Date))
      for (const item of Object.values(value)) this.collect(item);
  }

  /** Of a lobby that was taken for the session's. */
  private checkLock(id: string, lobbyId: string, now: Date, token?: string): void {
    const lock = this.sessions.get(id)?.lock;
    const isFree = lock === undefined || lock.until <= now;
    const fits = token === undefined ? isFree : lock?.token === token;
    if (!fits)
      this.world.violate("lock", `session ${id} took ${lobbyId} from somebody who does not hold its lock`);
  }

  private checkSession(id: string): void {
    const row = this.rows.session(id);
    const seen = this.sessions.get(id);
    if (row === undefined) {
      if (seen !== undefined)
        this.world.violate("row-gone", `the row of session ${id} (${seen.status}) is gone`);
      return;
    }
    this.checkShape(row);
    if (seen === undefined) {
      if (row.status !== "placed" && row.status !== "queued")
        this.world.violate("transition", `session ${id} begins as ${row.status}`);
    } else this.checkChange(row, seen);
    if (seen === undefined || seen.status !== row.status) {
      this.world.note(`session ${id} ${seen?.status ?? "new"} → ${row.status}${whereOf(row)}${whyOf(row)}`);
      this.world.count(`session ${row.status}`);
      if (seen !== undefined) this.world.count(`session ${seen.status} → ${row.status}`);
    }
    this.sessions.set(id, {
      status: row.status,
      wolfId: row.wolfId,
      text: ended.has(row.status) ? textOf(row) : undefined,
      attempts: row.attempts,
      sinceMs: seen?.status === row.status ? seen.sinceMs : this.world.nowMs,
      lock:
        row.lockToken === null || row.lockExpiresAt === null
          ? undefined
          : { token: row.lockToken, until: row.lockExpiresAt },
    });
  }

  private checkShape(row: SessionRow): void {
    const { id, status, slotHeld, wolfId, lobbyId, endedAt } = row;
    if (slotHeld !== holding.has(status))
      this.world.violate(
        "slot",
        `session ${id} is ${status} and ${slotHeld ? "holds" : "does not hold"} a slot`,
      );
    if (holding.has(status) && wolfId === null)
      this.world.violate("slot", `session ${id} is ${status} on no wolf`);
    if (status === "queued" && (wolfId !== null || lobbyId !== null))
      this.world.violate("queued", `session ${id} waits and has a wolf or a lobby`);
    if (status === "lost" && row.spec.disconnect_policy !== "keep")
      this.world.violate(
        "policy",
        `session ${id} is to ${row.spec.disconnect_policy} and waits for a lost wolf`,
      );
    if ((endedAt !== null) !== ended.has(status))
      this.world.violate(
        "ended",
        `session ${id} is ${status} and ${endedAt === null ? "has not" : "has"} ended`,
      );
    if (ended.has(status) && row.failure === null && row.stopReason === null)
      this.world.violate("reason", `session ${id} is ${status} and nobody says why`);
  }

  private checkChange(row: SessionRow, seen: SeenSession): void {
    const { id, status, attempts } = row;
    if (status !== seen.status && !next[seen.status].has(status))
      this.world.violate("transition", `session ${id} went from ${seen.status} to ${status}`);
    const left = status === "queued" && (seen.status === "running" || seen.status === "lost");
    if (left && row.spec.disconnect_policy !== "replace")
      this.world.violate(
        "policy",
        `session ${id} is to ${row.spec.disconnect_policy} and was moved while it ran`,
      );
    if (status === "failed" && seen.status !== "failed") this.checkFailure(row);
    // They are counted anew for one that has run.
    if (attempts < seen.attempts && seen.status !== "running" && seen.status !== "lost")
      this.world.violate("attempts", `session ${id} had ${seen.attempts} attempts and has ${attempts}`);
    if (seen.text !== undefined && seen.text !== textOf(row))
      this.world.violate("ended", `session ${id} had ended and was changed: ${seen.text} → ${textOf(row)}`);
    // Running on another wolf without having been placed there.
    if (holding.has(status) && holding.has(seen.status) && seen.wolfId !== row.wolfId)
      this.world.violate(
        "transition",
        `session ${id} is ${status} on ${row.wolfId} and was on ${seen.wolfId}`,
      );
  }

  /** Whoever is told that the sandbox is gone may rely on it. */
  private checkFailure({ id, lobbyId, failure }: SessionRow): void {
    if (!goneCodes.has(failure?.code ?? "")) return;
    for (const lobby of this.copies.get(id) ?? [])
      if (lobby.id === lobbyId)
        this.world.violate(
          "truth",
          `session ${id} has failed with ${failure?.code}, and its lobby ${lobbyId} runs`,
        );
  }

  private checkWolf(id: string): void {
    const wolf = this.rows.wolf(id);
    if (wolf === undefined) return;
    const seen = this.wolves.get(id);
    this.checkCapacity(wolf, seen);
    this.checkLedger(wolf);
    if (seen !== undefined && wolf.epoch < seen.epoch)
      this.world.violate("epoch", `${id} had epoch ${seen.epoch} and has ${wolf.epoch}`);
    if (wolf.connectivity === "lost" && seen !== undefined && seen.connectivity !== "lost")
      this.checkLoss(id);
    const { epoch, connectedSandboxes, otherLobbies, connectivity } = wolf;
    this.wolves.set(id, { epoch, connectedSandboxes, otherLobbies, connectivity });
  }

  /** Nobody is given up who is there, nor while evictions are frozen. */
  private checkLoss(id: string): void {
    const { nowMs } = this.world;
    const frozenMs = nowMs - (this.frozenAtMs ?? nowMs);
    if (frozenMs > DECIDED_WITHIN_MS)
      this.world.violate(
        "frozen",
        `${id} was given up ${Math.round(frozenMs)} ms after evictions were frozen`,
      );
    const reachableMs = this.reachableMs(id);
    if (reachableMs > SEEN_WITHIN_MS)
      this.world.violate(
        "connectivity",
        `${id} was given up, and could be asked for ${Math.round(reachableMs)} ms`,
      );
  }

  private checkCapacity(
    {
      id,
      connectedSandboxes: used,
      maxSandboxes: max,
      otherLobbies: other,
      vramMb,
      encoderSessions,
    }: WolfRow,
    seen: { connectedSandboxes: number; otherLobbies: number } | undefined,
  ): void {
    // One that was made smaller keeps what it has, and gets nothing more.
    const grew = used > (seen?.connectedSandboxes ?? 0);
    if (used > max && grew) this.world.violate("overcommit", `${id} has ${used} sessions for ${max} slots`);
    if (grew && seen?.otherLobbies === other && used + other > max)
      this.world.violate("overcommit", `${id} took a session with ${used} + ${other} of ${max} slots`);
    for (const [what, { max: most, claimed }] of [
      ["MiB", vramMb],
      ["encoder sessions", encoderSessions],
    ] as const)
      if (most !== null && claimed > most && grew)
        this.world.violate("overcommit", `${id} has ${claimed} of ${most} ${what} claimed`);
    if (used < 0 || vramMb.claimed < 0 || encoderSessions.claimed < 0)
      this.world.violate("ledger", `${id} has less than nothing claimed`);
  }

  private checkLedger({ id, connectedSandboxes, vramMb, encoderSessions }: WolfRow): void {
    let [slots, mib, encoders] = [0, 0, 0];
    for (const { status, spec, vramMb: ownMib, encoderSessions: own } of this.rows.liveOf(id)) {
      if (!holding.has(status)) continue;
      slots += 1;
      mib += ownMib;
      encoders += own;
      if (ownMib !== spec.resources.vram_mb || own !== spec.resources.encoder_sessions)
        this.world.violate("ledger", `a session on ${id} has claimed something else than it asked for`);
    }
    if (slots !== connectedSandboxes)
      this.world.violate("ledger", `${id} counts ${connectedSandboxes} slots, its sessions hold ${slots}`);
    if (mib !== vramMb.claimed)
      this.world.violate("ledger", `${id} counts ${vramMb.claimed} MiB, its sessions hold ${mib}`);
    if (encoders !== encoderSessions.claimed)
      this.world.violate(
        "ledger",
        `${id} counts ${encoderSessions.claimed} encoder sessions, its sessions hold ${encoders}`,
      );
  }
}

function textOf({ status, endedAt, failure, stopReason, wolfId, lobbyId }: SessionRow): string {
  return JSON.stringify([status, endedAt, failure, stopReason, wolfId, lobbyId]);
}

const whereOf = ({ wolfId }: SessionRow) => (wolfId === null ? "" : ` on ${wolfId}`);
const whyOf = ({ failure, stopReason }: SessionRow) =>
  failure !== null ? ` (${failure.code})` : stopReason !== null ? ` (${stopReason})` : "";
