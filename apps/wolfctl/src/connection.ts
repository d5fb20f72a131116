/** The control plane as commands see it: the contract's client with a time limit on every call, a bound on every reply, and a second try where that is harmless. */
import {
  type CallInput,
  type CallOptions,
  type CallReply,
  type OperationId,
  operations,
  WolfpackApiError,
  type WolfpackClient,
  wolfpackClient,
} from "@wolfpack/api-contract";
import type { Target } from "./config/target.ts";
import type { Edges } from "./edges.ts";
import { Failed, Interrupted } from "./errors.ts";

const CALL_TIMEOUT_MS = 30_000;
/** The largest reply is a screenshot. */
const REPLY_BYTES_MAX = 64 * 1024 * 1024;
/** What is asked for by GET, or again under the same Idempotency-Key, is asked for so often. */
const TRIES_MAX = 3;
const RETRY_AFTER_MS = 1000;
/** Whoever is told to wait longer is told so instead. */
const RETRY_AFTER_MAX_MS = 15_000;

export interface CallLimits {
  /** Of each try. */
  timeoutMs?: number;
  /** Ends all tries and the waits between them, with the error that was last. */
  signal?: AbortSignal;
}

export interface Connection {
  readonly target: Target;
  readonly client: WolfpackClient;
  interrupted(): boolean;
  call<Id extends OperationId>(
    id: Id,
    input?: CallInput<Id> & CallOptions,
    options?: CallLimits,
  ): Promise<CallReply<Id>>;
  /** A request of its own, for what the client does not do: streams, headers of answers. */
  request(path: string, init: RequestInit): Promise<Response>;
}

export function connect(target: Target, apiKey: string | undefined, edges: Edges): Connection {
  let retryAfterMs = RETRY_AFTER_MS;
  const heard: typeof fetch = async (input, init) => {
    const reply = await edges.fetch(input, init);
    const told = Number(reply.headers.get("retry-after") ?? "");
    retryAfterMs = told > 0 ? told * 1000 : RETRY_AFTER_MS;
    return bounded(reply);
  };
  const client = wolfpackClient({
    baseUrl: target.url,
    fetch: heard,
    // What a control plane of a later version says is shown as it is; what is sent to it is checked all the same.
    tolerant: true,
    ...(apiKey === undefined ? {} : { apiKey }),
  });

  return {
    target,
    client,
    interrupted: () => edges.signal.aborted,
    async call(id, input, { timeoutMs = CALL_TIMEOUT_MS, signal: all } = {}) {
      const over = all === undefined ? edges.signal : AbortSignal.any([edges.signal, all]);
      for (let tries = 1; ; tries += 1) {
        const limit = edges.limit(timeoutMs);
        const signal = AbortSignal.any([over, limit]);
        try {
          // biome-ignore lint/suspicious/noExplicitAny: the input fits its operation, which the caller's types have checked
          return await client.call(id, { ...input, signal } as any);
        } catch (error) {
          if (edges.signal.aborted) throw new Interrupted();
          if (over.aborted) throw error;
          if (limit.aborted)
            throw new Failed(`${target.url.origin} has not answered within ${timeoutMs / 1000} s.`, {
              cause: error,
            });
          if (tries >= TRIES_MAX || !isWorthAnother(id, input, error) || retryAfterMs > RETRY_AFTER_MAX_MS)
            throw error;
          await edges.pause(retryAfterMs, over);
          if (edges.signal.aborted) throw new Interrupted();
          if (over.aborted) throw error;
        }
      }
    },
    request(path, init) {
      const headers = new Headers(init.headers);
      if (apiKey !== undefined) headers.set("authorization", `Bearer ${apiKey}`);
      const base = `${target.url.origin}${target.url.pathname.replace(/\/+$/, "")}`;
      return edges.fetch(`${base}${path}`, { redirect: "error", ...init, headers });
    },
  };
}

/** Nothing is done twice by it, and it may go better. A refused connection does not: somebody waits for that sentence. */
function isWorthAnother(id: OperationId, input: CallOptions | undefined, error: unknown): boolean {
  if (!(error instanceof WolfpackApiError)) return false;
  const harmless = operations[id].method === "GET" || input?.headers?.["idempotency-key"] !== undefined;
  if (error.code === "rate-limited") return true;
  if (!harmless) return false;
  return (
    ["draining", "database-unavailable", "idempotency-key-in-use"].includes(error.code) || isCutOff(error)
  );
}

const isCutOff = (error: WolfpackApiError): boolean => {
  const codes = causeCodes(error);
  return (
    error.code === "network-failed" && (codes.includes("ECONNRESET") || codes.includes("UND_ERR_SOCKET"))
  );
};

/** Codes of Node's errors, the outermost first. */
export function causeCodes(error: unknown): string[] {
  return chainOf(error).flatMap(({ code, errors }) => [
    ...(typeof code === "string" ? [code] : []),
    ...(Array.isArray(errors) ? errors.slice(0, 4).flatMap(causeCodes) : []),
  ]);
}

interface Link {
  code?: unknown;
  message?: unknown;
  errors?: unknown;
  cause?: unknown;
}

/** An error, its cause and so on; by what they have, for they may come from another realm. */
export function chainOf(error: unknown): Link[] {
  const links: Link[] = [];
  for (
    let link = error;
    links.length < 8 && typeof link === "object" && link !== null;
    link = (link as Link).cause
  )
    links.push(link);
  return links;
}

/** A body that is too long breaks off; streams of lines are read bit by bit and have no bound. */
function bounded(reply: Response): Response {
  if (reply.body === null || /ndjson|event-stream/.test(reply.headers.get("content-type") ?? ""))
    return reply;
  let bytes = 0;
  const counted = reply.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        if (bytes > REPLY_BYTES_MAX)
          controller.error(new Error(`the reply is larger than ${REPLY_BYTES_MAX / 1024 / 1024} MiB`));
        else controller.enqueue(chunk);
      },
    }),
  );
  const { status, statusText, headers } = reply;
  return new Response(counted, { status, statusText, headers });
}
