/** A tunnel's service as a `fetch`-like function, so that an HTTP client written for fetch works through a tunnel. */
import type { Body, Tunnel, TunnelRequest } from "./tunnel.ts";

export interface TunnelFetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array | null;
  signal?: AbortSignal;
  /** Time for the whole exchange in milliseconds; travels with the request. */
  deadlineMs?: number;
}

export type TunnelFetch = (input: string | URL, init?: TunnelFetchInit) => Promise<Response>;

/** Statuses whose Response may not carry a body (Fetch standard, null body status). */
const bodiless = new Set([101, 103, 204, 205, 304]);

/** The URL's host is ignored: `service` says where the request goes. Rejects with a RevdialError. */
export function tunnelFetch(tunnel: Pick<Tunnel, "request">, service: string): TunnelFetch {
  return async (input, init = {}) => {
    const method = (init.method ?? "GET").toUpperCase();
    const request: TunnelRequest = {
      service,
      method,
      path: requestPath(input),
      headers: Object.entries(init.headers ?? {}).map(
        ([name, value]) => [name.toLowerCase(), value] as const,
      ),
    };
    const body: Body | undefined =
      typeof init.body === "string" ? new TextEncoder().encode(init.body) : (init.body ?? undefined);
    if (body !== undefined) request.body = body;
    if (init.signal) request.signal = init.signal;
    if (init.deadlineMs !== undefined) request.deadlineMs = init.deadlineMs;
    const reply = await tunnel.request(request);
    const empty = bodiless.has(reply.status) || method === "HEAD";
    if (empty) await reply.body[Symbol.asyncIterator]().return?.();
    const headers = new Headers(reply.headers.map(([name, value]): [string, string] => [name, value]));
    return new Response(empty ? null : readable(reply.body), { status: reply.status, headers });
  };
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
