/**
 * What Wolf's events say of lobbies: bounded memories and one decision per event, never a write. A wolf speaks of its own
 * lobbies only, and an event ends no session by itself: it is a reason to ask Wolf, and a reason to give afterwards.
 */
import type { AgentWolfEvent } from "@wolfpack/api-contract";
import { wolfEventPrefix } from "@wolfpack/wolf-api";
import type { WolfVoice } from "../tunnels/tunnels.ts";
import type { Failure } from "./session-store.ts";

/** Container events may come before the answer that names their lobby; this many lobbies are remembered. */
const LOBBIES_KEPT_MAX = 4096;
const WOLVES_KEPT_MAX = 4096;
const LOBBY_ID_CHARACTERS_MAX = 64;

const event = (name: string) => `${wolfEventPrefix}${name}`;
const containerCreated = event("DockerContainerCreated");
const endings: Record<string, Failure> = {
  [event("DockerContainerStopped")]: {
    code: "container-ended",
    reason: "The sandbox's container ended by itself.",
  },
  [event("StopLobbyEvent")]: {
    code: "lobby-stopped",
    reason: "Wolf stopped the sandbox: it could not start, or somebody stopped it on its host.",
  },
};

export type LobbyNews =
  /** Its container runs. */
  | { news: "started"; lobbyId: string }
  /** Lobbies may be gone: Wolf has to be asked which. */
  | { news: "look" }
  | { news: "none" };

export class LobbyEvents {
  /** The last event heard of each wolf. */
  private readonly heard = new Map<string, { incarnation: bigint; seq: number }>();
  private readonly started = new Map<string, true>();
  private readonly ended = new Map<string, Failure>();

  /** Repeated events say nothing; a gap in the numbers means that some were lost. */
  hear({ wolfId, incarnation }: WolfVoice, { seq, event: name, data }: AgentWolfEvent): LobbyNews[] {
    const last = this.heard.get(wolfId);
    const sameBoot = last?.incarnation === incarnation;
    if (sameBoot && seq <= last.seq) return [];
    const gap = last !== undefined && seq !== (sameBoot ? last.seq + 1 : 1);
    keep(this.heard, wolfId, { incarnation, seq }, WOLVES_KEPT_MAX);
    const news = this.read(wolfId, name, data);
    return gap && news.news !== "look" ? [news, { news: "look" }] : [news];
  }

  hasStarted(wolfId: string, lobbyId: string): boolean {
    return this.started.has(keyOf(wolfId, lobbyId));
  }

  /** What Wolf said of the lobby's end. */
  endOf(wolfId: string, lobbyId: string): Failure | undefined {
    return this.ended.get(keyOf(wolfId, lobbyId));
  }

  private read(wolfId: string, name: string, data: AgentWolfEvent["data"]): LobbyNews {
    const lobbyId = data.session_id ?? data.lobby_id;
    if (typeof lobbyId !== "string" || lobbyId.length > LOBBY_ID_CHARACTERS_MAX) return { news: "none" };
    const key = keyOf(wolfId, lobbyId);
    if (name === containerCreated) {
      // Told twice, or late of a lobby that has ended: nothing new.
      if (this.started.has(key) || this.ended.has(key)) return { news: "none" };
      keep(this.started, key, true, LOBBIES_KEPT_MAX);
      return { news: "started", lobbyId };
    }
    const ending = Object.hasOwn(endings, name) ? endings[name] : undefined;
    if (ending === undefined) return { news: "none" };
    this.started.delete(key);
    // The first word is the cause; what follows comes of it.
    if (!this.ended.has(key)) keep(this.ended, key, ending, LOBBIES_KEPT_MAX);
    return { news: "look" };
  }
}

const keyOf = (wolfId: string, lobbyId: string) => `${wolfId} ${lobbyId}`;

/** The oldest gives way. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value, max: number): void {
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value as string);
}
