/**
 * The way in for tunnels: an upgrade is authenticated and its target looked up before any WebSocket exists; a refusal is an
 * ordinary HTTP problem on the raw socket.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { SessionId, WolfName } from "@wolfpack/api-contract";
import { Router } from "express";
import { acceptTunnel, REVDIAL_SUBPROTOCOL, type Tunnel, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { ApiError, renderProblem, toApiError } from "../http/problem.ts";
import type { Identity } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import type { TunnelGateway } from "./tunnel-gateway.ts";

const TUNNEL_PATH = "/api/v1/revdial";
/** Upgrades between arrival and answer; more are told to come back. */
const PENDING_MAX = 256;

export interface UpgradeOptions {
  identity: Identity;
  wolves: Pick<WolfStore, "getByName">;
  /** The owner of a session that has not ended. */
  ownerOf: (sessionId: string) => Promise<string | undefined>;
  gateway: Pick<TunnelGateway, "acceptWolf" | "acceptSandbox">;
  log: Log;
  draining: () => boolean;
}

type Target = { kind: "wolf"; wolf: Wolf } | { kind: "sandbox"; sessionId: string };

export function attachUpgrades(server: Server, options: UpgradeOptions): void {
  const webSockets = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  let pending = 0;
  server.on("upgrade", (request, socket, head) => {
    // A peer that vanishes during its upgrade is nobody's error.
    socket.on("error", () => socket.destroy());
    const requestId = randomUUID();
    pending += 1;
    authorise(request, pending, options)
      .then((target) => {
        webSockets.handleUpgrade(
          request,
          socket,
          head,
          (webSocket) => void accept(acceptTunnel(webSocket), target, options),
        );
      })
      .catch((cause: unknown) => {
        const error = toApiError(cause);
        options.log[error.code === "internal" ? "error" : "info"](
          { err: error, request_id: requestId, code: error.code },
          "upgrade refused",
        );
        refuse(socket, error, requestId);
      })
      .finally(() => {
        pending -= 1;
      });
  });
}

async function accept(tunnel: Tunnel, target: Target, { gateway }: UpgradeOptions): Promise<void> {
  if (target.kind === "wolf") await gateway.acceptWolf(target.wolf, tunnel);
  else await gateway.acceptSandbox(target.sessionId, tunnel);
}

async function authorise(
  request: IncomingMessage,
  pending: number,
  options: UpgradeOptions,
): Promise<Target> {
  const url = URL.canParse(request.url ?? "", "http://x")
    ? new URL(request.url ?? "", "http://x")
    : undefined;
  if (url?.pathname !== TUNNEL_PATH) throw new ApiError("not-found", "There is no WebSocket here.");
  if (options.draining()) throw new ApiError("draining", "This replica is shutting down.");
  if (pending > PENDING_MAX) throw new ApiError("draining", "Too many agents connect at once.");
  if (request.headers.origin !== undefined)
    throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
  const principal = await options.identity.authenticate(request.headers.authorization);
  if (principal === undefined)
    throw new ApiError("unauthenticated", "Send the runner token or an API key as a bearer credential.");
  const ids = url.searchParams.getAll("runnerid");
  const [, kind, id] = /^(wolf|sandbox)-(.+)$/s.exec(ids.length === 1 ? (ids[0] ?? "") : "") ?? [];
  const valid =
    kind === "wolf" ? WolfName.safeParse(id).success : kind === "sandbox" && SessionId.safeParse(id).success;
  if (!valid || id === undefined)
    throw new ApiError("runner-id-invalid", "runnerid has to be wolf-<name> or sandbox-<session id>.");
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(REVDIAL_SUBPROTOCOL)) {
    throw new ApiError(
      "tunnel-protocol-unsupported",
      `Offer the WebSocket subprotocol ${REVDIAL_SUBPROTOCOL}.`,
    );
  }
  if (kind === "wolf") {
    if (principal.kind !== "runner")
      throw new ApiError("forbidden", "A wolf's tunnel is opened with the runner token.");
    const wolf = await options.wolves.getByName(id);
    if (wolf === undefined) throw new ApiError("wolf-not-found", "No wolf of this name is registered.");
    return { kind, wolf };
  }
  if (principal.kind !== "user")
    throw new ApiError("forbidden", "A sandbox's tunnel is opened with its owner's API key.");
  const owner = await options.ownerOf(id);
  if (owner === undefined || (owner !== principal.userId && principal.role !== "admin")) {
    throw new ApiError("session-not-found", "There is no such session.");
  }
  return { kind: "sandbox", sessionId: id };
}

function refuse(socket: Duplex, error: ApiError, requestId: string): void {
  if (!socket.writable) return void socket.destroy();
  const { status, headers, body } = renderProblem(error, requestId);
  const lines = Object.entries({
    ...headers,
    "x-request-id": requestId,
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} Refused\r\n${lines.join("")}\r\n${body}`);
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
