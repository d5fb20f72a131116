/**
 * Reads anew what the cache holds. A read under way is never cut short, since one that is begun anew at each change might never end:
 * it goes on, and once more is read after it.
 */

import type { Query, QueryClient } from "@tanstack/react-query";
import { browserTimers, type PaceTimers } from "./pace.ts";

/** Between a read that was outdated when it came, and the next. */
const AGAIN_MS = 100;

export interface Reread {
  /** Those that are shown at once, others when they are. */
  read(predicate: (key: readonly unknown[]) => boolean): void;
  stop(): void;
}

export function createReread(client: QueryClient, timers: PaceTimers = browserTimers): Reread {
  const cache = client.getQueryCache();
  const again = new Set<string>();
  const cancels = new Map<string, () => void>();

  function readQuery({ queryKey, queryHash, state }: Query): void {
    if (state.fetchStatus !== "idle") again.add(queryHash);
    void client.invalidateQueries({ queryKey, exact: true }, { cancelRefetch: false });
  }

  const unsubscribe = cache.subscribe(({ type, query }) => {
    const { queryHash } = query;
    if (type === "removed") again.delete(queryHash);
    if (type !== "updated" || query.state.fetchStatus !== "idle" || !again.delete(queryHash)) return;
    const run = () => {
      cancels.delete(queryHash);
      const now = cache.get(queryHash);
      if (now) readQuery(now);
    };
    cancels.get(queryHash)?.();
    cancels.set(queryHash, timers.after(AGAIN_MS, run));
  });

  return {
    read(predicate) {
      for (const query of cache.findAll({ predicate: ({ queryKey }) => predicate(queryKey) }))
        readQuery(query);
    },
    stop() {
      unsubscribe();
      for (const cancel of cancels.values()) cancel();
      cancels.clear();
      again.clear();
    },
  };
}
