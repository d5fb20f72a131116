/** What the tests of tunnels share. */
import { expect } from "@jest/globals";
import { RevdialError, type Tunnel } from "../src/index.ts";
import type { TunnelPairOptions } from "../src/testing/index.ts";

export { until } from "./turns.ts";

export interface Pair {
  /** Dialled; in the product this is the agent. */
  left: Tunnel;
  /** Accepted; in the product this is the control plane, which sends most requests. */
  right: Tunnel;
  /** What handlers and listeners of either side threw. */
  handlerErrors: unknown[];
  stop(): Promise<void>;
}

/** Joins two tunnels; the options are for both sides unless one side has its own. */
export type Connect = (options?: TunnelPairOptions) => Promise<Pair>;

export const text = new TextEncoder();

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Resolves to the error a promise rejects with; a promise that fulfils fails the test. */
export async function failure(promise: Promise<unknown>): Promise<RevdialError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if (!("error" in outcome)) throw new Error("expected a rejection");
  expect(outcome.error).toBeInstanceOf(RevdialError);
  return outcome.error as RevdialError;
}

/** A body that gives one chunk, then waits for ever (until the reader stops). */
export async function* endless(first: string, stopped?: () => void): AsyncIterable<Uint8Array> {
  try {
    yield text.encode(first);
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      yield text.encode("…");
    }
  } finally {
    stopped?.();
  }
}

export const get = (path: string) => ({ service: "wolf", method: "GET", path });

/** A promise and the way to settle it, for events that tests wait for. */
export function signal<T = void>(): { seen: Promise<T>; give: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { seen: promise, give: resolve };
}

/** A handler that answers when its caller is gone, as a polite one does. */
export function untilAborted(abort: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const give = () => reject(abort.reason);
    if (abort.aborted) give();
    else abort.addEventListener("abort", give, { once: true });
  });
}
