/** The agent's exchanges with its Wolf, and when none of them changes anything: what can wait asks then. */
import type { AskWolf } from "@wolfpack/wolf-api";
import type { Target } from "./target.ts";
import { askUpstream } from "./upstream.ts";

export interface WolfLine {
  ask: AskWolf;
  /** Resolves when no change, such as the creation of a lobby, is under way; at once when the signal aborts. */
  quiet(signal: AbortSignal): Promise<void>;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;

export function wolfLine(target: Target): WolfLine {
  const changes = new Set<Promise<unknown>>();
  return {
    async ask(request) {
      const reply = askUpstream({ ...request, target, replyBytesMax: REPLY_BYTES_MAX });
      if (request.method === "GET") return reply;
      changes.add(reply);
      return reply.finally(() => changes.delete(reply));
    },
    async quiet(signal) {
      const { promise: aborted, resolve } = Promise.withResolvers<void>();
      const abort = () => resolve();
      signal.addEventListener("abort", abort, { once: true });
      while (changes.size > 0 && !signal.aborted) await Promise.race([Promise.allSettled(changes), aborted]);
      signal.removeEventListener("abort", abort);
    },
  };
}
