/**
 * Lobbies with our tag that no session of their wolf has: what is seen of them, and which are to be stopped. One that its session
 * has left behind goes at once. Another of a live session is a Wolf that is known by two names, and is never stopped; what has
 * no live session only after a grace. What names a session that the database has never heard of is kept: a session is written before
 * its lobby is made, so the database is another one, or an older one that was restored.
 */
import type { Session } from "./session-store.ts";

export interface Stray {
  lobbyId: string;
  /** The session in its tag. */
  sessionId: string;
}

/** A live session, of whatever wolf. */
export type Owner = Pick<Session, "id" | "lobbyId" | "wolfId" | "leftWolves">;

export interface Judgement {
  /** Left behind by their session, or seen without an owner at least twice, the grace apart. */
  stop: Stray[];
  /** Seen without an owner for the first time. */
  fresh: Stray[];
  /** Of a session that there is no row of; named once. */
  unknown: Stray[];
  /** Of a session of another wolf; named once. */
  foreign: (Stray & { ownerId: string; ownerWolfId: string | null })[];
}

export class StrayLobbies {
  private readonly graceMs: number;
  /** By wolf, then by lobby: when it was first seen without an owner, or that it has one. */
  private readonly seen = new Map<string, ReadonlyMap<string, Date | "owned" | "unknown">>();

  constructor(graceMs: number) {
    this.graceMs = graceMs;
  }

  /**
   * `strays`: all of the wolf, as listed now. `owners`: the live sessions with one of their tags or ids. `recorded`: those of their tags
   * that there is a row of.
   */
  judge(
    wolfId: string,
    strays: readonly Stray[],
    { owners, recorded }: { owners: readonly Owner[]; recorded: ReadonlySet<string> },
    now: Date,
  ): Judgement {
    const before = this.seen.get(wolfId);
    const after = new Map<string, Date | "owned" | "unknown">();
    const judgement: Judgement = { stop: [], fresh: [], unknown: [], foreign: [] };
    for (const stray of strays) {
      const { lobbyId } = stray;
      const known = before?.get(lobbyId);
      if (owners.some((one) => hasLeft(one, stray, wolfId))) {
        after.set(lobbyId, now);
        judgement.stop.push(stray);
        continue;
      }
      const owner = owners.find((one) => owns(one, stray, wolfId));
      if (owner !== undefined) {
        after.set(lobbyId, "owned");
        if (known !== "owned" && owner.wolfId !== wolfId)
          judgement.foreign.push({ ...stray, ownerId: owner.id, ownerWolfId: owner.wolfId });
        continue;
      }
      if (!recorded.has(stray.sessionId)) {
        after.set(lobbyId, "unknown");
        if (known !== "unknown") judgement.unknown.push(stray);
        continue;
      }
      const since = known instanceof Date ? known : now;
      after.set(lobbyId, since);
      if (since === now) judgement.fresh.push(stray);
      else if (now.getTime() - since.getTime() >= this.graceMs) judgement.stop.push(stray);
    }
    if (after.size > 0) this.seen.set(wolfId, after);
    else this.seen.delete(wolfId);
    return judgement;
  }

  forget(wolfId: string): void {
    this.seen.delete(wolfId);
  }
}

/** The session lives on elsewhere, or waits to: this is its old copy. */
function hasLeft(owner: Owner, { lobbyId, sessionId }: Stray, wolfId: string): boolean {
  const elsewhere = owner.id === sessionId && owner.wolfId !== wolfId && owner.lobbyId !== lobbyId;
  return elsewhere && owner.leftWolves.includes(wolfId);
}

/** A session has one lobby: a second one with its tag on its own wolf is nobody's. */
function owns(owner: Owner, { lobbyId, sessionId }: Stray, wolfId: string): boolean {
  if (owner.lobbyId === lobbyId) return true;
  return owner.id === sessionId && (owner.wolfId !== wolfId || owner.lobbyId === null);
}
