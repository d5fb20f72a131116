/**
 * The other end of the control plane's own check of its public URL: on the path of tunnels, a WebSocket that says one message back. It
 * takes whoever shows what a replica with the same secret has issued within the last minute, and leads nowhere.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import type { Challenges } from "../identity/challenge.ts";
import { TUNNEL_PATH } from "./admission.ts";
import { checkWebSocket } from "./handshake.ts";

export const ECHO_SUBPROTOCOL = "wolfpack.echo";
/** Not in the URL: proxies write those into their logs. */
export const ECHO_HEADER = "x-wolfpack-echo";
/** For `createChallenges`. */
export const ECHO_PURPOSE = "websocket echo v1";
export const ECHO_BYTES_MAX = 64;
const LIFE_MS = 10_000;
const AT_ONCE_MAX = 16;

export interface EchoUpgrades {
  isEcho(request: IncomingMessage): boolean;
  /** Throws the problem that refuses it. */
  open(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends those that are open. */
  close(): void;
}

export function createEchoUpgrades({
  challenges,
  clock,
}: {
  challenges: Pick<Challenges, "read">;
  clock: Clock;
}): EchoUpgrades {
  const open = new Set<WebSocket>();
  const webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: ECHO_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => ECHO_SUBPROTOCOL,
  });

  function echo(webSocket: WebSocket): void {
    open.add(webSocket);
    const late = clock.setTimer(LIFE_MS, () => webSocket.terminate());
    webSocket.on("error", () => webSocket.terminate());
    webSocket.once("message", (data, binary) => {
      webSocket.send(data, { binary });
      webSocket.close(1000);
    });
    webSocket.on("close", () => {
      late.cancel();
      open.delete(webSocket);
    });
  }

  return {
    isEcho: ({ headers }) =>
      (headers["sec-websocket-protocol"] ?? "").split(",").some((name) => name.trim() === ECHO_SUBPROTOCOL),

    open(request, socket, head) {
      const path = URL.parse(request.url ?? "", "http://control-plane")?.pathname;
      if (path !== TUNNEL_PATH) throw new ApiError("not-found", "There is no WebSocket here.");
      checkWebSocket(request);
      const shown = request.headers[ECHO_HEADER];
      if (typeof shown !== "string" || challenges.read(shown, clock.now()) === undefined)
        throw new ApiError("unauthenticated", "The echo is for the control plane itself.");
      if (open.size >= AT_ONCE_MAX) throw new ApiError("rate-limited", "Too many echoes are open.");
      webSockets.handleUpgrade(request, socket, head, echo);
    },

    close() {
      for (const webSocket of open) webSocket.terminate();
    },
  };
}
