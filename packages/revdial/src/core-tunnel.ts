/**
 * Joins the pure core to a transport and a clock: effects become promises, bodies and calls of the handler. It promises
 * that everything it handed out settles whatever way the tunnel ends, and that nothing the peer sends throws out of it.
 */
import type { Duplex } from "node:stream";
import type { ChannelEnd, ChannelPort } from "./channel-end.ts";
import { ChannelEnds } from "./channel-ends.ts";
import { type Clock, systemClock, type Timer } from "./clock.ts";
import { connectOver } from "./connect.ts";
import { Core } from "./core.ts";
import type { Effect, LocalEvent, PeerHello } from "./core-events.ts";
import { DispatchEnd } from "./dispatch-end.ts";
import { TunnelDispatcher } from "./dispatcher.ts";
import { EffectQueue } from "./effect-queue.ts";
import { beforeSending, RevdialError, type RevdialErrorCode, type WireCodeName } from "./errors.ts";
import { checkHandler, goawayEnd, guarded, isEmpty, nothingServed, openHead, warn } from "./exchange.ts";
import { FlushTurn } from "./flush-turn.ts";
import type { Message, OpenHead } from "./frame.ts";
import { type HeaderList, travellingTrailers, withLength } from "./head.ts";
import { limitsOf, type TunnelLimits } from "./limits.ts";
import { Milestones } from "./milestones.ts";
import { checkNotice, type NoticeListener, NoticeListeners } from "./notices.ts";
import { defaults, fixed } from "./numbers.ts";
import { Observer, type TunnelMetrics } from "./observe.ts";
import { checkCloseOptions, checkTunnelOptions, coreOptionsOf } from "./options.ts";
import { RequestEnd } from "./request-end.ts";
import { ServeEnd } from "./serve-end.ts";
import { Summary } from "./summary.ts";
import type { Transport } from "./transport.ts";
import type {
  CloseOptions,
  ConnectOptions,
  RequestHandler,
  Tunnel,
  TunnelEnd,
  TunnelOptions,
  TunnelRequest,
  TunnelResponse,
} from "./tunnel.ts";
import { Wake } from "./wake.ts";

/** Error: ARGUMENT, with nothing started. */
export function createTunnel(transport: Transport, dialled: boolean, options: TunnelOptions = {}): Tunnel {
  checkTunnelOptions(options);
  return new CoreTunnel(transport, dialled, options);
}

class CoreTunnel extends Summary implements Tunnel, ChannelPort {
  readonly transport: string;
  peer: PeerHello | undefined;
  private readonly milestones = new Milestones();
  readonly ready = this.milestones.ready.promise;
  readonly reached = this.milestones.reached.promise;
  readonly goingAway = this.milestones.goingAway.promise;
  readonly closed = this.milestones.closed.promise;
  private readonly wire: Transport;
  private readonly clock: Clock;
  private readonly limits: TunnelLimits;
  readonly report: (error: unknown) => void;
  private readonly core: Core;
  private readonly ends: ChannelEnds;
  private readonly effects = new EffectQueue(
    (effect) => this.performOne(effect),
    (effect, error) => this.exchangeFailed(effect, error),
  );
  private readonly notices: NoticeListeners;
  private readonly observer = new Observer(this);
  private readonly wake: Wake;
  private handler: RequestHandler | undefined;
  private drainTimer: Timer | undefined;
  private closeTimer: Timer | undefined;
  private readonly turn = new FlushTurn(() => this.contain(() => this.flush()));
  /** When the peer's last byte came. */
  private heardAt: number | undefined;
  private peerGoaway: TunnelEnd | undefined;
  private closeReason: string | undefined;
  private over: TunnelEnd | undefined;
  private transportGone = false;
  private deafPeer = false;

  constructor(transport: Transport, dialled: boolean, options: TunnelOptions) {
    super();
    this.wire = transport;
    this.transport = transport.transport;
    this.clock = options.clock ?? systemClock;
    this.limits = limitsOf(options.limits);
    this.report = guarded(options.onHandlerError ?? warn);
    this.notices = new NoticeListeners(this.report);
    this.ends = new ChannelEnds(this.observer, this.report);
    this.wake = new Wake(this.clock, () => this.contain(() => this.tick()));
    this.core = new Core(coreOptionsOf(options, this.limits, dialled), this.clock.now());
    this.wire.start({
      bytes: () => {
        this.heardAt = this.clock.now();
      },
      message: (message) => this.contain(() => this.input(this.observer.received(message))),
      text: () => this.contain(() => this.input({ do: "text" })),
      foreign: (reason) => this.finishTunnel({ code: "PROTOCOL_VERSION", reason }, 1002),
      deaf: (reason) => this.contain(() => this.peerDeaf(reason)),
      drain: () => this.contain(() => this.flush()),
      closed: (reason) => this.transportClosed(reason),
    });
    this.flush();
    this.wake.set(this.core.wakeAt);
  }

  get rttMs(): number | undefined {
    return this.wire.rttMs ?? this.observer.pingMs;
  }

  get draining(): boolean {
    return this.core.draining || this.deafPeer || this.over !== undefined;
  }

  get load(): number {
    return this.core.live;
  }

  get metrics(): TunnelMetrics {
    return this.observer.snapshot(this.core, this.wire.queuedBytes);
  }

  toJSON() {
    const state = this.over ? "ended" : this.draining ? "draining" : this.peer ? "ready" : "opening";
    return { transport: this.transport, state, load: this.load };
  }

  async request(request: TunnelRequest): Promise<TunnelResponse> {
    const end = new RequestEnd(this, request);
    const channel = beforeSending(() => {
      const head = openHead(request);
      return this.open(head, isEmpty(request.body) && request.upgrade === undefined, end);
    });
    end.start(channel);
    return end.answer;
  }

  connect(service: string, options?: ConnectOptions): Promise<Duplex> {
    return connectOver(this, this.clock, service, options);
  }

  dispatcher(service: string): TunnelDispatcher {
    return new TunnelDispatcher(service, (handler) => new DispatchEnd(this, service, handler));
  }

  /** Opens a channel of ours; its number. Errors, all not sent: CLOSED, DRAINING, REFUSED, and the codec's. */
  open(head: OpenHead, ended: boolean, end: ChannelEnd): number {
    this.checkNotOver();
    if (this.deafPeer) throw new RevdialError("DRAINING", "the peer takes nothing any more");
    const channel = this.core.claimChannel();
    this.input({ do: "open", channel, head, end: ended });
    this.checkNotOver(); // By the very input: all ends have been told by now, and this one would never be.
    this.ends.set(channel, end);
    this.observer.opened(channel, false, head);
    this.turn.exchange(this.core.live <= 1);
    return channel;
  }

  private checkNotOver(): void {
    if (this.over) throw new RevdialError("CLOSED", `the tunnel has ended: ${this.over.code}`);
  }

  head(channel: number, status: number, length: number | undefined, headers: HeaderList, end: boolean): void {
    this.input({ do: "head", channel, status, length, headers, end });
  }

  data(channel: number, bytes: Uint8Array): boolean {
    this.input({ do: "data", channel, bytes });
    return !this.core.isFull(channel);
  }

  end(channel: number, trailers: HeaderList): void {
    if (!Array.isArray(trailers)) throw new RevdialError("ARGUMENT", "the trailers are no list of pairs");
    this.input({ do: "end", channel, trailers: travellingTrailers(trailers) });
    this.turn.exchange(this.core.live <= 1);
  }

  reset(channel: number, code: WireCodeName, reason: string): void {
    this.input({ do: "reset", channel, code, reason });
  }

  consumed(channel: number, bytes: number): void {
    if (!this.over) this.input({ do: "consumed", channel, bytes }); // Ends drop what they hold as it goes.
  }

  handled(channel: number): void {
    this.contain(() => this.input({ do: "handled", channel })); // Nobody waits for the handler's end.
  }

  serve(handler: RequestHandler): void {
    checkHandler(handler);
    if (this.handler !== undefined) throw new RevdialError("ARGUMENT", "the tunnel has a handler already");
    this.handler = handler;
  }

  notify(type: string, payload: Uint8Array): boolean {
    checkNotice(type, payload);
    if (this.over || this.deafPeer) return false;
    try {
      this.input({ do: "notice", notice: type, payload });
      return true;
    } catch (error) {
      if (error instanceof RevdialError && error.code === "NOTICE_DROPPED") return false;
      throw error;
    }
  }

  onNotice(listener: NoticeListener): () => void {
    return this.notices.add(listener);
  }

  close(options: CloseOptions = {}): Promise<TunnelEnd> {
    checkCloseOptions(options);
    if (this.over || this.closeReason !== undefined) return this.closed;
    const { retryAfterMs = defaults.close.retryAfterMs, drainMs = defaults.close.drainMs } = options;
    const { code = "DRAINING", reason = "closing" } = options;
    this.closeReason = reason;
    this.drainTimer?.cancel();
    this.drainTimer = this.clock.setTimer(drainMs, () => {
      this.contain(() => this.flush()); // The time may be shorter than a turn, and the GOAWAY still here.
      this.finishTunnel({ code: "CLOSED", reason: `still busy ${drainMs} ms after GOAWAY` }, 1001);
    });
    this.input({ do: "goaway", code, retryAfterMs, reason });
    return this.closed;
  }

  destroy(reason?: Error): void {
    const end: TunnelEnd = { code: "DESTROYED", reason: reason?.message ?? "destroyed here" };
    this.finishTunnel(end, "terminate", reason);
  }

  private input(event: Message | LocalEvent): void {
    this.effects.perform(this.core.input(event, this.clock.now()));
    this.wake.noLaterThan(this.core.wakeAt);
    if (!this.over) this.turn.soon();
  }

  /** A mistake of this library must cost one tunnel, not the process: it is reported, and the tunnel is over. */
  private contain(run: () => void): void {
    if (this.over) return;
    try {
      run();
    } catch (error) {
      this.broken(error);
    }
  }

  private broken(error: unknown): void {
    this.report(error);
    this.finishTunnel({ code: "DESTROYED", reason: "an internal error" }, "terminate", error);
  }

  private flush(): void {
    this.turn.flushed();
    const now = this.clock.now();
    while (!this.over && this.wire.queuedBytes < this.limits.socketQueueBytes) {
      const { parts, effects } = this.core.nextMessage(now, this.wire.queuedBytes);
      if (parts !== undefined) this.wire.send(this.observer.sent(parts));
      this.effects.perform(effects);
      if (parts === undefined) return;
    }
  }

  private tick(): void {
    this.input({ do: "tick", heardAt: this.heardAt });
    if (!this.over) this.wake.set(this.core.wakeAt);
  }

  /** What a callback throws costs its own exchange: the rest of the message is performed all the same. */
  private exchangeFailed(effect: Effect, error: unknown): void {
    if (!("channel" in effect)) throw error;
    this.report(error);
    const { channel } = effect;
    const end = this.ends.get(channel);
    if (!end) return;
    const code = end instanceof ServeEnd ? "HANDLER_FAILED" : "CANCELLED";
    const reason = "a listener of the exchange failed";
    // At once: it must not hear what else the message brings, which is dropped.
    this.ends.finishGuarded(channel, { code, reason, sent: this.core.fateOf(channel) }, error);
    this.reset(channel, code, reason);
  }

  /** Nothing once the tunnel is over: all its ends have been told, and a request that comes after that would never be. */
  private performOne(effect: Effect): void {
    if (this.over) return;
    const end = "channel" in effect ? this.ends.get(effect.channel) : undefined;
    switch (effect.effect) {
      case "ready":
        this.peer = effect.peer;
        this.milestones.ready.resolve();
        return this.observer.ready();
      case "incoming":
        return this.incoming(effect.channel, effect.head, effect.end);
      case "interim":
        return end?.onInterim(effect.status, effect.headers);
      case "head":
        return end?.onHead(effect.status, withLength(effect.headers, effect.length));
      case "data":
        return end ? end.onData(effect.bytes) : this.consumed(effect.channel, effect.bytes.byteLength);
      case "ended":
        return end?.onEnded(effect.trailers);
      case "drained":
        return end?.onDrained();
      case "finished":
        return this.ends.finish(effect.channel, undefined);
      case "reset":
        return this.ends.finish(effect.channel, effect);
      case "notice":
        return this.notices.deliver(effect.notice, effect.payload);
      case "goaway":
        this.peerGoaway = goawayEnd(effect);
        return this.milestones.goingAway.resolve(this.peerGoaway);
      case "leaving":
        return this.milestones.goingAway.resolve({ code: "CLOSED", reason: effect.reason });
      case "handedOver":
        return this.boundWriting();
      case "rtt":
        this.observer.answered(effect.ms);
        return this.milestones.reached.resolve();
      case "close":
        return this.coreClosed(effect.code, effect.reason);
    }
  }

  private incoming(channel: number, head: OpenHead, ended: boolean): void {
    const end = new ServeEnd(this, channel, head, ended);
    this.ends.set(channel, end);
    this.observer.opened(channel, true, head);
    if (this.handler) void end.serve(this.handler);
    // The peer may ask in the same message as its HELLO: whoever waits for `ready` gets one turn to call `serve`.
    else setImmediate(() => void end.serve(this.handler ?? nothingServed));
  }

  /** Nothing is left but to write: a peer that reads nothing would hold us for ever, where no drain of ours bounds it. */
  private boundWriting(): void {
    const { drainMs } = defaults.close;
    this.drainTimer ??= this.clock.setTimer(drainMs, () =>
      this.finishTunnel(this.orderlyEnd(`not written within ${drainMs} ms`), 1001),
    );
  }

  private coreClosed(code: RevdialErrorCode, reason: string): void {
    if (code === "DEAD_PEER") return this.finishTunnel({ code, reason }, "terminate");
    const last = this.core.nextMessage(this.clock.now()).parts;
    if (last !== undefined && !this.transportGone) this.wire.send(last);
    if (code !== "CLOSED")
      return this.finishTunnel({ code, reason }, code === "MESSAGE_NOT_BINARY" ? 1003 : 1002);
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
    this.milestones.closed.resolve(this.over as TunnelEnd);
  }

  /** What has not left never will. What has may be answered yet, and the peer may say why: that is heard until the end. */
  private peerDeaf(reason: string): void {
    this.deafPeer = true;
    const end: TunnelEnd = { code: "TRANSPORT_LOST", reason };
    this.milestones.goingAway.resolve(end);
    const unsent = this.ends.keys().filter((channel) => this.core.fateOf(channel) === "not-sent");
    for (const channel of unsent) this.ends.finishGuarded(channel, { ...end, sent: "not-sent" }, undefined);
    for (const channel of unsent) this.reset(channel, "CANCELLED", reason);
  }

  /** The one way a tunnel ends: every promise settles, every timer stops, the transport is closed in bounded time. */
  private finishTunnel(end: TunnelEnd, how: number | "terminate" | undefined, cause?: unknown): void {
    if (this.over) return;
    this.over = end;
    this.observer.closed(end);
    this.wake.cancel();
    this.drainTimer?.cancel();
    const code = end.code === "CLOSED" ? "DRAINING" : end.code;
    for (const channel of this.ends.keys())
      this.ends.finishGuarded(channel, { code, reason: end.reason, sent: this.core.fateOf(channel) }, cause);
    this.core.input({ do: "stop" }, 0);
    this.milestones.over(end, cause);
    this.notices.clear();
    if (how === "terminate") this.wire.terminate();
    else if (how !== undefined) {
      this.closeTimer = this.clock.setTimer(fixed.closeTimeoutMs, () => this.wire.terminate());
      this.wire.close(how, end.code);
    }
  }
}
