/** A wolf's lobbies through its tunnel; everything that can go wrong there becomes a Failure or an ApiError in one place. */
import { WolfApiError, type WolfClient, wolfClient } from "@wolfpack/wolf-api";
import { RevdialError, type RevdialErrorCode, tunnelFetch } from "revdial";
import { ApiError } from "../http/problem.ts";
import type { Links } from "../tunnels/tunnels.ts";
import type { Failure } from "./session-store.ts";

/** What sessions need of a Wolf. Everything rejects with a WolfApiError. */
export type LobbyApi = Pick<WolfClient, "listLobbies" | "createLobby" | "stopLobby">;

/** The wolf's lobbies, or undefined while no tunnel leads there. */
export type Lobbies = (wolfId: string) => LobbyApi | undefined;

export function lobbiesThrough(links: Pick<Links, "wolf">, createTimeoutMs: number): Lobbies {
  return (wolfId) => {
    const link = links.wolf(wolfId);
    return link && wolfClient({ fetch: tunnelFetch(link, "wolf"), createTimeoutMs });
  };
}

/** Wolf's words for a lobby that is gone: stopping it again has succeeded already. */
export function isUnknownLobby(error: unknown): boolean {
  return (
    error instanceof WolfApiError && error.code === "WOLF_REFUSED" && error.wolfMessage === "Invalid lobby ID"
  );
}

const failureCodes: Record<WolfApiError["code"], string> = {
  WOLF_REFUSED: "wolf-refused",
  WOLF_REPLY_BROKEN: "wolf-reply-broken",
  WOLF_TIMEOUT: "wolf-timeout",
  WOLF_UNREACHABLE: "wolf-unreachable",
};

const REASON_CHARACTERS_MAX = 500;

/** Why a sandbox did not start, in words its owner may read. */
export function failureOf(error: unknown): Failure {
  if (error instanceof WolfApiError) {
    // Wolf's words are somebody else's: one line, and nothing that PostgreSQL refuses to store.
    const reason = error.message.replace(/\p{Cc}+/gu, " ").slice(0, REASON_CHARACTERS_MAX);
    return { code: failureCodes[error.code], reason: `${reason}.` };
  }
  return { code: "internal", reason: "Unexpected failure." };
}

const problemCodes = {
  WOLF_REFUSED: ["wolf-failed", "Wolf refused to say."],
  WOLF_REPLY_BROKEN: ["wolf-failed", "Wolf's answer was broken."],
  WOLF_TIMEOUT: ["wolf-timeout", "The wolf did not answer in time."],
  WOLF_UNREACHABLE: ["wolf-unreachable", "The wolf cannot be reached now."],
} as const;

/** The error of a question to a Wolf as the API shows it. */
export function wolfProblem(error: unknown): ApiError {
  if (!(error instanceof WolfApiError))
    return new ApiError("internal", "Unexpected failure.", { cause: error });
  const [code, detail] = problemCodes[error.code];
  return new ApiError(code, detail, { cause: error });
}

/** Codes of a far end that is there and has no answer. */
const farEndFailed = new Set<RevdialErrorCode>(["HANDLER_FAILED", "SERVICE_UNKNOWN", "CHANNEL_RESET"]);

/** The error of a request to a screen service as the API shows it. */
export function screenProblem(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof RevdialError) {
    if (error.code === "DEADLINE")
      return new ApiError("wolf-timeout", "The wolf did not answer in time.", { cause: error });
    if (farEndFailed.has(error.code))
      return new ApiError("screen-failed", "The sandbox's screen service gave no answer.", { cause: error });
    return new ApiError("wolf-unreachable", "The wolf cannot be reached now.", { cause: error });
  }
  if (error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")) {
    return new ApiError("wolf-timeout", "The wolf did not answer in time.", { cause: error });
  }
  return new ApiError("internal", "Unexpected failure.", { cause: error });
}
