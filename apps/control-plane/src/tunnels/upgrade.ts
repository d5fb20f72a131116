/**
 * The way in for tunnels: an upgrade is authenticated and its target looked up before any WebSocket exists; a refusal is an
 * ordinary HTTP problem on the raw socket.
 */
import { randomUUID } from "node:crypto";
import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { SessionId, WolfName } from "@wolfpack/api-contract";
import { Router } from "express";
import { acceptTunnel, REVDIAL_SUBPROTOCOL, webSocketServerOptions } from "revdial";
import { type WebSocket, WebSocketServer } from "ws";
import { ApiError, renderProblem, toApiError } from "../http/problem.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import type { TunnelGateway } from "./tunnel-gateway.ts";

const TUNNEL_PATH = "/api/v1/revdial";
/** Upgrades between arrival and answer; more are told to come back. */
const PENDING_MAX = 256;
/** A refused peer that does not close its side is cut off then. */
const REFUSED_LINGER_MS = 1000;
const AGENT = "wolfpack-control-plane";

export interface UpgradeOptions {
  identity: Identity;
  wolves: Pick<WolfStore, "getByName">;
  /** The owner of a session that has not ended. */
  ownerOf: (sessionId: string) => Promise<string | undefined>;
  gateway: Pick<TunnelGateway, "acceptWolf" | "acceptSandbox">;
  log: Log;
  draining: () => boolean;
  /** Upgrades between arrival and answer. Default 256; past it 503. */
  pendingMax?: number;
}

type Target = { kind: "wolf"; wolf: Wolf } | { kind: "sandbox"; sessionId: string };

export function attachUpgrades(server: Server, options: UpgradeOptions): void {
  const { log, pendingMax = PENDING_MAX } = options;
  const webSockets = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  // What `ws` itself finds wrong with the handshake; without a listener it answers in plain text.
  webSockets.on("wsClientError", (cause, socket) => {
    refuse(socket, new ApiError("malformed-http", "The WebSocket handshake is not valid.", { cause }), log);
  });
  let pending = 0;
  server.on("upgrade", (request, socket, head) => {
    // A peer that vanishes during its upgrade is nobody's error.
    socket.on("error", () => socket.destroy());
    pending += 1;
    authorise(request, pending > pendingMax, options)
      .then((target) =>
        webSockets.handleUpgrade(request, socket, head, (webSocket) => accept(webSocket, target, options)),
      )
      .catch((cause: unknown) => refuse(socket, toApiError(cause), log))
      .finally(() => {
        pending -= 1;
      });
  });
}

/** The gateway's accept functions never reject. */
function accept(webSocket: WebSocket, target: Target, { gateway, log }: UpgradeOptions): void {
  const tunnel = acceptTunnel(webSocket, {
    agent: AGENT,
    onHandlerError: (err) => log.error({ err }, "a tunnel's handler failed"),
  });
  if (target.kind === "wolf") void gateway.acceptWolf(target.wolf, tunnel);
  else void gateway.acceptSandbox(target.sessionId, tunnel);
}

/** Cheap checks first; nothing about wolves or sessions is said before the caller is known. */
async function authorise(request: IncomingMessage, full: boolean, options: UpgradeOptions): Promise<Target> {
  const url = URL.parse(request.url ?? "", "http://control-plane");
  if (url?.pathname !== TUNNEL_PATH) throw new ApiError("not-found", "There is no WebSocket here.");
  if (options.draining()) throw new ApiError("draining", "This replica is shutting down.");
  if (full) throw new ApiError("draining", "Too many agents connect at once.");
  if (request.headers.origin !== undefined)
    throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
  const principal = await options.identity.authenticate(request.headers.authorization);
  if (principal === undefined)
    throw new ApiError("unauthenticated", "Send the runner token or an API key as a bearer credential.");
  checkHandshake(request);
  const { kind, id } = readRunnerId(url.searchParams);
  return kind === "wolf"
    ? { kind, wolf: await wolfOf(id, principal, options) }
    : { kind, sessionId: await sandboxOf(id, principal, options) };
}

function checkHandshake({ method, headers }: IncomingMessage): void {
  if (method !== "GET")
    throw new ApiError("method-not-allowed", "Tunnels are opened with GET.", { headers: { allow: "GET" } });
  if (headers["sec-websocket-version"] !== "13") {
    // RFC 6455 §4.4
    throw new ApiError("upgrade-required", "WebSocket version 13 is spoken here.", {
      headers: { upgrade: "websocket", "sec-websocket-version": "13" },
    });
  }
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(REVDIAL_SUBPROTOCOL)) {
    throw new ApiError(
      "tunnel-protocol-unsupported",
      `Offer the WebSocket subprotocol ${REVDIAL_SUBPROTOCOL}.`,
    );
  }
}

function readRunnerId(query: URLSearchParams): { kind: "wolf" | "sandbox"; id: string } {
  for (const name of query.keys()) {
    if (name === "runnerid") continue;
    throw new ApiError("invalid-request", "The only query parameter is runnerid.", {
      extras: { errors: [{ path: "query", message: "unknown parameter" }] },
    });
  }
  const ids = query.getAll("runnerid");
  const [, kind, id = ""] = /^(wolf|sandbox)-(.+)$/s.exec(ids.length === 1 ? (ids[0] ?? "") : "") ?? [];
  if (kind === "wolf" && WolfName.safeParse(id).success) return { kind, id };
  if (kind === "sandbox" && SessionId.safeParse(id).success) return { kind, id };
  throw new ApiError("runner-id-invalid", "runnerid has to be wolf-<name> or sandbox-<session id>.");
}

async function wolfOf(name: string, principal: Principal, { wolves }: UpgradeOptions): Promise<Wolf> {
  if (principal.kind !== "runner")
    throw new ApiError("forbidden", "A wolf's tunnel is opened with the runner token.");
  const wolf = await wolves.getByName(name);
  if (wolf === undefined) throw new ApiError("wolf-not-found", "No wolf of this name is registered.");
  return wolf;
}

/** A foreign session reads like one that does not exist. */
async function sandboxOf(id: string, principal: Principal, { ownerOf }: UpgradeOptions): Promise<string> {
  if (principal.kind !== "user")
    throw new ApiError("forbidden", "A sandbox's tunnel is opened with its owner's API key.");
  const owner = await ownerOf(id);
  if (owner === undefined || (owner !== principal.userId && principal.role !== "admin"))
    throw new ApiError("session-not-found", "There is no such session.");
  return id;
}

function refuse(socket: Duplex, error: ApiError, log: Log): void {
  const requestId = randomUUID();
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
