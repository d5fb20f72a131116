/**
 * The WebSocket transport, and, but for `helix/web-socket-stream.ts`, the only file that knows `ws`. It hands whole binary messages up and down.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { systemClock } from "./clock.ts";
import { createTunnel } from "./core-tunnel.ts";
import { type Connecting, networkReason, refusal, type WayOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { tell } from "./exchange.ts";
import { fragmentsOf } from "./fragments.ts";
import { defaultLimits, limitsOf } from "./limits.ts";
import { fixed } from "./numbers.ts";
import { Summary } from "./summary.ts";
import type { Transport, TransportEvents } from "./transport.ts";
import type { Tunnel, TunnelOptions } from "./tunnel.ts";

/** The WebSocket subprotocol both sides must name (SPEC §2). */
export const REVDIAL_SUBPROTOCOL = "revdial.v3";

/**
 * Reads nothing before somebody listens to its messages: `ws` drops a message that nobody hears, and one that is lost is the end
 * of a tunnel. Whoever decides first whether to accept a peer may take its time.
 */
export class PatientWebSocket extends WebSocket {
  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given);
    // Told before any byte is read.
    this.once("open", () => this.pause());
    this.on("newListener", (event) => {
      if (event === "message") this.resume();
    });
  }

  /** The peer's answer to it has to be read. */
  override close(code?: number, reason?: string | Buffer): void {
    this.resume();
    super.close(code, reason);
  }
}

/**
 * Fragments of one message, pieces in which the network brings what cannot be read yet (SPEC §2.2), and answers to pings that the peer
 * does not read (§2.1): many small ones cost more than their bytes. What `ws` has of itself, held here so that another version of it
 * cannot take a bound away.
 */
const PIECES_MAX = {
  maxFragments: fixed.fragmentsMax,
  maxBufferedChunks: fixed.piecesMax,
  maxPendingAutoPongs: fixed.pongsQueuedMax,
} as const;

/** SPEC §2.1: no browser has business here. */
const refuseOrigin = (
  { req }: { req: IncomingMessage },
  done: (accepted: boolean, status?: number) => void,
): void => done(req.headers.origin === undefined, 403);

/**
 * What the accepting `ws.WebSocketServer` must be given besides its way to listen (SPEC §2). With other limits of
 * `messageBytesMax`, set `maxPayload` to the same number. An upgrade with an `Origin` is refused with 403; a `verifyClient` of the
 * caller's own has to refuse it itself. Its WebSockets are read from the moment they are accepted, or their
 * messages listened to: they hear no `close` before either.
 */
export const webSocketServerOptions = {
  perMessageDeflate: false,
  maxPayload: defaultLimits.messageBytesMax,
  ...PIECES_MAX,
  clientTracking: false,
  verifyClient: refuseOrigin,
  WebSocket: PatientWebSocket as typeof WebSocket,
  handleProtocols: (offered: Set<string>): string | false =>
    offered.has(REVDIAL_SUBPROTOCOL) ? REVDIAL_SUBPROTOCOL : false,
} as const;

class WebSocketTransport extends Summary implements Transport {
  readonly transport = "websocket";
  queuedBytes = 0;
  readonly #socket: WebSocket;
  private events: TransportEvents | undefined;
  private lost = false;
  private gathering = false;

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
  }

  start(events: TransportEvents): void {
    this.events = events;
    const socket = this.#socket;
    // As they came: putting fragments together would copy bodies that their sender did not copy.
    socket.binaryType = "fragments";
    socket.on("message", (data, isBinary) => {
      if (isBinary) events.message(data as Buffer[]);
      else events.text();
    });
    this.raw?.on("data", () => events.bytes());
    socket.on("error", (error) => this.closed(error.message));
    socket.on("close", (code) => this.closed(`the WebSocket was closed with code ${code}`));
    if (socket.readyState === WebSocket.CLOSED) queueMicrotask(() => this.closed("the WebSocket was closed"));
    // A server that chose no subprotocol lets a peer in that may speak anything.
    else if (socket.protocol !== REVDIAL_SUBPROTOCOL) {
      events.foreign(`the WebSocket's subprotocol is not ${REVDIAL_SUBPROTOCOL}`);
    }
  }

  /** An error is always followed by a close; whichever comes first is the reason. */
  private closed(reason: string): void {
    if (this.lost) return;
    this.lost = true;
    this.events?.closed(reason);
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const fragments = fragmentsOf(parts);
    let bytes = 0;
    for (const fragment of fragments) bytes += fragment.byteLength;
    this.queuedBytes += bytes;
    this.gather();
    const last = fragments.length - 1;
    for (let i = 0; i < last; i += 1)
      this.#socket.send(fragments[i] as Uint8Array, { binary: true, fin: false });
    this.#socket.send(fragments[last] as Uint8Array, { binary: true }, () => {
      this.queuedBytes -= bytes;
      this.events?.drain();
    });
  }

  /** `ws` has kept its socket under this name since its first version. */
  private get raw(): Duplex | undefined {
    return (this.#socket as unknown as { _socket?: Duplex })._socket;
  }

  /** What is sent in one turn leaves in one system call: each wakes the receiver, which costs more than the bytes. */
  private gather(): void {
    const { raw } = this;
    if (this.gathering || !raw) return;
    this.gathering = true;
    raw.cork();
    process.nextTick(() => {
      this.gathering = false;
      raw.uncork();
    });
  }

  toJSON() {
    const { transport, queuedBytes } = this;
    return { transport, queuedBytes };
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }
}

/**
 * Serves as the accepting side of an open WebSocket, of a server with `webSocketServerOptions`. One of any other server must be
 * accepted in the turn in which it was upgraded, or what the peer says until then is lost. The caller has authenticated the peer and refused any `Origin`. Never
 * throws for what the peer did: a wrong subprotocol ends the tunnel with PROTOCOL_VERSION. Error: ARGUMENT, for what is no
 * WebSocket of `ws`, for one that carries a tunnel already, and for options out of range.
 */
export function acceptTunnel(webSocket: WebSocket, options: TunnelOptions = {}): Tunnel {
  if (typeof webSocket?.on !== "function" || typeof webSocket.send !== "function")
    throw new RevdialError("ARGUMENT", "only a WebSocket of ws can be accepted");
  if (accepted.has(webSocket)) throw new RevdialError("ARGUMENT", "the WebSocket carries a tunnel already");
  const tunnel = createTunnel(new WebSocketTransport(webSocket), false, options);
  accepted.add(webSocket);
  return tunnel;
}

/** Two tunnels on one WebSocket would both speak, and the peer would end them. */
const accepted = new WeakSet<WebSocket>();

/** Sends the upgrade; `opened` is told in the turn in which it was answered, before any message is read. */
export function connectWebSocket(target: URL, options: WayOptions, events: Connecting): () => void {
  const socket = openSocket(target, options);
  let opened = false;
  socket.on("error", (cause) => {
    if (!opened) events.failed(new RevdialError("DIAL_FAILED", networkReason(cause), { cause }));
  });
  socket.once("unexpected-response", (_request, response) => {
    events.refused(refusal(response, "upgrade", options.clock ?? systemClock));
  });
  socket.once("upgrade", ({ headers }) => tell(() => options.onAnswer?.(headers), options.onHandlerError));
  socket.once("open", () => {
    opened = true;
    events.opened(new WebSocketTransport(socket));
  });
  return () => socket.terminate();
}

function openSocket(target: URL, options: WayOptions): WebSocket {
  const { headers = {}, ca, insecure = false, zeroMask = mayMaskWithZero(target) } = options;
  try {
    return new WebSocket(target, REVDIAL_SUBPROTOCOL, {
      headers,
      perMessageDeflate: false,
      maxPayload: limitsOf(options.limits).messageBytesMax,
      ...PIECES_MAX,
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
export function mayMaskWithZero(target: URL): boolean {
  const host = target.hostname;
  return (
    target.protocol === "wss:" ||
    host === "localhost" ||
    host === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(host)
  );
}
