/** What a Wolf runs now, for those who run the fleet: our lobbies with their sessions, and those of others, which nobody here touches. */
import type { WolfLobby } from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";
import { type Lobbies, wolfProblem } from "./lobbies.ts";
import type { SessionStore } from "./session-store.ts";
import { sessionOf } from "./session-tag.ts";

/** More is not shown: a Wolf that lists thousands is not well. */
const LOBBIES_SHOWN_MAX = 500;
const CHARACTERS_SHOWN_MAX = 200;

/** Rejects with an ApiError. */
export async function wolfLobbies(
  wolfId: string,
  lobbies: Lobbies,
  store: Pick<SessionStore, "listLive">,
): Promise<WolfLobby[]> {
  const api = lobbies(wolfId);
  if (api === undefined) throw new ApiError("wolf-unreachable", "The wolf cannot be reached now.");
  const listed = await api.listLobbies().catch((error: unknown) => {
    throw wolfProblem(error);
  });
  const live = new Map((await store.listLive(wolfId)).map((session) => [session.id, session]));
  return listed.slice(0, LOBBIES_SHOWN_MAX).map((lobby) => {
    const sessionId = sessionOf(lobby) ?? null;
    const session = sessionId === null ? undefined : live.get(sessionId);
    return {
      id: shown(lobby.id),
      name: shown(lobby.name),
      session_id: sessionId,
      is_live: session !== undefined && (session.lobbyId ?? lobby.id) === lobby.id,
      viewers: lobby.connected_sessions?.length ?? 0,
      pin_required: lobby.pin_required ?? false,
    };
  });
}

/** A host's words, on one line. */
const shown = (text: string) =>
  text
    .replace(/\p{Cc}+/gu, " ")
    .slice(0, CHARACTERS_SHOWN_MAX)
    .toWellFormed();
