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
  | { action: "running"; sessionId: string }
  | { action: "fail"; sessionId: string; failure: Failure }
  | { action: "stopLobby"; lobbyId: string; thenEnd?: string }
  | { action: "ended"; sessionId: string };

export interface ReconcileInput {
  /** The wolf's sessions that have not ended, read after the list of lobbies. */
  sessions: readonly Session[];
  lobbies: readonly Lobby[];
  /** When the list was asked for: a session that changed later may be missing in it. */
  listedAt: Date;
  now: Date;
  /** A lobby that is still listed this long after its creation counts as running. */
  settleMs: number;
  startTimeoutMs: number;
  /** Sessions whose lobby this process is creating at the moment. */
  creating: ReadonlySet<string>;
  /** What Wolf said of the end of a lobby that is gone. */
  endOf?: (lobbyId: string) => Failure | undefined;
}

const vanished: Failure = {
  code: "lobby-vanished",
  reason: "Wolf no longer runs the sandbox: its container ended, or Wolf was restarted.",
};
/** Also for a start whose wolf never comes back. */
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
    const lobby = (session.lobbyId === null ? undefined : byId.get(session.lobbyId)) ?? byTag.get(session.id);
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
  { listedAt, now, settleMs, startTimeoutMs, endOf }: ReconcileInput,
): ReconcileAction[] {
  const unchangedSinceListed = session.updatedAt < listedAt;
  const gone = (session.lobbyId === null ? undefined : endOf?.(session.lobbyId)) ?? vanished;
  const age = now.getTime() - session.updatedAt.getTime();
  switch (session.status) {
    case "placed":
      if (lobby) return [{ action: "adopt", sessionId: session.id, lobbyId: lobby.id }];
      return age >= startTimeoutMs ? [{ action: "fail", sessionId: session.id, failure: startTimeout }] : [];
    case "starting":
      if (lobby) return age >= settleMs ? [{ action: "running", sessionId: session.id }] : [];
      return unchangedSinceListed ? [{ action: "fail", sessionId: session.id, failure: gone }] : [];
    case "running":
    case "lost":
      if (lobby) return session.status === "lost" ? [{ action: "running", sessionId: session.id }] : [];
      return unchangedSinceListed ? [{ action: "fail", sessionId: session.id, failure: gone }] : [];
    case "stopping":
      if (lobby) return [{ action: "stopLobby", lobbyId: lobby.id, thenEnd: session.id }];
      return unchangedSinceListed ? [{ action: "ended", sessionId: session.id }] : [];
    default:
      return [];
  }
}
