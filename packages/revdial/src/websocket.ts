/**
 * The WebSocket transport, and the only file that knows `ws`. It dials with a bounded wait, reports a refused upgrade
 * as data, and hands whole binary messages up and down.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { systemClock } from "./clock.ts";
import { createTunnel } from "./core-tunnel.ts";
import { RevdialError } from "./errors.ts";
import { defaultLimits } from "./limits.ts";
import type { Transport, TransportEvents } from "./transport.ts";
import type { RequestHandler, Tunnel, TunnelOptions } from "./tunnel.ts";

/** The WebSocket subprotocol both sides must name (SPEC §2). */
export const REVDIAL_SUBPROTOCOL = "revdial.v3";
const REFUSAL_BODY_BYTES_MAX = 4096;
/** From here on a fragment of its own costs less than copying its bytes. */
const FRAGMENT_BYTES_MIN = 8 * 1024;
const RETRY_AFTER_MS_MAX = 86_400_000;

/**
 * What the accepting `ws.WebSocketServer` must be given besides its way to listen (SPEC §2). With other limits of
 * `messageBytesMax`, set `maxPayload` to the same number.
 */
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
  private lost = false;
  private gathering = false;

  constructor(socket: WebSocket) {
    this.socket = socket;
  }

  start(events: TransportEvents): void {
    this.events = events;
    const { socket } = this;
    // As they came: putting fragments together would copy bodies that their sender did not copy.
    socket.binaryType = "fragments";
    socket.on("message", (data, isBinary) => {
      if (isBinary) events.message(data as Buffer[]);
      else events.foreign("MESSAGE_NOT_BINARY", "a message is not binary");
    });
    socket.on("error", (error) => this.closed(error.message));
    socket.on("close", (code) => this.closed(`the WebSocket was closed with code ${code}`));
    if (socket.readyState === WebSocket.CLOSED) queueMicrotask(() => this.closed("the WebSocket was closed"));
    // A server that chose no subprotocol lets a peer in that may speak anything.
    else if (socket.protocol !== REVDIAL_SUBPROTOCOL) {
      events.foreign("PROTOCOL_VERSION", `the WebSocket's subprotocol is not ${REVDIAL_SUBPROTOCOL}`);
    }
  }

  /** An error is always followed by a close; whichever comes first is the reason. */
  private closed(reason: string): void {
    if (this.lost) return;
    this.lost = true;
    this.events?.closed(reason);
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const fragments = fragmentsOf(parts);
    let bytes = 0;
    for (const fragment of fragments) bytes += fragment.byteLength;
    this.queuedBytes += bytes;
    this.gather();
    const last = fragments.length - 1;
    for (let i = 0; i < last; i += 1)
      this.socket.send(fragments[i] as Uint8Array, { binary: true, fin: false });
    this.socket.send(fragments[last] as Uint8Array, { binary: true }, () => {
      this.queuedBytes -= bytes;
      this.events?.drain();
    });
  }

  /**
   * What is sent in one turn leaves in one system call: each wakes the receiver, which costs more than the bytes. `ws`
   * has kept its socket under this name since its first version; without it there are only more calls.
   */
  private gather(): void {
    const raw = (this.socket as unknown as { _socket?: Duplex })._socket;
    if (this.gathering || !raw) return;
    this.gathering = true;
    raw.cork();
    process.nextTick(() => {
      this.gathering = false;
      raw.uncork();
    });
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }

  terminate(): void {
    this.socket.terminate();
  }
}

/** Small parts share a fragment; a large one is a fragment of its own, sent as it is. */
function fragmentsOf(parts: readonly Uint8Array[]): Uint8Array[] {
  if (parts.length === 1) return [parts[0] as Uint8Array];
  const fragments: Uint8Array[] = [];
  let begin = 0;
  for (const [index, part] of parts.entries()) {
    if (part.byteLength < FRAGMENT_BYTES_MIN) continue;
    if (index > begin) fragments.push(Buffer.concat(parts.slice(begin, index)));
    fragments.push(part);
    begin = index + 1;
  }
  if (begin < parts.length) fragments.push(Buffer.concat(parts.slice(begin)));
  return fragments;
}

/**
 * Serves as the accepting side of an open WebSocket. The caller has authenticated the peer and refused any `Origin`. Never
 * throws for what the peer did: a wrong subprotocol ends the tunnel with PROTOCOL_VERSION.
 */
export function acceptTunnel(webSocket: WebSocket, options: TunnelOptions = {}): Tunnel {
  return createTunnel(new WebSocketTransport(webSocket), false, options);
}

export interface DialOptions extends TunnelOptions {
  /** Serves from the first moment: requests may come in the same bytes as the peer's HELLO, before the dialler is told. */
  handler?: RequestHandler;
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
  /** Mask with a zero key. Default: where SPEC §2.3 allows it, inside TLS and on loopback. */
  zeroMask?: boolean;
}

/**
 * Dials and resolves when HELLOs are exchanged. Rejects with a RevdialError: DIAL_REFUSED (`status`, `retryAfterMs`,
 * `detail`), DIAL_FAILED (network), DIAL_TIMEOUT, CANCELLED, ARGUMENT, or the protocol's own code.
 */
export async function dialTunnel(url: string | URL, options: DialOptions = {}): Promise<Tunnel> {
  const { signal, handshakeTimeoutMs = 10_000, clock = systemClock } = options;
  const target = parseTarget(url);
  if (signal?.aborted)
    throw new RevdialError("CANCELLED", "cancelled before dialling", { cause: signal.reason });
  const socket = openSocket(target, options);
  const outcome = Promise.withResolvers<Tunnel>();
  const fail = (error: RevdialError) => outcome.reject(error);
  const cancel = () =>
    fail(new RevdialError("CANCELLED", "cancelled while dialling", { cause: signal?.reason }));
  signal?.addEventListener("abort", cancel, { once: true });
  const timer = clock.setTimer(handshakeTimeoutMs, () =>
    fail(new RevdialError("DIAL_TIMEOUT", `no tunnel within ${handshakeTimeoutMs} ms`)),
  );
  let tunnel: Tunnel | undefined;
  socket.on("error", (cause) => {
    if (tunnel === undefined) fail(new RevdialError("DIAL_FAILED", networkReason(cause), { cause }));
  });
  socket.once("unexpected-response", (_request, response) => void refusal(response).then(fail));
  socket.once("open", () => {
    tunnel = createTunnel(new WebSocketTransport(socket), true, options);
    const opened = tunnel;
    if (options.handler) opened.serve(options.handler);
    opened.ready.then(() => outcome.resolve(opened), fail);
  });
  try {
    return await outcome.promise;
  } catch (error) {
    tunnel?.destroy();
    socket.terminate();
    throw error;
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", cancel);
  }
}

function parseTarget(url: string | URL): URL {
  const target = URL.canParse(url.toString()) ? new URL(url) : undefined;
  if (target?.protocol === "ws:" || target?.protocol === "wss:") return target;
  throw new RevdialError("ARGUMENT", "the URL is neither ws: nor wss:");
}

function openSocket(target: URL, options: DialOptions): WebSocket {
  const { headers = {}, ca, insecure = false, zeroMask = mayMaskWithZero(target) } = options;
  try {
    return new WebSocket(target, REVDIAL_SUBPROTOCOL, {
      headers,
      perMessageDeflate: false,
      maxPayload: options.limits?.messageBytesMax ?? defaultLimits.messageBytesMax,
      followRedirects: false,
      rejectUnauthorized: !insecure,
      ...(ca === undefined ? {} : { ca }),
      ...(zeroMask ? { generateMask: (mask: Buffer) => void mask.fill(0) } : {}),
    });
  } catch (cause) {
    throw new RevdialError("ARGUMENT", "the URL or a header cannot be used for a WebSocket", { cause });
  }
}

/** A mask protects old proxies from bytes a web page chose; inside TLS or on loopback there is no such proxy (SPEC §2.3). */
function mayMaskWithZero(target: URL): boolean {
  const host = target.hostname;
  return (
    target.protocol === "wss:" ||
    host === "localhost" ||
    host === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(host)
  );
}

/** Node's error for several addresses tried has no message of its own. */
function networkReason(cause: Error): string {
  if (cause instanceof AggregateError && cause.message === "") {
    return cause.errors.map((error) => (error instanceof Error ? error.message : String(error))).join("; ");
  }
  return cause.message;
}

async function refusal(response: IncomingMessage): Promise<RevdialError> {
  const status = response.statusCode ?? 0;
  const retryAfterMs = readRetryAfter(response);
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
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** RFC 9110 §10.2.3: seconds, or a date, which is measured against the server's own `Date`. */
function readRetryAfter(response: IncomingMessage): number | undefined {
  const value = response.headers["retry-after"];
  if (value === undefined) return undefined;
  const ms = /^\d{1,10}$/.test(value)
    ? Number(value) * 1000
    : Date.parse(value) - Date.parse(response.headers.date ?? "");
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, RETRY_AFTER_MS_MAX) : undefined;
}
