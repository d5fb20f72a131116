/**
 * Joins the pure core to a transport and a clock: effects become promises, bodies and calls of the handler. It promises
 * that everything it handed out settles whatever way the tunnel ends, and that nothing the peer sends throws out of it.
 */
import { IncomingBody } from "./body.ts";
import { BodySource } from "./body-source.ts";
import { type Clock, systemClock, type Timer } from "./clock.ts";
import { Core } from "./core.ts";
import type { Effect, LocalEvent, PeerHello } from "./core-events.ts";
import { goawayCodeName, RevdialError, type RevdialErrorCode, type WireCodeName } from "./errors.ts";
import { type Exchange, guarded, isEmpty, nothingServed, openHead, warn } from "./exchange.ts";
import type { OpenHead } from "./frame.ts";
import { type HeaderList, travellingHeaders } from "./head.ts";
import { defaultLimits, type TunnelLimits } from "./limits.ts";
import type { Transport } from "./transport.ts";
import type {
  Body,
  CloseOptions,
  IncomingRequest,
  RequestHandler,
  Tunnel,
  TunnelEnd,
  TunnelOptions,
  TunnelRequest,
  TunnelResponse,
} from "./tunnel.ts";

/** A peer that does not answer our WebSocket close in this time is cut off. */
const CLOSE_HANDSHAKE_MS = 1000;
/** Codes a handler may answer with by throwing them. */
const handlerCodes: ReadonlySet<string> = new Set(["REFUSED", "SERVICE_UNKNOWN", "CANCELLED"]);

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
  private readonly onHandlerError: (error: unknown) => void;
  private readonly core: Core;
  private readonly exchanges = new Map<number, Exchange>();
  private readonly listeners = new Set<(type: string, payload: Uint8Array) => void>();
  private readonly settleReady = Promise.withResolvers<void>();
  private readonly settleClosed = Promise.withResolvers<TunnelEnd>();
  private handler: RequestHandler | undefined;
  private timer: Timer | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private drainTimer: Timer | undefined;
  private closeTimer: Timer | undefined;
  private flushQueued = false;
  /** Effects not yet performed, batch by batch; undefined when nobody is performing. */
  private batches: (readonly Effect[])[] | undefined;
  private peerGoaway: TunnelEnd | undefined;
  private closeReason: string | undefined;
  private end: TunnelEnd | undefined;
  private transportGone = false;

  constructor(transport: Transport, dialled: boolean, options: TunnelOptions) {
    this.transport = transport;
    this.clock = options.clock ?? systemClock;
    this.limits = { ...defaultLimits, ...options.limits };
    this.onHandlerError = guarded(options.onHandlerError ?? warn);
    this.ready = this.settleReady.promise;
    this.ready.catch(() => undefined); // Those who do not wait for it watch `closed`.
    this.closed = this.settleClosed.promise;
    const coreOptions = {
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
      message: (bytes) => this.contain(() => this.input(bytes)),
      foreign: (code, reason) =>
        this.finishTunnel({ code, reason }, code === "MESSAGE_NOT_BINARY" ? 1003 : 1002),
      drain: () => this.contain(() => this.flush()),
      closed: (reason) => this.transportClosed(reason),
    });
    this.flush();
    this.arm();
  }

  get draining(): boolean {
    return this.core.draining || this.end !== undefined;
  }

  async request(request: TunnelRequest): Promise<TunnelResponse> {
    const { signal, body } = request;
    if (signal?.aborted) {
      throw new RevdialError("CANCELLED", "cancelled before it was sent", { cause: signal.reason });
    }
    if (this.end) throw new RevdialError("CLOSED", `the tunnel has ended: ${this.end.code}`);
    const head = openHead(request);
    const id = this.core.claimChannel();
    const waiting = Promise.withResolvers<TunnelResponse>();
    const cancel = (reason: string, cause: unknown) => {
      exchange.cause = cause;
      this.input({ do: "reset", channel: id, code: "CANCELLED", reason });
    };
    const exchange: Exchange = {
      body: new IncomingBody(
        (bytes) => this.input({ do: "consumed", channel: id, bytes }),
        () => cancel("the reader stopped", undefined),
      ),
      head: waiting,
      over: false,
    };
    const empty = isEmpty(body);
    this.input({ do: "open", channel: id, head, end: empty });
    this.exchanges.set(id, exchange);
    if (signal) {
      const onAbort = () => cancel("cancelled by the caller", signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      exchange.release = () => signal.removeEventListener("abort", onAbort);
    }
    if (!empty) {
      this.send(id, exchange, body, []).catch((error) => {
        if (!exchange.over) cancel("the body's source failed", error);
      });
    }
    return waiting.promise;
  }

  serve(handler: RequestHandler): void {
    if (this.handler !== undefined) throw new RevdialError("ARGUMENT", "the tunnel has a handler already");
    this.handler = handler;
  }

  notify(type: string, payload: Uint8Array): boolean {
    if (this.end) return false;
    try {
      this.input({ do: "notice", notice: type, payload });
      return true;
    } catch (error) {
      if (error instanceof RevdialError && error.code === "NOTICE_DROPPED") return false;
      throw error;
    }
  }

  onNotice(listener: (type: string, payload: Uint8Array) => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  close(options: CloseOptions = {}): Promise<TunnelEnd> {
    if (this.end || this.closeReason !== undefined) return this.closed;
    const { retryAfterMs = 0, drainMs = 30_000, code = "DRAINING", reason = "closing" } = options;
    this.closeReason = reason;
    this.drainTimer = this.clock.setTimer(drainMs, () =>
      this.finishTunnel({ code: "CLOSED", reason: `still busy ${drainMs} ms after GOAWAY` }, 1001),
    );
    this.input({ do: "goaway", code, retryAfterMs, reason });
    return this.closed;
  }

  destroy(reason?: Error): void {
    this.finishTunnel(
      { code: "DESTROYED", reason: reason?.message ?? "destroyed here" },
      "terminate",
      reason,
    );
  }

  private input(event: Uint8Array | LocalEvent): void {
    this.perform(this.core.input(event, this.clock.now()));
    if (this.core.wakeAt < this.timerAt) this.arm();
    this.flushSoon();
  }

  /** A mistake of this library must cost one tunnel, not the process: it is reported, and the tunnel is over. */
  private contain(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.onHandlerError(error);
      this.finishTunnel({ code: "DESTROYED", reason: "an internal error" }, "terminate", error);
    }
  }

  /** Frames of one turn of the event loop share messages (SPEC §2). */
  private flushSoon(): void {
    if (this.flushQueued || this.end) return;
    this.flushQueued = true;
    setImmediate(() => {
      this.flushQueued = false;
      this.contain(() => this.flush());
    });
  }

  private flush(): void {
    while (!this.end && this.transport.queuedBytes < this.limits.socketQueueBytes) {
      const { parts, effects } = this.core.nextMessage();
      if (parts !== undefined) this.transport.send(parts);
      this.perform(effects);
      if (parts === undefined) return;
    }
  }

  private arm(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.timerAt = this.core.wakeAt;
    if (this.end || this.timerAt === Number.POSITIVE_INFINITY) return;
    this.timer = this.clock.setTimer(Math.max(0, this.timerAt - this.clock.now()), () => {
      this.timerAt = Number.POSITIVE_INFINITY;
      this.contain(() => {
        this.input({ do: "tick" });
        this.arm();
      });
    });
  }

  /** In order, also when a handler or listener called from here makes new ones. */
  private perform(effects: readonly Effect[]): void {
    if (effects.length === 0) return;
    if (this.batches !== undefined) return void this.batches.push(effects);
    this.batches = [effects];
    try {
      for (const batch of this.batches) for (const effect of batch) this.performOne(effect);
    } finally {
      this.batches = undefined;
    }
  }

  private performOne(effect: Effect): void {
    switch (effect.effect) {
      case "ready":
        this.peer = effect.peer;
        this.settleReady.resolve();
        return;
      case "incoming":
        return this.incoming(effect.channel, effect.head, effect.end);
      case "head": {
        const exchange = this.exchanges.get(effect.channel);
        if (exchange === undefined) return;
        const { status, headers } = effect;
        const { body } = exchange;
        exchange.head?.resolve({ status, headers, body, trailers: body.trailers });
        exchange.head = undefined;
        return;
      }
      case "data":
        return this.exchanges.get(effect.channel)?.body.push(effect.bytes);
      case "ended":
        return this.exchanges.get(effect.channel)?.body.end(effect.trailers);
      case "drained":
        return this.exchanges.get(effect.channel)?.source?.resume();
      case "finished":
        return this.finish(effect.channel, undefined);
      case "reset":
        return this.finish(effect.channel, effect);
      case "notice":
        return this.deliverNotice(effect.notice, effect.payload);
      case "goaway": {
        const { code, reason, retryAfterMs } = effect;
        this.peerGoaway = {
          code: goawayCodeName(code),
          reason,
          ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
        };
        return;
      }
      case "rtt":
        this.rttMs = effect.ms;
        return;
      case "close":
        return this.coreClosed(effect.code, effect.reason);
    }
  }

  private deliverNotice(type: string, payload: Uint8Array): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(type, payload);
      } catch (error) {
        this.onHandlerError(error);
      }
    }
  }

  private finish(
    id: number,
    reset: { code: RevdialErrorCode; reason: string; sent: RevdialError["sent"] } | undefined,
  ) {
    const exchange = this.exchanges.get(id);
    if (exchange === undefined) return;
    this.exchanges.delete(id);
    exchange.over = true;
    exchange.release?.();
    exchange.source?.stop();
    if (reset === undefined) return;
    const error = new RevdialError(reset.code, reset.reason, { sent: reset.sent, cause: exchange.cause });
    exchange.head?.reject(error);
    exchange.body.fail(error);
    if (reset.code !== "NOT_NEEDED") exchange.abort?.abort(error);
  }

  private incoming(id: number, head: OpenHead, ended: boolean): void {
    const abort = new AbortController();
    const body = new IncomingBody(
      (bytes) => this.input({ do: "consumed", channel: id, bytes }),
      () => undefined, // A handler may answer without reading on; the caller is told when the answer is complete.
    );
    if (ended) body.end([]);
    const exchange: Exchange = { body, abort, over: false };
    this.exchanges.set(id, exchange);
    const { service, method, path, headers, deadlineMs, traceparent } = head;
    const request: IncomingRequest = { service, method, path, headers, body, signal: abort.signal };
    if (deadlineMs > 0) request.deadlineMs = deadlineMs;
    if (traceparent !== "") request.traceparent = traceparent;
    if (this.handler) void this.answer(id, exchange, this.handler, request);
    // The peer may ask in the same message as its HELLO: whoever waits for `ready` gets one turn to call `serve`.
    else setImmediate(() => void this.answer(id, exchange, this.handler ?? nothingServed, request));
  }

  private async answer(
    id: number,
    exchange: Exchange,
    handler: RequestHandler,
    request: IncomingRequest,
  ): Promise<void> {
    try {
      const response = await handler(request);
      const { status, headers = [], body, trailers = [] } = response;
      const empty = isEmpty(body) && trailers.length === 0;
      if (exchange.over) return await new BodySource(body).stop();
      if (!(status >= 200)) throw new RevdialError("HEAD_INVALID", `a response has no status ${status}`);
      this.input({ do: "head", channel: id, status, headers: travellingHeaders(headers), end: empty });
      if (!empty) await this.send(id, exchange, body, trailers);
    } catch (error) {
      if (!exchange.over) this.handlerFailed(id, error);
    } finally {
      this.input({ do: "handled", channel: id });
    }
  }

  private handlerFailed(id: number, error: unknown): void {
    if (error instanceof RevdialError && handlerCodes.has(error.code)) {
      const reason = error.message.slice(error.code.length + 2);
      return this.input({ do: "reset", channel: id, code: error.code as WireCodeName, reason });
    }
    // The cause stays on this side: it may name things that the caller should not see.
    this.input({ do: "reset", channel: id, code: "HANDLER_FAILED", reason: "the handler failed" });
    this.onHandlerError(error);
  }

  /** Sends a body as fast as the channel takes it. Rejects when its source fails; resolves when the source has stopped. */
  private async send(
    id: number,
    exchange: Exchange,
    body: Body | undefined,
    trailers: HeaderList,
  ): Promise<void> {
    const source = new BodySource(body);
    exchange.source = source;
    await source.run((bytes) => {
      this.input({ do: "data", channel: id, bytes });
      return !this.core.isFull(id);
    });
    if (!exchange.over) this.input({ do: "end", channel: id, trailers });
  }

  private coreClosed(code: RevdialErrorCode, reason: string): void {
    if (code === "DEAD_PEER") return this.finishTunnel({ code, reason }, "terminate");
    const last = this.core.nextMessage().parts;
    if (last !== undefined && !this.transportGone) this.transport.send(last);
    if (code !== "CLOSED") return this.finishTunnel({ code, reason }, 1002);
    this.finishTunnel(this.orderlyEnd(reason), 1000);
  }

  private orderlyEnd(reason: string): TunnelEnd {
    return this.peerGoaway ?? { code: "CLOSED", reason: this.closeReason ?? reason };
  }

  private transportClosed(reason: string): void {
    this.transportGone = true;
    this.closeTimer?.cancel();
    const orderly = this.peerGoaway !== undefined || (this.core.draining && this.core.size.live === 0);
    this.finishTunnel(orderly ? this.orderlyEnd(reason) : { code: "TRANSPORT_LOST", reason }, undefined);
    this.settleClosed.resolve(this.end as TunnelEnd);
  }

  /** The one way a tunnel ends: every promise settles, every timer stops, the transport is closed in bounded time. */
  private finishTunnel(end: TunnelEnd, how: number | "terminate" | undefined, cause?: unknown): void {
    if (this.end) return;
    this.end = end;
    this.timer?.cancel();
    this.drainTimer?.cancel();
    for (const [id, exchange] of this.exchanges) {
      exchange.cause ??= cause;
      const code = end.code === "CLOSED" ? "DRAINING" : end.code;
      this.finish(id, { code, reason: end.reason, sent: this.core.fateOf(id) });
    }
    this.core.input({ do: "stop" }, 0);
    this.settleReady.reject(new RevdialError(end.code, end.reason, { cause, ...retryAfter(end) }));
    this.listeners.clear();
    if (how === "terminate") this.transport.terminate();
    else if (how !== undefined) {
      this.closeTimer = this.clock.setTimer(CLOSE_HANDSHAKE_MS, () => this.transport.terminate());
      this.transport.close(how, end.code);
    }
  }
}

function retryAfter(end: TunnelEnd): { retryAfterMs?: number } {
  return end.retryAfterMs === undefined ? {} : { retryAfterMs: end.retryAfterMs };
}
