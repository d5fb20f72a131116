/** Which events somebody asks for, and which of them they may see: one pure rule, that the store says once more in SQL. */
import type { Action, ListFleetEventsQuery, Reach } from "@wolfpack/api-contract";
import { decide, reachOf } from "../identity/policy.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import type { FleetEventRecord } from "./event-store.ts";

/** Whose events of a kind: all, own ones, none. */
export type Seen = Reach | "none";

/** What is said of people and keys, only those may read who may read these. A browser's session is what a key has opened. */
const guarded = {
  user: "user.read",
  "api-key": "api-key.read",
  "web-session": "api-key.read",
  "join-token": "join-token.read",
  "agent-key": "agent-key.read",
} as const satisfies Record<string, Action>;
export type GuardedWhat = keyof typeof guarded;
/** What anybody may read of, sessions apart. Of anything else a newer replica tells, for whom is not known here: for admins only. */
export const open: readonly string[] = ["session", "queue", "placement", "wolf", "fleet"];

export interface Sight {
  userId: string;
  sessions: Reach;
  /** Of whose changes it may know who made them, and by which request. */
  authors: Reach;
  guarded: Record<GuardedWhat, Seen>;
  /** What is neither open nor guarded. */
  unknown: boolean;
}

export interface EventFilter {
  /** A kind, or the beginning of some: `session.`. */
  kind?: { is: string } | { beginsWith: string } | undefined;
  sessionId?: string | undefined;
  wolfId?: string | undefined;
  actorId?: string | undefined;
}

export interface EventView extends EventFilter {
  /** Undefined: everything. */
  sight?: Sight | undefined;
}

export function sightOf(principal: UserPrincipal): Sight {
  const seen = (action: Action): Seen =>
    decide(principal, action) === "allowed" ? reachOf(principal, action) : "none";
  return {
    userId: principal.userId,
    sessions: reachOf(principal, "event.read"),
    authors: principal.role === "admin" || principal.role === "operator" ? "any" : "own",
    guarded: {
      user: seen(guarded.user),
      "api-key": seen(guarded["api-key"]),
      "web-session": seen(guarded["web-session"]),
      "join-token": seen(guarded["join-token"]),
      "agent-key": seen(guarded["agent-key"]),
    },
    unknown: decide(principal, "audit.read") === "allowed",
  };
}

export function filterOf(
  query: Pick<ListFleetEventsQuery, "kind" | "session_id" | "wolf_instance_id" | "actor_id">,
): EventFilter {
  const { kind, session_id: sessionId, wolf_instance_id: wolfId, actor_id: actorId } = query;
  const of = kind?.endsWith(".*") ? { beginsWith: kind.slice(0, -1) } : kind && { is: kind };
  return { kind: of || undefined, sessionId, wolfId, actorId };
}

/** Who made a change, and by which request, operators and admins know, and whoever made it. */
export const knowsAuthor = (sight: Sight, { actorId }: Pick<FleetEventRecord, "actorId">): boolean =>
  sight.authors === "any" || actorId === sight.userId;

/** It would tell who made them. */
export const asksTooMuch = ({ actorId, sight }: EventView): boolean =>
  sight !== undefined && actorId !== undefined && !knowsAuthor(sight, { actorId });

type Shown = Pick<FleetEventRecord, "kind" | "sessionId" | "wolfId" | "actorId" | "ownerId">;

export function shows(view: EventView, event: Shown): boolean {
  const { kind, sessionId, wolfId, actorId, sight } = view;
  if (kind !== undefined && !("is" in kind ? event.kind === kind.is : event.kind.startsWith(kind.beginsWith)))
    return false;
  if (sessionId !== undefined && event.sessionId !== sessionId) return false;
  if (wolfId !== undefined && event.wolfId !== wolfId) return false;
  if (actorId !== undefined && event.actorId !== actorId) return false;
  return sight === undefined || (!asksTooMuch(view) && mayShow(sight, event));
}

function mayShow(sight: Sight, { kind, sessionId, ownerId }: Shown): boolean {
  const [what = ""] = kind.split(".", 1);
  const isOwn = ownerId === sight.userId;
  if (what in sight.guarded) {
    const seen = sight.guarded[what as GuardedWhat];
    return seen === "any" || (seen === "own" && isOwn);
  }
  if (!open.includes(what) && !sight.unknown) return false;
  return sessionId === null || sight.sessions === "any" || isOwn;
}
