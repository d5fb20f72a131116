/** What is wrong with a WebSocket's handshake (RFC 6455 §4), whatever is spoken over it. */
import type { IncomingMessage } from "node:http";
import { ApiError } from "../http/problem.ts";

/** 16 bytes in base64 (RFC 6455 §4.1). `ws` looks as well, but when the audit log has been told that the tunnel opens. */
const WEB_SOCKET_KEY = /^[+/0-9A-Za-z]{22}==$/;

/** Throws. */
export function checkWebSocket({ method, headers }: IncomingMessage): void {
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
}
