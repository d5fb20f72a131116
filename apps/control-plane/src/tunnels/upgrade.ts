/** Tunnels over WebSockets: a refused upgrade is answered with an ordinary HTTP problem on the raw socket. */
import { randomUUID } from "node:crypto";
import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { Router } from "express";
import { acceptTunnel, REVDIAL_SUBPROTOCOL, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { checkHead } from "../http/head-check.ts";
import { ApiError, renderProblem, toApiError } from "../http/problem.ts";
import type { Log } from "../logger.ts";
import type { Admission } from "./admission.ts";

/** A refused peer that does not close its side is cut off then. */
const REFUSED_LINGER_MS = 1000;
/** 16 bytes in base64 (RFC 6455 §4.1). `ws` looks as well, but when the audit log has been told that the tunnel opens. */
const WEB_SOCKET_KEY = /^[+/0-9A-Za-z]{22}==$/;

export function attachUpgrades(
  server: Server,
  admission: Admission,
  log: Log,
  /** Throws to refuse, before anything is known of the caller. */
  onArrival: (request: IncomingMessage) => void = () => undefined,
): void {
  const webSockets = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  // What `ws` itself finds wrong with the handshake; without a listener it answers in plain text.
  webSockets.on("wsClientError", (cause, socket) => {
    refuse(socket, new ApiError("malformed-http", "The WebSocket handshake is not valid.", { cause }), log);
  });
  server.on("upgrade", (request, socket, head) => {
    // A peer that vanishes during its upgrade is nobody's error.
    socket.on("error", () => socket.destroy());
    const requestId = randomUUID();
    const admitted = async () => {
      onArrival(request);
      checkHead(request);
      return admission.admit(request, requestId, checkHandshake);
    };
    admitted()
      .then(({ tunnelOptions, takeOver }) =>
        webSockets.handleUpgrade(request, socket, head, (webSocket) =>
          takeOver(acceptTunnel(webSocket, tunnelOptions)),
        ),
      )
      .catch((cause: unknown) => refuse(socket, toApiError(cause), log, requestId));
  });
}

function checkHandshake({ method, headers }: IncomingMessage): void {
  if (method !== "GET")
    throw new ApiError("method-not-allowed", "WebSockets are opened with GET.", {
      headers: { allow: "GET" },
    });
  if (headers["sec-websocket-version"] !== "13") {
    // RFC 6455 §4.4
    throw new ApiError("upgrade-required", "WebSocket version 13 is spoken here.", {
      headers: { upgrade: "websocket", "sec-websocket-version": "13" },
    });
  }
  if (!WEB_SOCKET_KEY.test(headers["sec-websocket-key"] ?? ""))
    throw new ApiError("malformed-http", "The WebSocket handshake is not valid.");
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(REVDIAL_SUBPROTOCOL)) {
    throw new ApiError(
      "tunnel-protocol-unsupported",
      `Offer the WebSocket subprotocol ${REVDIAL_SUBPROTOCOL}.`,
    );
  }
}

function refuse(socket: Duplex, error: ApiError, log: Log, requestId: string = randomUUID()): void {
  const level = error.code === "internal" ? "error" : error.code === "database-unavailable" ? "warn" : "info";
  // The caller's own mistakes need no stack.
  const why = error.cause === undefined ? { detail: error.message } : { err: error };
  log[level]({ ...why, request_id: requestId, code: error.code }, "upgrade refused");
  if (!socket.writable) return void socket.destroy();
  const { status, headers, body } = renderProblem(error, requestId);
  const lines = Object.entries({
    ...headers,
    "x-request-id": requestId,
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const linger = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
  // What the peer still sends is read and forgotten: unread bytes would turn the answer into a connection reset.
  socket.resume();
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}\r\n${lines.join("")}\r\n${body}`);
}

/** A plain GET of the tunnel's path. */
export function upgradeRoutes(): Router {
  const router = Router();
  router.get("/revdial", () => {
    throw new ApiError("upgrade-required", "This route is a WebSocket.", {
      headers: { upgrade: "websocket" },
    });
  });
  return router;
}
