/** The HTTP server below Express: limits on headers and time, and a problem for whatever never becomes a request. */
import { randomUUID } from "node:crypto";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";
import { type ProblemCode, problemKind } from "@wolfpack/api-contract";
import { INTERNAL_PREFIX, UPGRADE_NAME } from "../replicas/internal-wire.ts";
import { checkHead } from "./head-check.ts";
import { ApiError, renderProblem, toApiError } from "./problem.ts";
import { giveRequestId, requestIdOf } from "./request-id.ts";
import type { Unread } from "./unread.ts";

export { limitConnections } from "./connection-limit.ts";

export interface ServerLimits {
  /** All header fields of a request together. Default 16 KiB; past it 431. */
  headerBytesMax: number;
  /** From the first byte to the end of the headers. Default 10 s; past it 408. */
  headersTimeoutMs: number;
  /** From the first byte to the end of the body. Default 30 s; past it 408. */
  requestTimeoutMs: number;
  /** Without a byte in either direction, also of an answer that nobody reads. Default 150 s: a new session may take 120 s. */
  silenceTimeoutMs: number;
}

const defaults: ServerLimits = {
  headerBytesMax: 16_384,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  silenceTimeoutMs: 150_000,
};
/** Longer than the usual 60 s of load balancers, which else reuse a connection that is just being closed. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

/**
 * `tell` hears of each request that is answered here and never comes to the listener. `onHead` throws to have one refused so, before
 * anything else is done for it.
 */
export function createHttpServer(
  listener: RequestListener,
  options: Partial<ServerLimits> = {},
  tell: (unread: Unread) => void = () => undefined,
  onHead: (request: IncomingMessage) => void = () => undefined,
): Server {
  const { headerBytesMax, headersTimeoutMs, requestTimeoutMs, silenceTimeoutMs } = {
    ...defaults,
    ...options,
  };
  /** The newest answer on a connection: after its head nothing else may be written there. */
  const answers = new WeakMap<Duplex, ServerResponse>();
  function refuse(request: IncomingMessage, response: ServerResponse, error: ApiError): void {
    const requestId = giveRequestId(request, response);
    tell(unreadOf(error, requestId));
    answer(response, requestId, error);
  }
  function refuseRaw(socket: Duplex, error: ApiError): void {
    const requestId = randomUUID();
    tell(unreadOf(error, requestId));
    socket.end(rawProblem(error, requestId));
  }
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: Math.min(1000, headersTimeoutMs),
      // Node's own answer to a missing Host has no body; the listener below gives it one.
      requireHostHeader: false,
      // Some clients offer `Upgrade: h2c` with ordinary requests (RFC 9110 §7.8 lets a server ignore it).
      shouldUpgradeCallback: ({ headers, url = "" }) => {
        const wanted = headers.upgrade?.toLowerCase();
        return wanted === "websocket" || (wanted === UPGRADE_NAME && url.startsWith(INTERNAL_PREFIX));
      },
    },
    (request, response) => {
      answers.set(request.socket, response);
      try {
        checkHead(request);
        onHead(request);
      } catch (error) {
        return refuse(request, response, toApiError(error));
      }
      listener(request, response);
    },
  );
  server.setTimeout(silenceTimeoutMs);
  server.on("checkExpectation", (request, response) => {
    refuse(request, response, new ApiError("malformed-http", "Expect knows 100-continue only."));
  });
  // Node hangs up on CONNECT without a word.
  server.on("connect", (_request, socket) => {
    socket.on("error", () => socket.destroy());
    refuseRaw(socket, new ApiError("malformed-http", "There is no proxy here."));
  });
  server.on("clientError", (cause: NodeJS.ErrnoException, socket) => {
    const begun = answers.get(socket);
    if (cause.code === "ECONNRESET" || !socket.writable || begun?.headersSent) return void socket.destroy();
    const error = clientProblem(cause.code);
    // It is being served, and has an id, and a line at its end.
    if (begun !== undefined) return void socket.end(rawProblem(error, requestIdOf(begun) || randomUUID()));
    // Browsers connect before they have anything to ask.
    if ("bytesRead" in socket && socket.bytesRead === 0)
      return void socket.end(rawProblem(error, randomUUID()));
    refuseRaw(socket, error);
  });
  return server;
}

const clientProblems: Record<string, [ProblemCode, string]> = {
  HPE_HEADER_OVERFLOW: ["headers-too-large", "The header fields are larger than allowed."],
  ERR_HTTP_REQUEST_TIMEOUT: ["request-timeout", "The request did not arrive in time."],
};

function clientProblem(code: string | undefined): ApiError {
  const [problem, detail] = clientProblems[code ?? ""] ?? [
    "malformed-http",
    "The request is not valid HTTP/1.1.",
  ];
  return new ApiError(problem, detail);
}

const unreadOf = ({ code }: ApiError, requestId: string): Unread => ({
  requestId,
  status: problemKind(code).status,
  code,
});

function answer(response: ServerResponse, requestId: string, error: ApiError): void {
  const { status, headers, body } = renderProblem(error, requestId);
  response
    .writeHead(status, { ...headers, "content-length": Buffer.byteLength(body), connection: "close" })
    .end(body);
}

const reasons: Record<number, string> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

function rawProblem(error: ApiError, requestId: string): string {
  const { status, headers, body } = renderProblem(error, requestId);
  const all = {
    ...headers,
    "x-request-id": requestId,
    "content-length": Buffer.byteLength(body),
    connection: "close",
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${reasons[status] ?? "Error"}\r\n${lines.join("")}\r\n${body}`;
}
