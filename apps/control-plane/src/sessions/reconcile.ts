/**
 * What Wolf really runs against what PostgreSQL expects there: a pure decision. Adopt what matches, fail what vanished, name
 * what no session of this wolf has; lobbies without our tag belong to somebody else and are never touched.
 */
import type { Lobby } from "@wolfpack/wolf-api";
import type { Failure, Session } from "./session-store.ts";
import { sessionOf } from "./session-tag.ts";
import type { Stray } from "./stray-lobbies.ts";

export type ReconcileAction =
  | { action: "adopt"; sessionId: string; lobbyId: string }
  | { action: "running"; sessionId: string; lobbyId: string }
  /** Nobody works on its start any more, and there is no lobby: it begins anew. */
  | { action: "restart"; session: Session }
  | { action: "fail"; session: Session; failure: Failure }
  /** `tag`: the session in its name. */
  | { action: "stopLobby"; lobbyId: string; tag: string; thenEnd?: string }
  | { action: "ended"; session: Session };

export interface ReconcileInput {
  /** The wolf's sessions that have not ended, read after the list of lobbies. */
  sessions: readonly Session[];
  lobbies: readonly Lobby[];
  /** When the list was asked for: a session that changed later may be missing in it. */
  listedAt: Date;
  now: Date;
  /** A lobby that is still listed this long after its creation counts as running. */
  settleMs: number;
  /** Sessions whose lobby this process is creating at the moment. */
  creating: Pick<ReadonlyMap<string, unknown>, "has">;
  /** What Wolf said of the end of a lobby that is gone. */
  endOf?: (lobbyId: string) => Failure | undefined;
}

const vanished: Failure = {
  code: "lobby-vanished",
  reason: "Wolf no longer runs the sandbox: its container ended, or Wolf was restarted.",
};
/** Of a start that neither its process nor its wolf has ended in time. */
export const startTimeout: Failure = {
  code: "start-timeout",
  reason: "The sandbox was not created in time.",
};

export function reconcile(input: ReconcileInput): { actions: ReconcileAction[]; strays: Stray[] } {
  const { sessions, lobbies, creating } = input;
  const byId = new Map(lobbies.map((lobby) => [lobby.id, lobby]));
  const byTag = new Map(
    lobbies.flatMap((lobby) => (sessionOf(lobby) === undefined ? [] : [[sessionOf(lobby), lobby] as const])),
  );
  const owned = new Set<string>();
  const actions: ReconcileAction[] = [];
  for (const session of sessions) {
    // A second lobby with its tag is not its own: it would be taken for the one that is gone.
    const lobby = session.lobbyId === null ? byTag.get(session.id) : byId.get(session.lobbyId);
    if (lobby) owned.add(lobby.id);
    if (!creating.has(session.id)) actions.push(...decide(session, lobby, input));
  }
  const strays = lobbies.flatMap((lobby): Stray[] => {
    const tag = sessionOf(lobby);
    const ours = tag !== undefined && !owned.has(lobby.id) && !creating.has(tag);
    return ours ? [{ lobbyId: lobby.id, sessionId: tag }] : [];
  });
  return { actions, strays };
}

function decide(
  session: Session,
  lobby: Lobby | undefined,
  { listedAt, now, settleMs, endOf }: ReconcileInput,
): ReconcileAction[] {
  const { id: sessionId, statusSince } = session;
  // What changed after the list was asked for may be missing in it.
  const listHasIt = statusSince < listedAt;
  const locked = session.lockExpiresAt !== null && session.lockExpiresAt > now;
  const failure = (session.lobbyId === null ? undefined : endOf?.(session.lobbyId)) ?? vanished;
  switch (session.status) {
    case "placed":
      if (locked) return [];
      if (lobby) return [{ action: "adopt", sessionId, lobbyId: lobby.id }];
      return listHasIt ? [{ action: "restart", session }] : [];
    case "starting": {
      const settled = now.getTime() - statusSince.getTime() >= settleMs;
      if (lobby) return settled ? [{ action: "running", sessionId, lobbyId: lobby.id }] : [];
      return listHasIt ? [{ action: "fail", session, failure }] : [];
    }
    case "running":
      return lobby || !listHasIt ? [] : [{ action: "fail", session, failure }];
    case "lost":
      if (lobby) return [{ action: "running", sessionId, lobbyId: lobby.id }];
      return listHasIt ? [{ action: "fail", session, failure }] : [];
    case "stopping":
      if (lobby) return [{ action: "stopLobby", lobbyId: lobby.id, tag: sessionId, thenEnd: sessionId }];
      // Its creation may still be under way.
      return listHasIt && !locked ? [{ action: "ended", session }] : [];
    default:
      return [];
  }
}
