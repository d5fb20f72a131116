/** Lists of sessions, the newest first, as functions of values: what belongs to one, and what an event makes of it. */
import type { Session, SessionStatus } from "@wolfpack/api-contract";
import { isLive } from "./session-words.ts";

export interface View {
  /** `live`: every status that has not ended. `any`: also what has. */
  status: SessionStatus | "live" | "any";
  owner?: string | undefined;
  wolf?: string | undefined;
}

const newestFirst = (a: Session, b: Session) => (a.id < b.id ? 1 : -1);

/** Of reads one after the other: what changed its status in between is in two of them, and the newer one is right. */
export function merged(rows: readonly Session[]): Session[] {
  const byId = new Map<string, Session>();
  for (const row of rows) {
    const other = byId.get(row.id);
    if (!other || other.updated_at <= row.updated_at) byId.set(row.id, row);
  }
  return [...byId.values()].sort(newestFirst);
}

/** Whether it belongs to what is listed. */
export function fits(session: Session, { status, owner, wolf }: View): boolean {
  if (owner && session.owner_id !== owner) return false;
  if (wolf && session.wolf_instance_id !== wolf) return false;
  if (status === "any") return true;
  if (status === "live") return isLive(session);
  return session.status === status;
}

/** The list with this session as it is now: changed, new, or gone from it. Older news than what is there change nothing. */
export function withSession(rows: readonly Session[], session: Session, view: View): readonly Session[] {
  const at = rows.findIndex(({ id }) => id === session.id);
  const before = rows[at];
  if (before && before.updated_at > session.updated_at) return rows;
  if (!fits(session, view)) return before ? rows.filter((row) => row !== before) : rows;
  if (before) return rows.with(at, session);
  const later = rows.findIndex(({ id }) => id < session.id);
  return later === -1 ? [...rows, session] : rows.toSpliced(later, 0, session);
}
