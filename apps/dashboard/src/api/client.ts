/**
 * How the page asks: the contract's operations by their names, with the browser's cookie. Replies are not checked by schema, since
 * both sides are of one build; what they hold is still never trusted as markup.
 */

import { CSRF_HEADER, calls } from "virtual:contract";
import type { CallInput, CallReply, OperationId } from "@wolfpack/api-contract";
import { ApiFailure, retryAfterMs } from "./failure.ts";

export { ApiFailure } from "./failure.ts";

type Listener = () => void;
const onSignedOut = new Set<Listener>();
/** Hears that the session of this browser is over; returns how to stop hearing. */
export function whenSignedOut(listener: Listener): Listener {
  onSignedOut.add(listener);
  return () => onSignedOut.delete(listener);
}

let serverAheadMs = 0;
/** The server's time as far as it is known: what it says of now, not what this machine believes. */
export const serverNow = (): number => Date.now() + serverAheadMs;

const REPLY_MS_MAX = 150_000;

export interface CallExtras {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
}

/** Rejects with an ApiFailure, or with an AbortError where its signal said so. */
export async function call<Id extends OperationId>(
  id: Id,
  input?: CallInput<Id>,
  { signal, headers = {} }: CallExtras = {},
): Promise<CallReply<Id>> {
  const { method, path, reads } = calls[id];
  const { params, query, body } = (input ?? {}) as {
    params?: Record<string, string>;
    query?: Record<string, unknown>;
    body?: unknown;
  };
  const timeout = AbortSignal.timeout(REPLY_MS_MAX);
  let reply: Response;
  try {
    reply = await fetch(addressOf(path, params, query), {
      method,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: {
        accept: "application/json, image/*, application/x-ndjson, application/problem+json",
        ...(method === "GET" ? {} : { [CSRF_HEADER]: "1" }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiFailure("network-failed", "No answer", "The control plane did not answer.");
  }
  noteServerTime(reply);
  if (!reply.ok) throw await failureOf(reply, id);
  return { status: reply.status, headers: reply.headers, body: await bodyOf(reply, reads) } as CallReply<Id>;
}

/** Parameters are escaped; a dot segment would change which route is meant and is refused. */
function addressOf(
  path: string,
  params: Record<string, string> = {},
  query: Record<string, unknown> = {},
): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = String(params[name] ?? "");
    if (/^\.{0,2}$/.test(value))
      throw new ApiFailure("invalid-request", "Invalid request", "This names nothing.");
    return encodeURIComponent(value);
  });
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  return search.size === 0 ? filled : `${filled}?${search}`;
}

async function bodyOf(reply: Response, reads: "json" | "bytes" | "stream"): Promise<unknown> {
  if (reply.status === 204) return undefined;
  if (reads === "stream") return reply.body;
  try {
    return reads === "bytes" ? new Uint8Array(await reply.arrayBuffer()) : await reply.json();
  } catch {
    throw new ApiFailure("unexpected-reply", "Broken answer", "The answer broke off.", reply.status);
  }
}

async function failureOf(reply: Response, id: OperationId): Promise<ApiFailure> {
  const problem = (await reply.json().catch(() => undefined)) as Record<string, unknown> | undefined;
  if (reply.status === 401 && id !== "createWebSession") for (const listener of onSignedOut) listener();
  const { status } = reply;
  const pause = retryAfterMs(reply.headers);
  if (typeof problem?.code !== "string")
    return new ApiFailure("unexpected-reply", "Unexpected answer", `Status ${status}.`, status, {}, pause);
  const { code, title, detail } = problem;
  return new ApiFailure(code, String(title ?? code), String(detail ?? ""), status, problem, pause);
}

/** The field is exact to a second; less than three may be that and the way here. */
function noteServerTime(reply: Response): void {
  const at = Date.parse(reply.headers.get("date") ?? "");
  if (Number.isNaN(at)) return;
  const ahead = at - Date.now();
  serverAheadMs = Math.abs(ahead) < 3000 ? 0 : ahead;
}

/** One page of a list, and the cursor of the next. */
export async function readPage<Row>(
  operation: OperationId,
  query: Record<string, string | number | undefined>,
  signal?: AbortSignal,
): Promise<{ rows: Row[]; next: string | undefined }> {
  const { body, headers } = await call(operation, { query } as never, { signal });
  return { rows: body as Row[], next: nextCursor(headers) };
}

/** The cursor of the next page, if there is one. */
export function nextCursor(headers: Headers): string | undefined {
  const link = headers.get("link") ?? "";
  const next = /<([^>]*)>;\s*rel="?next"?/.exec(link)?.[1];
  if (next === undefined) return undefined;
  return new URL(next, location.origin).searchParams.get("cursor") ?? undefined;
}
