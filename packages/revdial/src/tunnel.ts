/**
 * A tunnel as programs use it: requests out, a handler for requests in, notices both ways. It joins the pure core to a
 * transport and a clock, and promises that everything it handed out settles, whatever way the tunnel ends.
 */
import { IncomingBody } from "./body.ts";
import { type Clock, systemClock, type Timer } from "./clock.ts";
import { Core, type CoreOptions, type Effect, type LocalEvent, type PeerHello } from "./core.ts";
import { goawayCodeName, RevdialError, type RevdialErrorCode, type WireCodeName } from "./errors.ts";
import type { OpenHead } from "./frame.ts";
import { type HeaderList, travellingHeaders } from "./head.ts";
import { defaultLimits, type TunnelLimits } from "./limits.ts";
import type { Transport } from "./transport.ts";

/** No body is an absent one; a Uint8Array is sent as it is; chunks of an iterable are sent as they come. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

export interface TunnelRequest {
  service: string;
  method: string;
  path: string;
  headers?: HeaderList;
  body?: Body;
  /** Time for the whole exchange; both ends give up when it has passed. Default: none. */
  deadlineMs?: number;
  signal?: AbortSignal;
  /** W3C trace context. */
  traceparent?: string;
}

export interface TunnelResponse {
  status: number;
  headers: HeaderList;
  body: AsyncIterable<Uint8Array>;
  trailers: Promise<HeaderList>;
}

export interface IncomingRequest {
  service: string;
  method: string;
  path: string;
  headers: HeaderList;
  body: AsyncIterable<Uint8Array>;
  deadlineMs?: number;
  traceparent?: string;
  /** Aborts when the caller cancels, the deadline passes or the tunnel ends. */
  signal: AbortSignal;
}

export interface OutgoingResponse {
  status: number;
  headers?: HeaderList;
  body?: Body;
  trailers?: HeaderList;
}

export type RequestHandler = (request: IncomingRequest) => OutgoingResponse | Promise<OutgoingResponse>;

export interface TunnelEnd {
  code: RevdialErrorCode;
  reason: string;
  /** The peer's wish from its GOAWAY. */
  retryAfterMs?: number;
}

export interface TunnelOptions {
  /** What we call ourselves, at most 255 bytes. Default "revdial". */
  agent?: string;
  /** Number of this process's boot. Default 0. */
  incarnation?: number | bigint;
  features?: readonly string[];
  limits?: Partial<TunnelLimits>;
  clock?: Clock;
  /** Default 5,000 ms. */
  pingIntervalMs?: number;
  /** Silence after which a peer that answers no ping is dead. Default 15,000 ms. */
  deadAfterMs?: number;
}

export interface CloseOptions {
  /** Tells the peer when to come back. Default 0. */
  retryAfterMs?: number;
  /** Time for what is in flight. Default 30,000 ms. */
  drainMs?: number;
  code?: Extract<WireCodeName, "DRAINING" | "REPLACED">;
  reason?: string;
}

export interface Tunnel {
  /** Known once `ready`. */
  readonly peer: PeerHello | undefined;
  /** HELLOs are exchanged; rejects with the RevdialError that prevented it. */
  readonly ready: Promise<void>;
  /** Resolves when the tunnel has ended, whatever the way; never rejects. */
  readonly closed: Promise<TunnelEnd>;
  /** Last measured round trip in milliseconds. */
  readonly rttMs: number | undefined;
  /** A GOAWAY was sent or received: no new requests. */
  readonly draining: boolean;
  /** Resolves at the response head. Rejects with a RevdialError whose `sent` says whether it may have run. */
  request(request: TunnelRequest): Promise<TunnelResponse>;
  /** Sets the one handler; without it every request of the peer is refused with SERVICE_UNKNOWN. */
  serve(handler: RequestHandler): void;
  /** Sends a small datagram. False when it was dropped: the queue is full or the tunnel is closed. */
  notify(type: string, payload: Uint8Array): boolean;
  /** Returns the way to stop listening. */
  onNotice(listener: (type: string, payload: Uint8Array) => void): () => void;
  /** GOAWAY, finish what is in flight, end. */
  close(options?: CloseOptions): Promise<TunnelEnd>;
  /** Ends now; what is in flight fails with DESTROYED. */
  destroy(reason?: Error): void;
}

/** One live exchange as the tunnel keeps it. */
interface Exchange {
  body: IncomingBody;
  /** A caller that waits for the response head. */
  head?: { resolve(response: TunnelResponse): void; reject(error: RevdialError): void } | undefined;
  /** Our handler's request. */
  abort?: AbortController;
  /** A producer that waits for room. */
  drained?: (() => void) | undefined;
  over: boolean;
  release: () => void;
}

export function createTunnel(transport: Transport, dialled: boolean, options: TunnelOptions = {}): Tunnel {
  return new CoreTunnel(transport, dialled, options);
}

class CoreTunnel implements Tunnel {
  peer: PeerHello | undefined;
  rttMs: number | undefined;
  readonly ready: Promise<void>;
  readonly closed: Promise<TunnelEnd>;
  private readonly transport: Transport;
  private readonly clock: Clock;
  private readonly limits: TunnelLimits;
  private readonly core: Core;
  private readonly exchanges = new Map<number, Exchange>();
  private readonly listeners = new Set<(type: string, payload: Uint8Array) => void>();
  private readonly settleReady = Promise.withResolvers<void>();
  private readonly settleClosed = Promise.withResolvers<TunnelEnd>();
  private handler: RequestHandler | undefined;
  private timer: Timer | undefined;
  private drainTimer: Timer | undefined;
  private flushQueued = false;
  private ending: { code: RevdialErrorCode; reason: string } | undefined;
  private ended = false;
  private retryAfterMs: number | undefined;
  private goaway: { code: RevdialErrorCode; reason: string } | undefined;

  constructor(transport: Transport, dialled: boolean, options: TunnelOptions) {
    this.transport = transport;
    this.clock = options.clock ?? systemClock;
    this.limits = { ...defaultLimits, ...options.limits };
    this.ready = this.settleReady.promise;
    this.ready.catch(() => undefined); // Those who wait for it see it; those who do not watch `closed`.
    this.closed = this.settleClosed.promise;
    const coreOptions: CoreOptions = {
      limits: this.limits,
      dialled,
      agent: options.agent ?? "revdial",
      incarnation: BigInt(options.incarnation ?? 0),
      features: options.features ?? [],
      pingIntervalMs: options.pingIntervalMs ?? 5000,
      deadAfterMs: options.deadAfterMs ?? 15_000,
    };
    this.core = new Core(coreOptions, this.clock.now());
    this.transport.start({
      message: (bytes) => this.feed(bytes),
      notBinary: () => this.end(new RevdialError("MESSAGE_NOT_BINARY", "a message is not binary"), 1003),
      drain: () => this.flush(),
      closed: (reason) => this.transportClosed(reason),
    });
    this.arm();
    this.flush();
  }

  get draining(): boolean {
    return this.core.draining || this.ended;
  }

  async request(request: TunnelRequest): Promise<TunnelResponse> {
    if (request.signal?.aborted) throw new RevdialError("CANCELLED", "cancelled before it was sent");
    if (this.ended || this.ending) throw new RevdialError("CLOSED", "the tunnel is closed");
    const id = this.core.claimChannel();
    const head: OpenHead = {
      kind: 0,
      service: request.service,
      method: request.method,
      path: request.path,
      deadlineMs:
        request.deadlineMs === undefined
          ? 0
          : Math.max(1, Math.min(0xffff_ffff, Math.ceil(request.deadlineMs))),
      traceparent: request.traceparent ?? "",
      headers: travellingHeaders(request.headers ?? []),
    };
    const empty =
      request.body === undefined || (request.body instanceof Uint8Array && request.body.byteLength === 0);
    const { promise, resolve, reject } = Promise.withResolvers<TunnelResponse>();
    const cancel = () =>
      this.apply({ do: "reset", channel: id, code: "CANCELLED", reason: "cancelled by the caller" });
    const body = new IncomingBody(
      (bytes) => this.apply({ do: "consumed", channel: id, bytes }),
      () => this.apply({ do: "reset", channel: id, code: "CANCELLED", reason: "the reader stopped" }),
    );
    const release = () => request.signal?.removeEventListener("abort", cancel);
    this.apply({ do: "open", channel: id, head, end: empty });
    const exchange: Exchange = { body, head: { resolve, reject }, over: false, release };
    this.exchanges.set(id, exchange);
    request.signal?.addEventListener("abort", cancel, { once: true });
    if (!empty && request.body !== undefined) void this.pump(id, exchange, request.body, []);
    return promise;
  }

  serve(handler: RequestHandler): void {
    this.handler = handler;
  }

  notify(type: string, payload: Uint8Array): boolean {
    if (this.ended || this.ending) return false;
    try {
      this.apply({ do: "notice", notice: type, payload });
      return true;
    } catch (error) {
      if (error instanceof RevdialError && error.code === "CONTROL_FLOOD") return false;
      throw error;
    }
  }

  onNotice(listener: (type: string, payload: Uint8Array) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  close(options: CloseOptions = {}): Promise<TunnelEnd> {
    if (this.ended || this.ending) return this.closed;
    const { retryAfterMs = 0, drainMs = 30_000, code = "DRAINING", reason = "closing" } = options;
    this.drainTimer ??= this.clock.setTimer(drainMs, () =>
      this.end(new RevdialError("CLOSED", `still busy ${drainMs} ms after GOAWAY`), 1001),
    );
    this.apply({ do: "goaway", code, retryAfterMs, reason });
    return this.closed;
  }

  destroy(reason?: Error): void {
    this.end(new RevdialError("DESTROYED", reason?.message ?? "destroyed", { cause: reason }), 1001);
  }

  /** Bytes of the peer. Nothing it sends may throw into the transport. */
  private feed(bytes: Uint8Array): void {
    this.perform(this.core.input(bytes, this.clock.now()));
    this.flushSoon();
  }

  private apply(event: LocalEvent): void {
    const effects = this.core.input(event, this.clock.now());
    this.perform(effects);
    this.flushSoon();
  }

  /** Frames of one turn of the event loop share a message (SPEC §2). */
  private flushSoon(): void {
    if (this.flushQueued || this.ended) return;
    this.flushQueued = true;
    queueMicrotask(() => {
      this.flushQueued = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.ended) return;
    while (this.transport.queuedBytes < this.limits.socketQueueBytes) {
      const { parts, effects } = this.core.nextMessage();
      if (parts !== undefined) this.transport.send(parts);
      this.perform(effects);
      if (parts === undefined) break;
    }
    if (this.ending && !this.ended)
      this.end(new RevdialError(this.ending.code, this.ending.reason), closeCode(this.ending.code));
  }

  private arm(): void {
    this.timer?.cancel();
    if (this.ended) return;
    this.timer = this.clock.setTimer(this.core.wakeInMs(), () => {
      this.apply({ do: "tick" });
      this.arm();
    });
  }

  private perform(effects: readonly Effect[]): void {
    for (const effect of effects) this.performOne(effect);
  }

  private performOne(effect: Effect): void {
    switch (effect.effect) {
      case "ready":
        this.peer = effect.peer;
        this.settleReady.resolve();
        this.arm();
        return;
      case "incoming":
        return this.incoming(effect.channel, effect.head, effect.end);
      case "head": {
        const exchange = this.exchanges.get(effect.channel);
        if (exchange?.head === undefined) return;
        const { status, headers } = effect;
        exchange.head.resolve({ status, headers, body: exchange.body, trailers: exchange.body.trailers });
        exchange.head = undefined;
        return;
      }
      case "data":
        this.exchanges.get(effect.channel)?.body.push(effect.bytes);
        return;
      case "ended":
        this.exchanges.get(effect.channel)?.body.end(effect.trailers);
        return;
      case "drained":
        this.wakeProducer(this.exchanges.get(effect.channel));
        return;
      case "finished":
        return this.finish(effect.channel, undefined);
      case "reset":
        return this.finish(
          effect.channel,
          new RevdialError(effect.code, effect.reason, { sent: effect.sent }),
        );
      case "notice":
        for (const listener of this.listeners) this.guarded(() => listener(effect.notice, effect.payload));
        return;
      case "goaway":
        if (effect.retryAfterMs > 0) this.retryAfterMs = effect.retryAfterMs;
        this.goaway = { code: goawayCodeName(effect.code), reason: effect.reason };
        return;
      case "rtt":
        this.rttMs = effect.ms;
        return;
      case "close":
        this.ending ??= effect.code === "CLOSED" ? (this.goaway ?? effect) : effect;
        this.flushSoon();
    }
  }

  /** A listener's mistake is its own: it is reported as an uncaught error of the process's own making, never the peer's. */
  private guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.end(new RevdialError("DESTROYED", "a notice listener threw", { cause: error }), 1011);
    }
  }

  private wakeProducer(exchange: Exchange | undefined): void {
    const drained = exchange?.drained;
    if (exchange) exchange.drained = undefined;
    drained?.();
  }

  private finish(id: number, error: RevdialError | undefined): void {
    const exchange = this.exchanges.get(id);
    if (exchange === undefined) return;
    this.exchanges.delete(id);
    exchange.over = true;
    exchange.release();
    this.wakeProducer(exchange);
    if (error === undefined) return;
    exchange.head?.reject(error);
    exchange.body.fail(error);
    exchange.abort?.abort(error);
  }

  private incoming(id: number, head: OpenHead, ended: boolean): void {
    const handler = this.handler;
    if (handler === undefined) {
      this.apply({ do: "reset", channel: id, code: "SERVICE_UNKNOWN", reason: "nothing is served here" });
      this.apply({ do: "handled", channel: id });
      return;
    }
    const abort = new AbortController();
    const body = new IncomingBody(
      (bytes) => this.apply({ do: "consumed", channel: id, bytes }),
      () => undefined, // A handler may answer without reading on; the caller is told when the answer is complete.
    );
    if (ended) body.end([]);
    const exchange: Exchange = { body, abort, over: false, release: () => undefined };
    this.exchanges.set(id, exchange);
    const { service, method, path, headers, deadlineMs, traceparent } = head;
    const request: IncomingRequest = { service, method, path, headers, body, signal: abort.signal };
    if (deadlineMs > 0) request.deadlineMs = deadlineMs;
    if (traceparent !== "") request.traceparent = traceparent;
    void this.answer(id, exchange, handler, request);
  }

  private async answer(
    id: number,
    exchange: Exchange,
    handler: RequestHandler,
    request: IncomingRequest,
  ): Promise<void> {
    try {
      const response = await handler(request);
      if (exchange.over) {
        await discard(response.body);
        return;
      }
      const { status, headers = [], body, trailers = [] } = response;
      const empty =
        (body === undefined || (body instanceof Uint8Array && body.byteLength === 0)) &&
        trailers.length === 0;
      this.apply({ do: "head", channel: id, status, headers: travellingHeaders(headers), end: empty });
      if (!empty) await this.pump(id, exchange, body ?? new Uint8Array(), trailers);
    } catch {
      // The cause stays on this side: it may name things that the caller should not see.
      if (!exchange.over)
        this.apply({ do: "reset", channel: id, code: "HANDLER_FAILED", reason: "the handler failed" });
    } finally {
      this.apply({ do: "handled", channel: id });
    }
  }

  /** Sends a body as fast as the channel takes it; an iterable that fails resets the channel. */
  private async pump(id: number, exchange: Exchange, body: Body, trailers: HeaderList): Promise<void> {
    try {
      for await (const chunk of body instanceof Uint8Array ? [body] : body) {
        if (exchange.over) return;
        this.apply({ do: "data", channel: id, bytes: chunk });
        if (!this.core.isFull(id) || exchange.over) continue;
        await new Promise<void>((resolve) => {
          exchange.drained = resolve;
        });
        if (exchange.over) return;
      }
      if (!exchange.over) this.apply({ do: "end", channel: id, trailers });
    } catch {
      if (!exchange.over)
        this.apply({ do: "reset", channel: id, code: "CANCELLED", reason: "the body's source failed" });
    }
  }

  private transportClosed(reason: string): void {
    if (this.ending !== undefined || this.goaway !== undefined) {
      const { code, reason: why } = this.ending ?? this.goaway ?? { code: "CLOSED" as const, reason };
      return this.end(new RevdialError(code, why), undefined);
    }
    this.end(new RevdialError("TRANSPORT_LOST", reason), undefined);
  }

  /** The one way a tunnel ends: every promise settles, every timer stops. */
  private end(error: RevdialError, webSocketCode: number | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.timer?.cancel();
    this.drainTimer?.cancel();
    const reason = error.message.slice(error.code.length + 2);
    if (webSocketCode !== undefined) {
      if (error.code === "DESTROYED" || error.code === "DEAD_PEER") this.transport.terminate();
      else this.transport.close(webSocketCode, error.code);
    }
    for (const id of [...this.exchanges.keys()]) {
      this.finish(id, new RevdialError(error.code, reason, { cause: error.cause, sent: "may-have-run" }));
    }
    this.settleReady.reject(error);
    const end: TunnelEnd = { code: error.code, reason };
    if (this.retryAfterMs !== undefined) end.retryAfterMs = this.retryAfterMs;
    this.settleClosed.resolve(end);
  }
}

/** WebSocket close code (RFC 6455 §7.4) for the end of a tunnel. */
function closeCode(code: RevdialErrorCode): number {
  return code === "CLOSED" || code === "DRAINING" || code === "REPLACED" ? 1000 : 1002;
}

async function discard(body: Body | undefined): Promise<void> {
  if (body === undefined || body instanceof Uint8Array) return;
  await body[Symbol.asyncIterator]().return?.();
}
