/** The face of the library: a tunnel as programs see it. Types only; `core-tunnel.ts` is behind them. */
import type { Duplex } from "node:stream";
import type { Clock } from "./clock.ts";
import type { PeerHello } from "./core-events.ts";
import type { TunnelDispatcher } from "./dispatcher.ts";
import type { RevdialError, RevdialErrorCode, WireCodeName } from "./errors.ts";
import type { GrowthPool } from "./growth-pool.ts";
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";
import type { TunnelMetrics } from "./observe.ts";

/** No body is an absent one; a Uint8Array is sent as it is; chunks of an iterable are sent as they come. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

export interface TunnelRequest {
  /** Whom the far end is to ask: 1 to 63 of a-z 0-9 . _ - */
  service: string;
  /** 1 to 32 token characters; it arrives in the case in which it was given. */
  method: string;
  /** Path and query in origin form; it arrives as it was given. */
  path: string;
  /** Hop-by-hop fields and those named in `Connection` are left behind (SPEC §5). Default: none. */
  headers?: HeaderList | undefined;
  /** Read once, and to its end unless the answer ends before. Default: none. */
  body?: Body | undefined;
  /** The fields after the body, asked for once all of it has been taken; none go without a body. Default: none. */
  trailers?: (() => HeaderList) | undefined;
  /** Milliseconds for the whole exchange; both ends give up when they have passed (DEADLINE). Default: none. */
  deadlineMs?: number | undefined;
  /** Gives up (CANCELLED); the far end is told within a turn of the event loop. Default: none. */
  signal?: AbortSignal | undefined;
  /** W3C trace context, of 55 characters. Default: none. */
  traceparent?: string | undefined;
  /** Told of heads below 200 that precede the response, such as 103 (Early Hints). Default: nobody. */
  onInterim?: ((status: number, headers: HeaderList) => void) | undefined;
  /**
   * Asks for a byte stream: what HTTP's `Upgrade` names, such as "websocket", or "" for a plain one. Status 101 brings
   * `socket`; anything else is an ordinary response. Goes without `body`; deadline and signal hold until the head. Default: none is
   * asked for.
   */
  upgrade?: string | undefined;
}

export interface TunnelResponse {
  status: number;
  headers: HeaderList;
  /** Can be read once. What is not read holds the channel: read to the end, or `return()`, which cancels. */
  body: AsyncIterable<Uint8Array>;
  /** Known at the end of the body; rejects when the body fails. */
  readonly trailers: Promise<HeaderList>;
  /**
   * With status 101 only: both directions, each with an end of its own. Destroying it resets the channel. What ends it before
   * its time is its `error` event and `errored`, which may be set already; not to listen costs nobody anything.
   */
  socket?: Duplex;
}

export interface ConnectOptions {
  /** Path and query in origin form, for services that have several. Default "/". */
  path?: string;
  /** As those of a request. Default: none. */
  headers?: HeaderList;
  /** What HTTP's `Upgrade` would name. Default "": a plain byte stream. */
  protocol?: string;
  /** Milliseconds until the far end has answered (DEADLINE); the stream itself has none. Default: none. */
  deadlineMs?: number;
  /** Gives up until the far end has answered (CANCELLED); the stream is destroyed by itself. Default: none. */
  signal?: AbortSignal;
  /** W3C trace context, of 55 characters. Default: none. */
  traceparent?: string;
}

export interface IncomingRequest {
  service: string;
  method: string;
  path: string;
  headers: HeaderList;
  /** False when the request came without a body, or is an upgrade. */
  hasBody: boolean;
  body: AsyncIterable<Uint8Array>;
  /** The fields after the request's body; rejects when the body fails. */
  readonly trailers: Promise<HeaderList>;
  /** Milliseconds the caller gave the whole exchange. */
  deadlineMs?: number;
  traceparent?: string;
  /** The caller wants a byte stream of this protocol ("" is a plain one): `reply.accept`, or an ordinary response. */
  upgrade?: string;
  /** Aborts when the caller cancels, the deadline passes or the tunnel ends. */
  readonly signal: AbortSignal;
}

export interface OutgoingResponse {
  /** 200 to 599. */
  status: number;
  headers?: HeaderList | undefined;
  body?: Body | undefined;
  trailers?: HeaderList | undefined;
}

/**
 * The response piece by piece, for handlers that pass on what another server says. Calls after the exchange is over do
 * nothing; a head that may not travel throws HEAD_INVALID or HEAD_TOO_LARGE, a call out of order CHANNEL_STATE.
 */
export interface Reply {
  /** The exchange is over, in order or not: nothing that is said now reaches anybody. */
  readonly over: boolean;
  /** A head below 200 that precedes the response: 100 (Continue), 103 (Early Hints). Never 101. */
  interim(status: number, headers?: HeaderList): void;
  /** 200 to 599. Hop-by-hop fields are left behind (SPEC §5). */
  head(status: number, headers?: HeaderList): void;
  /** False when there is no room for more: wait for `onDrain`. The bytes must not be changed afterwards. */
  write(bytes: Uint8Array): boolean;
  end(bytes?: Uint8Array, trailers?: HeaderList): void;
  /** Answers a caller that asked for a byte stream (`upgrade`) with 101. Error: ARGUMENT for any other. */
  accept(headers?: HeaderList): Duplex;
  /** One listener: there is room again, or the exchange is `over`. Called at once when it is over already. */
  onDrain(listener: () => void): void;
  /** One listener: the exchange is over, with the error that cut it short. Called at once when it is over already. */
  onClose(listener: (error: RevdialError | undefined) => void): void;
}

/**
 * Answers one request: returns a response, or says it through `reply` and resolves once that is done (its slot is free
 * then). What it throws stays on this side: the peer sees HANDLER_FAILED, or the code of a thrown RevdialError where
 * that is REFUSED, SERVICE_UNKNOWN or CANCELLED.
 */
export type RequestHandler = (
  request: IncomingRequest,
  reply: Reply,
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement is one that used `reply`
) => OutgoingResponse | void | Promise<OutgoingResponse | void>;

export interface TunnelEnd {
  code: RevdialErrorCode;
  reason: string;
  /** The peer's wish from its GOAWAY. */
  retryAfterMs?: number;
}

export interface TunnelOptions {
  /** What we call ourselves, at most 255 bytes of UTF-8. Default "revdial". */
  agent?: string;
  /** Number of this process's boot: a whole number from 0 to 2^64 - 1. Default 0. */
  incarnation?: number | bigint;
  /**
   * Names of optional parts that this side has; one is in use when both sides name it (`peer.features`). At most 255 of 1 to
   * 255 bytes, 4,000 with `agent`. Default: none.
   */
  features?: readonly string[];
  /** What differs from `defaultLimits`; SPEC §8 says what each may be. Default: nothing. */
  limits?: Partial<TunnelLimits>;
  /**
   * Shared by tunnels whose windows may grow only so far together; give several the same one. Default: that of the process, of
   * 268,435,456 bytes.
   */
  growthPool?: GrowthPool;
  /** Time and timers. Default: the system's. */
  clock?: Clock;
  /** Told what a handler, a listener or another callback threw. Default: `process.emitWarning`. */
  onHandlerError?: (error: unknown) => void;
  /** From one ping to the next. Default 5,000 ms, from 10 to 2,147,483,647. */
  pingIntervalMs?: number;
  /**
   * Silence after which a peer that answers no ping is dead. Default 14,500 ms: noticed within 15 s, timers' lateness included.
   * From 10 to 2,147,483,647.
   */
  deadAfterMs?: number;
}

export interface CloseOptions {
  /** Tells the peer when to come back. Default 0 ms, whenever it likes, up to 4,294,967,295. */
  retryAfterMs?: number;
  /** Time for what is in flight. Default 30,000 ms, from 0 to 2,147,483,647. */
  drainMs?: number;
  /** Why, for programs. Default "DRAINING". */
  code?: Extract<WireCodeName, "DRAINING" | "REPLACED" | "REVOKED">;
  /** Why, for people: what is above 255 bytes of UTF-8 is cut. Default "closing". */
  reason?: string;
}

export interface Tunnel {
  /** What carries it: "websocket", "http", "helix" or "helix-stream", or "memory" in tests. */
  readonly transport: string;
  /** Known once `ready`. */
  readonly peer: PeerHello | undefined;
  /** HELLOs are exchanged; rejects with the RevdialError that prevented it. */
  readonly ready: Promise<void>;
  /**
   * Resolves when no new requests are taken: a GOAWAY was sent or received (`retryAfterMs`: the peer's wish), the peer takes
   * nothing any more (TRANSPORT_LOST; `closed` may know why), or the tunnel has ended. Who needs another tunnel need not wait for `closed`. Never rejects.
   */
  readonly goingAway: Promise<TunnelEnd>;
  /** The peer has answered a ping, so the path carries both ways; `ready` says that of one. Rejects as `ready` does. */
  readonly reached: Promise<void>;
  /** Resolves when the tunnel has ended, whatever the way; never rejects. */
  readonly closed: Promise<TunnelEnd>;
  /** Last measured round trip in milliseconds. */
  readonly rttMs: number | undefined;
  /** No new requests: a GOAWAY was sent or received, the peer takes nothing any more, or the tunnel has ended. */
  readonly draining: boolean;
  /** Channels in use, of both sides. */
  readonly load: number;
  /** Counters and gauges of now. Events are on the diagnostics channels "revdial:tunnel" and "revdial:channel". */
  readonly metrics: TunnelMetrics;
  /**
   * Resolves at the response head. Rejects with a RevdialError whose `sent` says whether it may have run. A body or trailers of
   * the caller's that fail on the way are CANCELLED, with what was wrong as the `cause`. Codes:
   *
   * - of what cannot be sent: ARGUMENT, HEAD_INVALID, HEAD_TOO_LARGE;
   * - of a tunnel that takes nothing now: CLOSED, DRAINING, REFUSED;
   * - of what the caller has set: CANCELLED, DEADLINE, STALLED;
   * - of the far end: REFUSED, SERVICE_UNKNOWN, KIND_UNSUPPORTED, DRAINING, CANCELLED, DEADLINE, HANDLER_FAILED, NOT_NEEDED, STALLED,
   *   CHANNEL_RESET;
   * - of a tunnel that ends meanwhile: the code of its end, as `closed` has it, and DRAINING for one in order.
   */
  request(request: TunnelRequest): Promise<TunnelResponse>;
  /**
   * Opens a byte stream to a service of the far end. Rejects with a RevdialError; SOCKET_REFUSED (`status`, `detail`: at
   * most 4 KiB of what comes within a second) when the far end answered with something else than 101.
   */
  connect(service: string, options?: ConnectOptions): Promise<Duplex>;
  /**
   * The service for undici and `fetch`: `fetch("http://any.host/path", { dispatcher })`. Its own options: `deadlineMs`.
   * Failures reach the handler as RevdialErrors (in fetch: the `cause`), as in `request`; what the handler or the body throws
   * itself as it is, unless that is a RevdialError: it speaks of another exchange. What differs from undici: TunnelDispatcher.
   */
  dispatcher(service: string): TunnelDispatcher;
  /** Sets the one handler (a second is ARGUMENT); without it every request of the peer is refused with SERVICE_UNKNOWN. */
  serve(handler: RequestHandler): void;
  /**
   * Sends a small datagram, at most 16 KiB. False when it was dropped: the queue is full, the tunnel is closed or not
   * ready. Throws FRAME_TOO_LARGE and, for a type that is no service name, HEAD_INVALID.
   */
  notify(type: string, payload: Uint8Array): boolean;
  /** Returns the way to stop listening. */
  onNotice(listener: (type: string, payload: Uint8Array) => void): () => void;
  /** GOAWAY, finish what is in flight, end. Error: ARGUMENT, thrown at once. */
  close(options?: CloseOptions): Promise<TunnelEnd>;
  /** Ends now; what is in flight fails with DESTROYED. */
  destroy(reason?: Error): void;
}
