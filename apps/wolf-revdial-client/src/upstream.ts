/**
 * One HTTP exchange with a service of this host, on a connection of its own: Wolf answers one request per connection, takes no
 * chunked bodies, and dies of a wrong Content-Length. The reply is complete and bounded, or an error with a code.
 */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { ReplyTooLarge, UpstreamError, type UpstreamErrorCode } from "@wolfpack/wolf-api";
import { type Clock, systemClock } from "./clock.ts";
import type { Target } from "./target.ts";

export { UpstreamError, type UpstreamErrorCode };

export interface UpstreamRequest {
  target: Target;
  method: "GET" | "POST";
  path: string;
  /** UTF-8; sent with its exact Content-Length. */
  body?: string;
  timeoutMs: number;
  replyBytesMax: number;
  /** Of the span that this exchange is in; goes with the request. */
  traceparent?: string | undefined;
  signal?: AbortSignal;
  /** Default: the system's. */
  clock?: Clock;
}

export interface UpstreamReply {
  status: number;
  contentType: string | undefined;
  body: Buffer;
}

export function requestOptions(target: Target): RequestOptions {
  return "socketPath" in target
    ? { socketPath: target.socketPath }
    : { host: target.host, port: target.port };
}

/** Rejects with an UpstreamError. */
export function askUpstream({
  target,
  method,
  path,
  body,
  timeoutMs,
  replyBytesMax,
  traceparent,
  signal,
  clock = systemClock,
}: UpstreamRequest): Promise<UpstreamReply> {
  return new Promise((resolve, reject) => {
    let connected = false;
    const got: Got = { status: undefined };
    const payload = body === undefined ? undefined : Buffer.from(body, "utf8");
    const request = httpRequest({
      ...requestOptions(target),
      method,
      path,
      agent: false,
      headers: {
        host: "localhost",
        connection: "close",
        ...(traceparent === undefined ? {} : { traceparent }),
        ...(payload === undefined
          ? {}
          : { "content-type": "application/json", "content-length": payload.length }),
      },
      maxHeaderSize: 16 * 1024,
    });
    const finish = (settle: () => void) => {
      timer.cancel();
      signal?.removeEventListener("abort", cancel);
      settle();
      request.destroy();
    };
    const fail = (code: UpstreamErrorCode, message: string, cause?: unknown) =>
      finish(() => reject(new UpstreamError(code, message, { cause, status: got.status })));
    const cancel = () => fail("cancelled", "the caller gave up");
    const timer = clock.setTimer(timeoutMs, () =>
      fail("upstream-timeout", `no complete reply within ${timeoutMs} ms`),
    );
    request.on("socket", (socket) => socket.once("connect", () => (connected = true)));
    request.on("error", (error) =>
      connected
        ? fail("upstream-reply-broken", "the connection ended before the reply was complete", error)
        : fail(
            "upstream-unreachable",
            `nothing answers there (${(error as NodeJS.ErrnoException).code ?? "unknown"})`,
            error,
          ),
    );
    // Without a listener Node would leave a 101 unanswered until the timeout.
    request.on("upgrade", (_response, socket) => {
      socket.destroy();
      fail("upstream-reply-broken", "a switch of protocols that nobody asked for");
    });
    request.on("response", (response) => {
      collect(response, replyBytesMax, got).then(
        (bytes) =>
          finish(() =>
            resolve({
              status: response.statusCode ?? 0,
              contentType: response.headers["content-type"],
              body: bytes,
            }),
          ),
        (error: unknown) =>
          error instanceof ReplyTooLarge
            ? finish(() => reject(error))
            : fail("upstream-reply-broken", error instanceof Error ? error.message : "broken", error),
      );
    });
    if (signal?.aborted) return cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    request.end(payload);
  });
}

/** What has come so far. */
interface Got {
  /** Once a part of the body has come. */
  status: number | undefined;
}

/** Rejects what is no whole HTTP reply; a screen service runs beside a user's programs and may send anything. */
async function collect(response: IncomingMessage, bytesMax: number, got: Got): Promise<Buffer> {
  const { statusCode = 0 } = response;
  if (statusCode < 200 || statusCode > 599) throw new Error("a status that no reply has");
  if (!/^[\x20-\x7e]{0,255}$/.test(response.headers["content-type"] ?? ""))
    throw new Error("a content type that no reply has");
  const length = response.headers["content-length"];
  const announced = Number(length ?? 0);
  if (announced > bytesMax) throw new ReplyTooLarge(bytesMax, got.status);
  // Chunks and what they are joined to would be in memory together. It is large once the bytes are here, not before.
  const whole = length === undefined ? undefined : Buffer.allocUnsafeSlow(announced);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    got.status = statusCode;
    if (whole === undefined) chunks.push(chunk);
    else chunk.copy(whole, bytes);
    bytes += chunk.length;
    if (bytes > bytesMax) throw new ReplyTooLarge(bytesMax, got.status);
  }
  if (!response.complete) throw new Error("a reply shorter than announced");
  // A 204 may announce a body and has none.
  return whole?.subarray(0, bytes) ?? Buffer.concat(chunks);
}
