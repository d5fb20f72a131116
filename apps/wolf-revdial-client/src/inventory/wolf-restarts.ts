/** Tells that the Wolf process is another than before, from the outside: its socket is a new one, or all its lobbies are gone after a silence. */
import { statSync } from "node:fs";
import type { AgentHeartbeat } from "@wolfpack/api-contract";
import type { Target } from "../target.ts";

/** A restart counts as recent for this long: sessions on it are being found to be gone. */
export const RESTART_RECENT_MS = 5 * 60_000;

export interface WolfSeen {
  /** Milliseconds that never go back. */
  at: number;
  answers: boolean;
  /** What identifies the socket file; undefined over TCP. */
  socket: string | undefined;
  /** Ids in the list of lobbies, when it was answered. */
  lobbies: readonly string[] | undefined;
}

export function restartWatch() {
  let socket: string | undefined;
  let lobbies: readonly string[] | undefined;
  let silent = false;
  let count = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  return {
    /** Only a Wolf that answers says something: a socket alone may belong to one that is just starting. */
    see(seen: WolfSeen): void {
      if (!seen.answers) {
        silent = true;
        return;
      }
      const otherSocket = socket !== undefined && seen.socket !== undefined && seen.socket !== socket;
      // Users may stop all lobbies at once; after a silence, that none of them is left is no coincidence.
      const emptied =
        silent &&
        seen.socket === undefined &&
        lobbies !== undefined &&
        lobbies.length > 0 &&
        seen.lobbies !== undefined &&
        !lobbies.some((id) => seen.lobbies?.includes(id));
      if (otherSocket || emptied) {
        count += 1;
        lastAt = seen.at;
      }
      silent = false;
      socket = seen.socket ?? socket;
      lobbies = seen.lobbies ?? lobbies;
    },
    restarts: (now: number): NonNullable<AgentHeartbeat["restarts"]> => ({
      count,
      recent: now - lastAt < RESTART_RECENT_MS,
    }),
  };
}

/** Inode and time of birth: an inode alone may be given out again at once. */
export function socketIdentity(target: Target): string | undefined {
  if (!("socketPath" in target)) return undefined;
  try {
    const { dev, ino, birthtimeNs } = statSync(target.socketPath, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch {
    return undefined;
  }
}
