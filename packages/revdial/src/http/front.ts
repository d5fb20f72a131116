/**
 * Node's HTTP server in front of a dispatcher: what a gateway needs to put a tunnel (or any undici dispatcher) behind a URL.
 * Aborts travel both ways, 1xx and trailers arrive, an event stream is passed on as it comes, an upgrade is a pipe after
 * the backend's 101 and an ordinary answer otherwise.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex, Readable } from "node:stream";
import { type Bounds, checkNumbers, U32_MAX } from "../bounds.ts";
import { argument, checkCalls, checkObject } from "../checks.ts";
import { travellingHeaders } from "../head.ts";
import { asBody, type Dispatching, type DispatchingOptions } from "./dispatching.ts";
import { isUndone, pairs } from "./fields.ts";
import { Answer } from "./front-answer.ts";
import { IgnoredUpgrades, isCut, isPassedOn, UpgradeAnswer } from "./front-upgrade.ts";

export interface HttpFrontOptions {
  /**
   * Milliseconds for a whole exchange, of which an event stream is one as well; for an upgrade until its 101. Default: none, from 1 to
   * 4,294,967,295.
   */
  deadlineMs?: number;
  /** Told of what went wrong behind us. Default: nobody. */
  onError?: (error: Error, request: IncomingMessage) => void;
}

export const frontBounds: Readonly<Record<string, Bounds>> = { deadlineMs: [1, U32_MAX] };

export interface HttpFront {
  /** For `request` and for `checkContinue`: the backend decides about `Expect: 100-continue`. */
  request(request: IncomingMessage, response: ServerResponse): void;
  /**
   * For `upgrade`. One that HTTP lets a server ignore, and that no byte stream could serve (with a body, of HTTP/1.0, to one of several
   * protocols, to h2c), runs as an ordinary request through `request` above, and its connection ends with the answer. One behind
   * a request that has no whole answer yet cuts its connection.
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** Error: ARGUMENT. */
export function httpFront(dispatcher: Dispatching, options: HttpFrontOptions = {}): HttpFront {
  if (typeof dispatcher?.dispatch !== "function") throw argument("a front needs a dispatcher");
  checkObject(options);
  checkNumbers(options, frontBounds);
  checkCalls(options, "onError");
  let ignored: IgnoredUpgrades | undefined;
  const front: HttpFront = {
    request(request, response) {
      const { "content-length": length, "transfer-encoding": coding } = request.headers;
      if (coding !== undefined) {
        const status = codingRefused(request.httpVersion, coding);
        if (status !== 0) return refuse(response, status, "TRANSFER_CODING");
      }
      const path = pathOf(request.url ?? "/");
      if (path === "*" && request.method === "OPTIONS") return void response.writeHead(204).end();
      // RFC 9112 §6.3: a request without either field has no body.
      const body = coding === undefined && (length === undefined || length === "0") ? null : request;
      dispatcher.dispatch(
        dispatchOptions(request, path, body, options),
        new Answer(request, response, options),
      );
    },
    upgrade(request, socket, head) {
      // node:http has let go of the connection: an error of it would be nobody's.
      socket.on("error", () => socket.destroy());
      if (isCut(socket)) return;
      if (!isPassedOn(request)) {
        ignored ??= new IgnoredUpgrades(front.request);
        return ignored.run(request, socket, head);
      }
      const answer = new UpgradeAnswer(request, socket, head, options);
      const path = pathOf(request.url ?? "/");
      const { upgrade = "" } = request.headers;
      dispatcher.dispatch({ ...dispatchOptions(request, path, null, options), upgrade }, answer);
    },
  };
  return front;
}

function dispatchOptions(
  request: IncomingMessage,
  path: string,
  body: IncomingMessage | null,
  { deadlineMs }: HttpFrontOptions,
): DispatchingOptions {
  const { method = "GET" } = request;
  const options: DispatchingOptions = {
    path,
    method,
    headers: headersOf(request),
    body: body && chunksOf(body),
  };
  if (deadlineMs !== undefined) options.deadlineMs = deadlineMs;
  if (body !== null) options.trailers = () => pairs(body.rawTrailers);
  return options;
}

/** Who stops reading, since the answer is there, must not take the connection with it: the answer is still on it. */
function chunksOf(body: IncomingMessage): Readable {
  return asBody({ [Symbol.asyncIterator]: () => body.iterator({ destroyOnReturn: false }) });
}

const SLASH = 0x2f;

/**
 * The path as it travels: in origin form. A server takes the absolute form as well (RFC 9112 §3.2.2), whose host is not looked
 * at, like that of `Host`. What has no such form stays as it is, for the codec to refuse.
 */
function pathOf(url: string): string {
  if (url.charCodeAt(0) === SLASH) return url;
  const [whole, rest = ""] = /^https?:\/\/[^/?#]+(.*)$/i.exec(url) ?? [];
  if (whole === undefined) return url;
  return rest.charCodeAt(0) === SLASH ? rest : `/${rest}`;
}

/** Flat, as undici takes them, without what belongs to one hop. */
function headersOf({ rawHeaders }: IncomingMessage): string[] {
  const flat: string[] = [];
  for (const [name, value] of travellingHeaders(pairs(rawHeaders))) flat.push(name, value);
  return flat;
}

/** The status for a body that cannot be passed on as it is meant, 0 for others. */
function codingRefused(httpVersion: string, coding: string): number {
  if (httpVersion !== "1.1") return 400; // RFC 9112 §6.1
  return isUndone(coding) ? 0 : 501;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
  response.end(`${code}\n`);
}
