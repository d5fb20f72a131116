/** Tunnels over WebSockets: who comes, and which protocol it speaks. A refused upgrade is answered with an ordinary HTTP problem. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { HELD_BY_FIELD, type HeldBy, heldByText } from "@wolfpack/api-contract";
import { Router } from "express";
import { acceptTunnel, REVDIAL_SUBPROTOCOL, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { checkHead } from "../http/head-check.ts";
import { ApiError, toApiError } from "../http/problem.ts";
import type { Log } from "../logger.ts";
import type { Door } from "../replicas/door.ts";
import type { Admission } from "./admission.ts";
import type { EchoUpgrades } from "./echo-upgrade.ts";
import { checkWebSocket } from "./handshake.ts";
import type { HelixUpgrades } from "./helix/helix-upgrade.ts";
import { refuse } from "./refused-upgrade.ts";

export interface UpgradeOptions {
  admission: Admission;
  log: Log;
  /** Agents of Helix. Default: nobody knows them. */
  helix?: HelixUpgrades;
  /** The control plane's check of its own public URL. Default: it makes none. */
  echo?: Pick<EchoUpgrades, "isEcho" | "open">;
  /** What replicas ask of each other. Default: nobody asks. */
  door?: Pick<Door, "isInternal" | "upgrade">;
  /** Who holds the tunnel, of how many replicas. Default: nothing is said. */
  heldBy?: () => HeldBy;
  /** Throws to refuse, before anything is known of the caller. */
  onArrival?: (request: IncomingMessage) => void;
}

export type ServeUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Returns what serves any that is not internal. */
export function attachUpgrades(server: Server, options: UpgradeOptions): ServeUpgrade {
  const { admission, log, helix, echo, heldBy, onArrival } = options;
  const webSockets = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  // What `ws` itself finds wrong with the handshake; without a listener it answers in plain text.
  webSockets.on("wsClientError", (cause, socket) => {
    refuse(socket, new ApiError("malformed-http", "The WebSocket handshake is not valid.", { cause }), log);
  });

  const held = new WeakSet<IncomingMessage>();
  webSockets.on("headers", (headers, request) => {
    if (heldBy !== undefined && held.has(request)) headers.push(`${HELD_BY_FIELD}: ${heldByText(heldBy())}`);
  });

  async function open(request: IncomingMessage, socket: Duplex, head: Buffer, requestId: string) {
    onArrival?.(request);
    checkHead(request);
    if (echo?.isEcho(request)) return echo.open(request, socket, head);
    if (helix?.isControl(request)) return helix.open(request, socket, head, requestId);
    const { tunnelOptions, takeOver } = await admission.admit(request, requestId, { check: checkHandshake });
    held.add(request);
    webSockets.handleUpgrade(request, socket, head, (webSocket) =>
      takeOver(acceptTunnel(webSocket, tunnelOptions)),
    );
  }

  server.on("upgrade", (request, socket, head) => {
    // A peer that vanishes during its upgrade is nobody's error.
    socket.on("error", () => socket.destroy());
    if (options.door?.isInternal(request)) return options.door.upgrade(request, socket, head);
    serve(request, socket, head);
  });

  function serve(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (helix?.isPickUp(request)) return helix.pickUp(request, socket, head);
    const requestId = randomUUID();
    open(request, socket, head, requestId).catch((cause: unknown) =>
      refuse(socket, toApiError(cause), log, requestId),
    );
  }
  return serve;
}

function checkHandshake(request: IncomingMessage): void {
  checkWebSocket(request);
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(REVDIAL_SUBPROTOCOL)) {
    throw new ApiError(
      "tunnel-protocol-unsupported",
      `Offer the WebSocket subprotocol ${REVDIAL_SUBPROTOCOL}.`,
    );
  }
}

/** A plain GET of the tunnel's path. */
export function upgradeRoutes(helix?: HelixUpgrades): Router {
  const router = Router();
  router.get("/revdial", (request, response) => {
    if (helix?.isStream(request)) return helix.openStream(request, response);
    throw new ApiError("upgrade-required", "This route is a WebSocket.", {
      headers: { upgrade: "websocket" },
    });
  });
  return router;
}
