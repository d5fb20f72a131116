/**
 * Whether Wolf can be reached, known from what was last asked of it. Who asks more often than every few seconds gets the answer of
 * before: a Wolf with few threads is not to spend them on connections that ask nothing.
 */
import { connect } from "node:net";
import type { AgentHeartbeat } from "@wolfpack/api-contract";
import { type AskWolf, UpstreamError } from "@wolfpack/wolf-api";
import type { Clock } from "./clock.ts";
import type { Target } from "./target.ts";

export interface LocalCheckOptions {
  wolf: Target;
  ask: AskWolf;
  clock: Clock;
  /** Told after every exchange and every look. */
  onFound: (found: AgentHeartbeat["wolf"]) => void;
}

export interface LocalCheck {
  /** As the one it was given; what becomes of each exchange is remembered. */
  ask: AskWolf;
  /** Rejects with a sentence for the control plane when Wolf takes no connections. */
  check(): Promise<void>;
}

/** So long an answer counts. */
const FRESH_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;

export function localCheck({ wolf, ask, clock, onFound }: LocalCheckOptions): LocalCheck {
  let reachedAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;
  const reached = () => {
    reachedAt = clock.now();
    onFound("ok");
  };
  const lost = () => {
    reachedAt = Number.NEGATIVE_INFINITY;
    onFound("unreachable");
  };
  return {
    async ask(request) {
      try {
        const reply = await ask(request);
        reached();
        return reply;
      } catch (error) {
        const code = error instanceof UpstreamError ? error.code : undefined;
        if (code === "upstream-unreachable") lost();
        else if (code === "upstream-timeout") onFound("slow");
        throw error;
      }
    },
    async check() {
      if (clock.now() - reachedAt < FRESH_MS) return;
      looking ??= look(wolf, clock)
        .then(reached, (error: unknown) => {
          lost();
          throw error;
        })
        .finally(() => {
          looking = undefined;
        });
      return looking;
    },
  };
}

/** A connection that is closed as soon as it is there. */
function look(wolf: Target, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect("socketPath" in wolf ? { path: wolf.socketPath } : wolf);
    const settle = (why: string | undefined) => {
      timer.cancel();
      socket.destroy();
      if (why === undefined) resolve();
      else reject(new Error(`Wolf takes no connections (${why})`));
    };
    const timer = clock.setTimer(CONNECT_TIMEOUT_MS, () => settle("timeout"));
    socket.once("connect", () => settle(undefined));
    socket.on("error", (error: NodeJS.ErrnoException) => settle(error.code ?? "unknown"));
  });
}
