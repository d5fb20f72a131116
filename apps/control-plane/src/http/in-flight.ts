/** Calls of the API that have no whole answer yet. */
import type { RequestHandler } from "express";
import { type Clock, within } from "../clock.ts";

export interface InFlight {
  count: RequestHandler;
  /** Resolves when there is none, and after `ms` at the latest. */
  none(ms: number): Promise<void>;
}

export function createInFlight(clock: Clock): InFlight {
  let calls = 0;
  const waiting = new Set<() => void>();
  return {
    count(_request, response, next) {
      calls += 1;
      response.once("close", () => {
        calls -= 1;
        if (calls > 0) return;
        for (const wake of waiting) wake();
      });
      next();
    },

    none(ms) {
      if (calls === 0) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.add(resolve);
      return within(clock, ms, promise).finally(() => waiting.delete(resolve));
    },
  };
}
