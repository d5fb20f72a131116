/** A tunnel's service as a `fetch`-like function, so that an HTTP client written for fetch works through a tunnel. */
import { checkObject, checkTunnel } from "./checks.ts";
import { beforeSending, RevdialError } from "./errors.ts";
import { type BodyInput, bodyOf, type HeaderInput, pairsOf } from "./fetch-input.ts";
import { checkService } from "./head.ts";
import type { Tunnel, TunnelRequest } from "./tunnel.ts";

export interface TunnelFetchInit {
  /** In capitals, whatever is given. Default: that of a Request, or "GET". */
  method?: string | undefined;
  /** Default: those of a Request, or none. */
  headers?: HeaderInput | undefined;
  /** Default: that of a Request, or none. */
  body?: BodyInput | undefined;
  /** Gives up (CANCELLED); null: nobody does. Default: that of a Request, or none. */
  signal?: AbortSignal | null | undefined;
  /** Milliseconds for the whole exchange; they travel with the request. Default: none. */
  deadlineMs?: number | undefined;
}

/** Can stand wherever a program wants a `typeof fetch`. */
export type TunnelFetch = (input: string | URL | Request, init?: TunnelFetchInit) => Promise<Response>;

/** Statuses whose Response may not carry a body (Fetch standard, null body status). */
const bodiless = new Set([101, 103, 204, 205, 304]);

/**
 * The URL's host is ignored: `service` says where the request goes. A redirect is an answer, and is not followed. As with fetch, what
 * `init` says wins over what a Request says. Rejects with a RevdialError; ARGUMENT when the body of a Request has been read.
 * Errors, thrown at once: ARGUMENT, HEAD_INVALID for what cannot be a service.
 */
export function tunnelFetch(tunnel: Pick<Tunnel, "request">, service: string): TunnelFetch {
  checkTunnel(tunnel, "what is asked");
  checkService(service);
  return async (input, init) => {
    // As fetch, which takes null for none.
    const request = beforeSending(() => requestOf(service, input, init ?? {}));
    const reply = await tunnel.request(request);
    const empty = bodiless.has(reply.status) || request.method === "HEAD";
    if (empty) void drain(reply.body);
    const fields = new Headers(reply.headers.map(([name, value]): [string, string] => [name, value]));
    return new Response(empty ? null : readable(reply.body), { status: reply.status, headers: fields });
  };
}

/** Error: ARGUMENT. */
function requestOf(service: string, input: string | URL | Request, init: TunnelFetchInit): TunnelRequest {
  checkObject(init);
  const given = givenRequest(input);
  const method = methodOf(init.method ?? given?.method ?? "GET");
  const headers = pairsOf(init.headers ?? given?.headers);
  const body = bodyOf(init.body ?? bodyOfRequest(given), headers);
  const { deadlineMs } = init;
  const signal = (init.signal === undefined ? given?.signal : init.signal) ?? undefined;
  const path = requestPath(given?.url ?? (input as string | URL));
  return { service, method, path, headers, body, deadlineMs, signal };
}

function methodOf(method: unknown): string {
  if (typeof method !== "string") throw new RevdialError("ARGUMENT", "the method is no text");
  return method.toUpperCase();
}

/** To its end: to leave before it would tell the handler that nobody wants an answer which is all there. */
async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const _ of body);
  } catch {
    // The head said everything.
  }
}

/** Also the Request of another undici than this process's. */
function givenRequest(input: unknown): Request | undefined {
  if (typeof input === "string" || input instanceof URL) return undefined;
  if (typeof input === "object" && input !== null && typeof (input as Request).url === "string")
    return input as Request;
  throw new RevdialError("ARGUMENT", "what is asked for is a text, a URL or a Request");
}

function bodyOfRequest(request: Request | undefined): BodyInput | undefined {
  if (request?.bodyUsed) throw new RevdialError("ARGUMENT", "the body of the request has been read");
  return request?.body;
}

/** Path and query as they were written: a URL parser would resolve `..`, and a tunnel rewrites nothing. */
function requestPath(input: string | URL): string {
  const target = input.toString().replace(/^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/, "");
  const path = target.replace(/#.*$/s, "");
  return path.startsWith("/") ? path : `/${path}`;
}

/** Pulls one chunk at a time, so that credit flows back only as the consumer reads. */
function readable(body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
