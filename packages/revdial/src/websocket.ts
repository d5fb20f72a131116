/**
 * The WebSocket transport, and the only file that knows `ws`. It dials with a bounded wait, reports a refused upgrade
 * as data, and hands whole binary messages up and down.
 */
import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { createTunnel } from "./core-tunnel.ts";
import { RevdialError } from "./errors.ts";
import { defaultLimits } from "./limits.ts";
import type { Transport, TransportEvents } from "./transport.ts";
import type { Tunnel, TunnelOptions } from "./tunnel.ts";

/** The WebSocket subprotocol both sides must name (SPEC §2). */
export const REVDIAL_SUBPROTOCOL = "revdial.v3";
const REFUSAL_BODY_BYTES_MAX = 4096;
const RETRY_AFTER_SECONDS_MAX = 86_400;

/** What the accepting `ws.WebSocketServer` must be given besides its way to listen (SPEC §2). */
export const webSocketServerOptions = {
  perMessageDeflate: false,
  maxPayload: defaultLimits.messageBytesMax,
  clientTracking: false,
  handleProtocols: (offered: Set<string>): string | false =>
    offered.has(REVDIAL_SUBPROTOCOL) ? REVDIAL_SUBPROTOCOL : false,
} as const;

class WebSocketTransport implements Transport {
  queuedBytes = 0;
  private readonly socket: WebSocket;
  private events: TransportEvents | undefined;
  /** What arrived before `start`. */
  private early: Uint8Array[] = [];
  private lost: string | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data, isBinary) => this.message(data as Buffer, isBinary));
    socket.on("error", (error) => this.closed(error.message));
    socket.on("close", (code) => this.closed(`the WebSocket was closed with code ${code}`));
  }

  start(events: TransportEvents): void {
    this.events = events;
    for (const message of this.early.splice(0)) events.message(message);
    if (this.lost !== undefined) queueMicrotask(() => events.closed(this.lost ?? ""));
  }

  private message(data: Buffer, isBinary: boolean): void {
    if (!isBinary) return this.events?.notBinary();
    if (this.events === undefined) this.early.push(data);
    else this.events.message(data);
  }

  private closed(reason: string): void {
    if (this.lost !== undefined) return;
    this.lost = reason;
    this.events?.closed(reason);
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const message = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    this.queuedBytes += message.byteLength;
    this.socket.send(message, { binary: true, compress: false }, () => {
      this.queuedBytes -= message.byteLength;
      this.events?.drain();
    });
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }

  terminate(): void {
    this.socket.terminate();
  }
}

/** Serves as the accepting side of an open WebSocket. The caller has authenticated the peer and refused any `Origin`. */
export function acceptTunnel(webSocket: WebSocket, options: TunnelOptions = {}): Tunnel {
  return createTunnel(new WebSocketTransport(webSocket), false, options);
}

export interface DialOptions extends TunnelOptions {
  /** Sent with the upgrade request, such as `authorization`. */
  headers?: Record<string, string>;
  /** Gives up dialling; a tunnel that is up is not ended by it. */
  signal?: AbortSignal;
  /** PEM certificates to trust instead of the system's. */
  ca?: string;
  /** Accept any certificate. Default false. */
  insecure?: boolean;
  /** Time for TCP, TLS, upgrade and HELLO together. Default 10,000 ms. */
  handshakeTimeoutMs?: number;
  /** Mask with a zero key where SPEC §2 allows it. Default true. */
  zeroMask?: boolean;
}

/**
 * Dials and resolves when HELLOs are exchanged. Rejects with a RevdialError: DIAL_REFUSED (`status`, `retryAfterMs`,
 * `detail`), DIAL_FAILED (network), DIAL_TIMEOUT, CANCELLED, or the protocol's own code.
 */
export async function dialTunnel(url: string | URL, options: DialOptions = {}): Promise<Tunnel> {
  const {
    headers = {},
    signal,
    ca,
    insecure = false,
    handshakeTimeoutMs = 10_000,
    zeroMask = true,
  } = options;
  if (signal?.aborted) throw new RevdialError("CANCELLED", "cancelled before dialling");
  const target = new URL(url);
  if (target.protocol !== "ws:" && target.protocol !== "wss:")
    throw new RevdialError("ARGUMENT", "the URL is neither ws: nor wss:");
  const socket = new WebSocket(target, REVDIAL_SUBPROTOCOL, {
    headers,
    perMessageDeflate: false,
    maxPayload: options.limits?.messageBytesMax ?? defaultLimits.messageBytesMax,
    followRedirects: false,
    rejectUnauthorized: !insecure,
    ...(ca === undefined ? {} : { ca }),
    // A mask protects old proxies from bytes a web page chose; inside TLS or on loopback there are none (SPEC §2).
    ...(zeroMask && mayMaskWithZero(target) ? { generateMask: (mask: Buffer) => void mask.fill(0) } : {}),
  });
  const transport = new WebSocketTransport(socket);
  return await new Promise<Tunnel>((resolve, reject) => {
    let tunnel: Tunnel | undefined;
    const give = (error: RevdialError) => {
      settle();
      if (tunnel) tunnel.destroy(error);
      else socket.terminate();
      reject(error);
    };
    const cancel = () => give(new RevdialError("CANCELLED", "cancelled while dialling"));
    const timer = setTimeout(
      () => give(new RevdialError("DIAL_TIMEOUT", `no tunnel within ${handshakeTimeoutMs} ms`)),
      handshakeTimeoutMs,
    );
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    socket.once("error", (cause) => {
      if (tunnel === undefined) give(new RevdialError("DIAL_FAILED", cause.message, { cause }));
    });
    socket.once("unexpected-response", (_request, response) => {
      void refusal(response).then(give);
    });
    socket.once("open", () => {
      tunnel = createTunnel(transport, true, options);
      tunnel.ready.then(
        () => {
          settle();
          resolve(tunnel as Tunnel);
        },
        (error: RevdialError) => give(error),
      );
    });
  });
}

function mayMaskWithZero(target: URL): boolean {
  const host = target.hostname;
  return (
    target.protocol === "wss:" ||
    host === "localhost" ||
    host === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(host)
  );
}

async function refusal(response: IncomingMessage): Promise<RevdialError> {
  const status = response.statusCode ?? 0;
  const seconds = Number(response.headers["retry-after"]);
  let detail = Buffer.alloc(0);
  try {
    for await (const chunk of response) {
      detail = Buffer.concat([detail, chunk as Buffer]);
      if (detail.byteLength >= REFUSAL_BODY_BYTES_MAX) break;
    }
  } catch {
    // A body cut short says nothing more than its status already does.
  }
  return new RevdialError("DIAL_REFUSED", `the upgrade was answered with status ${status}`, {
    status,
    detail: detail.subarray(0, REFUSAL_BODY_BYTES_MAX).toString("utf8"),
    ...(Number.isFinite(seconds) && seconds > 0
      ? { retryAfterMs: Math.min(seconds, RETRY_AFTER_SECONDS_MAX) * 1000 }
      : {}),
  });
}
