/**
 * The tunnel's brain: `input(message | event, now) → effects`, and `nextMessage()` for what to send. No sockets, timers,
 * clocks or dice; whatever the peer sends, it answers with effects, and a violation of SPEC ends in one GOAWAY and `close`.
 */
import { advance, type Channel, type ChannelEvent, channelTransitions, newChannel } from "./channel.ts";
import { Channels, type ChannelsSize } from "./channels.ts";
import type { CoreOptions, Effect, LocalEvent, PeerHello } from "./core-events.ts";
import {
  FIRST_FATAL_CODE,
  goawayCodeName,
  type RequestFate,
  RevdialError,
  type RevdialErrorCode,
  resetCodeName,
  type WireCodeName,
  wireCodes,
} from "./errors.ts";
import { FloodGuard } from "./flood.ts";
import { decodeMessage, encodeFrame, type Frame, type OpenHead } from "./frame.ts";
import type { HeaderList } from "./head.ts";
import { checkOwnLimits, commonLimits, greet, helloFrame } from "./hello.ts";
import type { TunnelLimits } from "./limits.ts";
import { Liveness } from "./liveness.ts";
import { Scheduler } from "./scheduler.ts";
import { Windows } from "./windows.ts";

const RESET_SPAN_MS = 10_000;
const CHANNEL_ID_MAX = 0xffff_ffff;
const SEND_CREDIT_MAX = 0x7fff_ffff;
/** RESET codes that say the handler never saw the request (SPEC §9). */
const refusals: ReadonlySet<number> = new Set([
  wireCodes.REFUSED,
  wireCodes.SERVICE_UNKNOWN,
  wireCodes.KIND_UNSUPPORTED,
  wireCodes.DRAINING,
]);

export class Core {
  private readonly options: CoreOptions;
  private readonly limits: TunnelLimits;
  private readonly channels: Channels;
  /** Requests made before the peer's HELLO told how much it takes. */
  private held: { channel: Channel; head: OpenHead; end: boolean }[] = [];
  private readonly scheduler: Scheduler;
  private readonly windows: Windows;
  private readonly opens: FloodGuard;
  private readonly resets: FloodGuard;
  private effects: Effect[] = [];
  private now: number;
  private readonly helloBy: number;
  private peer: PeerHello | undefined;
  private liveness: Liveness | undefined;
  private peerChannelsMax = 0;
  private peerWindowBytes = 0;
  private lastPeerChannel = 0;
  private nextChannel: number;
  private goawaySent = false;
  private goawayReceived = false;
  private closing = false;

  /** Error: ARGUMENT when the limits are below what SPEC §8 allows to state. */
  constructor(options: CoreOptions, now: number) {
    const { limits } = options;
    checkOwnLimits(limits);
    this.options = options;
    this.limits = limits;
    this.scheduler = new Scheduler(limits);
    this.windows = new Windows(limits);
    this.channels = new Channels(this.windows);
    this.opens = new FloodGuard("OPEN_FLOOD", limits.opensPerSecondMax, 1000);
    this.resets = new FloodGuard("RESET_FLOOD", limits.resetsPerWindowMax, RESET_SPAN_MS);
    this.nextChannel = options.dialled ? 1 : 2;
    this.now = now;
    this.helloBy = now + limits.helloTimeoutMs;
    this.send(helloFrame(options));
  }

  /** One message from the peer, or one event of ours. Local misuse throws and changes nothing; the peer's never does. */
  input(event: Uint8Array | LocalEvent, now: number): Effect[] {
    this.now = now;
    if (this.closing) return [];
    if (event instanceof Uint8Array) this.receive(event);
    else this.local(event);
    this.closeWhenDrained();
    return this.takeEffects();
  }

  /** Parts of the next message to hand to the transport. */
  nextMessage(): { parts: Uint8Array[] | undefined; effects: Effect[] } {
    const parts = this.scheduler.next((channel, ended) => {
      if (channel.full && channel.queue.byteLength <= this.limits.sendQueueBytes / 2) {
        channel.full = false;
        this.effects.push({ effect: "drained", channel: channel.id });
      }
      if (ended) this.localEnded(channel);
    });
    if (parts === undefined) this.closeWhenDrained();
    return { parts, effects: this.takeEffects() };
  }

  private takeEffects(): Effect[] {
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  /** The number for the next channel of ours. Errors, all not sent: CLOSED, DRAINING, REFUSED. */
  claimChannel(): number {
    if (this.closing) throw new RevdialError("CLOSED", "the tunnel is closed");
    if (this.draining) throw new RevdialError("DRAINING", "the tunnel takes no new requests");
    if (this.peer !== undefined && this.channels.outbound >= this.peerChannelsMax) {
      throw new RevdialError("REFUSED", "the peer's channels are all in use");
    }
    if (this.nextChannel > CHANNEL_ID_MAX) {
      throw new RevdialError("DRAINING", "the tunnel has used all its channel numbers");
    }
    const channel = this.nextChannel;
    this.nextChannel += 2;
    return channel;
  }

  get draining(): boolean {
    return this.goawaySent || this.goawayReceived;
  }

  /** What memory depends on, for tests and metrics. */
  get size(): ChannelsSize {
    return this.channels.size;
  }

  /** True when our producer must wait for `drained` before it queues more. */
  isFull(channel: number): boolean {
    return this.channels.get(channel)?.full ?? false;
  }

  /** Whether the peer can have seen the request on a channel of ours. */
  fateOf(channel: number): RequestFate {
    return this.channels.get(channel)?.openSent === false ? "not-sent" : "may-have-run";
  }

  /** When `tick` has to be called, at the latest. */
  get wakeAt(): number {
    if (this.closing) return Number.POSITIVE_INFINITY;
    return Math.min(this.liveness?.wakeAt ?? this.helloBy, this.channels.nextDeadlineAt);
  }

  private send(frame: Frame): void {
    this.scheduler.pushControl(encodeFrame(frame, this.scheduler.limits));
    if (this.scheduler.queuedControlBytes > this.limits.controlQueuedBytesMax) {
      this.fail(new RevdialError("CONTROL_FLOOD", "the peer does not read what it makes us answer"));
    }
  }

  private local(event: LocalEvent): void {
    switch (event.do) {
      case "notice": {
        const { notice, payload } = event;
        const frame = encodeFrame({ type: "notice", notice, payload }, this.scheduler.limits);
        if (this.peer !== undefined && this.scheduler.pushNotice(frame)) return;
        throw new RevdialError("NOTICE_DROPPED", "too many notices are waiting");
      }
      case "goaway":
        return this.goAway(event.code, event.retryAfterMs, event.reason);
      case "tick":
        return this.tick();
      case "stop":
        this.closing = true;
        return this.scheduler.clear();
      case "open":
        return this.open(event.channel, event.head, event.end);
      case "handled":
        return this.channels.handled(event.channel);
      case "consumed":
        return this.consumed(event.channel, event.bytes);
      default: {
        const channel = this.channels.get(event.channel);
        if (channel !== undefined) this.localOnChannel(channel, event); // Else it ended while the event was on its way.
      }
    }
  }

  private localOnChannel(channel: Channel, event: LocalEvent & { channel: number }): void {
    if (event.do === "head") {
      const { status, headers } = event;
      const end = event.end && status >= 200;
      const frame = encodeFrame(
        { type: "head", channel: channel.id, status, headers, end },
        this.scheduler.limits,
      );
      if (status >= 200) this.step(channel, "localHead");
      this.scheduler.pushHead(channel, frame, end);
    } else if (event.do === "data") {
      advance(channel.state, "localData");
      this.scheduler.pushBody(channel, event.bytes, undefined);
      channel.full = channel.queue.byteLength >= this.limits.sendQueueBytes;
    } else if (event.do === "end") {
      advance(channel.state, "localEnd");
      encodeFrame({ type: "end", channel: channel.id, trailers: event.trailers }, this.scheduler.limits);
      this.scheduler.pushBody(channel, new Uint8Array(), event.trailers);
    } else if (event.do === "reset") {
      this.reset(channel, event.code, event.reason);
    }
  }

  private open(id: number, head: OpenHead, end: boolean): void {
    const channel = newChannel(id, false, this.peerWindowBytes, this.limits.windowInitialBytes, this.now);
    const frame = encodeFrame({ type: "open", channel: id, end, ...head }, this.scheduler.limits);
    if (!this.windows.admit(channel)) throw new RevdialError("REFUSED", "the receive budget is used up");
    this.channels.add(channel, head.deadlineMs, this.now);
    channel.held = this.peer === undefined;
    if (channel.held) this.held.push({ channel, head, end });
    else this.scheduler.pushHead(channel, frame, end);
  }

  private consumed(id: number, bytes: number): void {
    const channel = this.channels.get(id);
    if (channel === undefined) return;
    const remoteEnded = channelTransitions[channel.state].remoteEnd === undefined;
    const credit = this.windows.consumed(channel, bytes, remoteEnded, this.now);
    if (credit > 0) this.send({ type: "credit", channel: id, bytes: credit });
  }

  /** Ends a channel from our side; the peer is told unless it never heard of it. */
  private reset(channel: Channel, code: WireCodeName, reason: string): void {
    const sent: RequestFate = channel.openSent ? "may-have-run" : "not-sent";
    if (channel.openSent) this.send({ type: "reset", channel: channel.id, code: wireCodes[code], reason });
    if (!this.closing) this.drop(channel, code, reason, sent);
  }

  /** Forgets a channel that ended before its time. */
  private drop(channel: Channel, code: RevdialErrorCode, reason: string, sent: RequestFate): void {
    this.scheduler.forget(channel);
    this.step(channel, "reset");
    this.effects.push({ effect: "reset", channel: channel.id, code, reason, sent });
  }

  /** Our END has left. A complete answer makes the rest of the request useless: the peer may stop sending it (SPEC §6.4). */
  private localEnded(channel: Channel): void {
    this.step(channel, "localEnd");
    if (!channel.inbound || channel.state !== "localEnded") return;
    this.send({ type: "reset", channel: channel.id, code: wireCodes.NOT_NEEDED, reason: "answered" });
    if (!this.closing) this.drop(channel, "NOT_NEEDED", "answered", "may-have-run");
  }

  private step(channel: Channel, event: ChannelEvent): void {
    const finished = this.channels.step(channel, event);
    if (finished) this.effects.push({ effect: "finished", channel: channel.id });
  }

  private goAway(code: WireCodeName, retryAfterMs: number, reason: string): void {
    if (this.goawaySent) return;
    this.goawaySent = true;
    for (const { channel } of this.held.splice(0)) {
      if (channel.state !== "closed")
        this.drop(channel, "DRAINING", "going away before the peer was there", "not-sent");
    }
    const lastChannel = this.lastPeerChannel;
    const goaway: Frame = { type: "goaway", lastChannel, code: wireCodes[code], retryAfterMs, reason };
    this.scheduler.pushHead(undefined, encodeFrame(goaway, this.limits), false);
  }

  private closeWhenDrained(): void {
    if (!this.draining || this.channels.live > 0 || !this.scheduler.idle) return;
    this.close("CLOSED", "nothing was left in flight");
  }

  private close(code: RevdialErrorCode, reason: string): void {
    if (this.closing) return;
    this.closing = true;
    this.scheduler.clear();
    this.effects.push({ effect: "close", code, reason });
  }

  /** The peer broke the protocol, or is dead: say so, once, and stop listening. */
  private fail(error: RevdialError): void {
    if (this.closing) return;
    const reason = error.message.slice(error.code.length + 2);
    this.close(error.code, reason);
    const code: number | undefined = (wireCodes as Partial<Record<string, number>>)[error.code];
    if (code === undefined) return;
    const goaway: Frame = {
      type: "goaway",
      lastChannel: this.lastPeerChannel,
      code,
      retryAfterMs: 0,
      reason,
    };
    this.scheduler.pushControl(encodeFrame(goaway, this.limits));
  }

  private tick(): void {
    for (const channel of this.channels.expired(this.now))
      this.reset(channel, "DEADLINE", "the deadline has passed");
    if (this.liveness === undefined) {
      if (this.now < this.helloBy) return;
      return this.fail(new RevdialError("HELLO_TIMEOUT", `no HELLO within ${this.limits.helloTimeoutMs} ms`));
    }
    const { ping, deadForMs } = this.liveness.tick(this.now);
    if (ping !== undefined) this.send({ type: "ping", token: ping });
    if (deadForMs !== undefined) {
      this.fail(new RevdialError("DEAD_PEER", `nothing heard for ${Math.round(deadForMs)} ms`));
    }
  }

  private receive(message: Uint8Array): void {
    this.liveness?.heard(this.now);
    try {
      for (const frame of decodeMessage(message, this.limits)) {
        this.frame(frame);
        if (this.closing) return;
      }
    } catch (error) {
      if (!(error instanceof RevdialError)) throw error;
      this.fail(error);
    }
  }

  private frame(frame: Frame): void {
    if (this.peer === undefined && frame.type !== "hello" && frame.type !== "goaway") {
      throw new RevdialError("HELLO_EXPECTED", `${frame.type} before HELLO`);
    }
    switch (frame.type) {
      case "hello":
        return this.peerHello(frame);
      case "ping":
        return this.send({ type: "pong", token: frame.token });
      case "pong": {
        const ms = this.liveness?.answered(frame.token, this.now);
        if (ms === undefined) return;
        this.windows.rttMs = ms;
        this.effects.push({ effect: "rtt", ms });
        return;
      }
      case "goaway":
        return this.peerGoesAway(frame);
      case "notice":
        this.effects.push({ effect: "notice", notice: frame.notice, payload: frame.payload });
        return;
      case "open":
        return this.peerOpens(frame);
      default:
        return this.channelFrame(frame);
    }
  }

  private peerHello(frame: Frame & { type: "hello" }): void {
    if (this.peer !== undefined) throw new RevdialError("HELLO_REPEATED", "a second HELLO");
    this.peer = greet(frame);
    this.peerChannelsMax = frame.channelsMax;
    this.peerWindowBytes = frame.windowBytes;
    this.scheduler.limits = commonLimits(this.limits, frame);
    const { pingIntervalMs, deadAfterMs } = this.options;
    this.liveness = new Liveness(pingIntervalMs, deadAfterMs, this.now);
    this.effects.push({ effect: "ready", peer: this.peer });
    this.sendHeld();
  }

  private sendHeld(): void {
    let room = this.peerChannelsMax;
    for (const { channel, head, end } of this.held.splice(0)) {
      if (channel.state === "closed") continue;
      channel.held = false;
      channel.sendCredit = this.peerWindowBytes;
      room -= 1;
      if (room < 0) {
        this.drop(channel, "REFUSED", "the peer's channels are all in use", "not-sent");
        continue;
      }
      try {
        const frame = encodeFrame({ type: "open", channel: channel.id, end, ...head }, this.scheduler.limits);
        this.scheduler.pushHead(channel, frame, end);
        this.scheduler.schedule(channel);
      } catch (error) {
        if (!(error instanceof RevdialError)) throw error;
        this.drop(channel, error.code, "the peer takes smaller heads", "not-sent");
      }
    }
  }

  private peerGoesAway(frame: Frame & { type: "goaway" }): void {
    const { code, retryAfterMs, reason, lastChannel } = frame;
    const fatal = code >= FIRST_FATAL_CODE;
    const fate = fatal ? goawayCodeName(code) : "DRAINING";
    this.goawayReceived = true;
    this.effects.push({ effect: "goaway", code, retryAfterMs, reason, lastChannel });
    for (const channel of this.channels.list()) {
      if (!channel.inbound && channel.id > lastChannel) this.drop(channel, fate, reason, "not-sent");
    }
    if (fatal) this.close(goawayCodeName(code), `the peer says: ${reason}`);
  }

  private peerOpens(frame: Frame & { type: "open" }): void {
    const { channel: id, end, kind, service, method, path, deadlineMs, traceparent, headers } = frame;
    if (this.isOurs(id) || id <= this.lastPeerChannel) {
      throw new RevdialError("CHANNEL_ID", `the peer may not open channel ${id}`);
    }
    this.opens.add(this.now);
    const refuse = (code: WireCodeName, reason: string) =>
      this.send({ type: "reset", channel: id, code: wireCodes[code], reason });
    // GOAWAY has named the last channel: what crossed it on the way is refused.
    if (this.goawaySent) return refuse("DRAINING", "going away");
    this.lastPeerChannel = id;
    if (kind !== 0) return refuse("KIND_UNSUPPORTED", "only requests are served");
    if (this.channels.slotsUsed >= this.limits.channelsMax) return refuse("REFUSED", "no free channel");
    const channel = newChannel(id, true, this.peerWindowBytes, this.limits.windowInitialBytes, this.now);
    if (!end && !this.windows.admit(channel)) return refuse("REFUSED", "no free memory");
    this.channels.add(channel, deadlineMs, this.now);
    if (end) this.step(channel, "remoteEnd");
    const head: OpenHead = { kind, service, method, path, deadlineMs, traceparent, headers };
    this.effects.push({ effect: "incoming", channel: id, head, end });
  }

  private isOurs(id: number): boolean {
    return (id % 2 === 1) === this.options.dialled;
  }

  private channelFrame(frame: Frame & { channel: number }): void {
    // Cancelling what one has opened is how floods are made; an answer to what we opened is not.
    if (frame.type === "reset" && !this.isOurs(frame.channel)) this.resets.add(this.now);
    const channel = this.channels.get(frame.channel);
    const opened = this.isOurs(frame.channel)
      ? frame.channel < this.nextChannel && channel?.openSent !== false
      : frame.channel <= this.lastPeerChannel || this.goawaySent;
    if (!opened)
      throw new RevdialError("CHANNEL_ID", `${frame.type} on channel ${frame.channel}, never opened`);
    if (channel === undefined) return; // Sent before our reset or end reached the peer.
    switch (frame.type) {
      case "head":
        return this.peerHead(channel, frame);
      case "data":
        return this.peerData(channel, frame.bytes, frame.end);
      case "end":
        return this.remoteEnd(channel, frame.trailers);
      case "credit":
        if (frame.bytes === 0) throw new RevdialError("CREDIT_INVALID", "a credit of 0 bytes");
        if (channel.sendCredit + frame.bytes > SEND_CREDIT_MAX) {
          throw new RevdialError("CREDIT_INVALID", "credit beyond 2^31 - 1 bytes");
        }
        channel.sendCredit += frame.bytes;
        return this.scheduler.schedule(channel);
      case "reset":
        return this.peerResets(channel, frame.code, frame.reason);
    }
  }

  private peerHead(channel: Channel, frame: Frame & { type: "head" }): void {
    const { status, headers, end } = frame;
    const next = advance(channel.state, "remoteHead");
    if (status < 200) return; // Interim heads change nothing; this version has nobody to show them to.
    channel.state = next;
    this.effects.push({ effect: "head", channel: channel.id, status, headers });
    if (end) this.remoteEnd(channel, []);
  }

  private peerResets(channel: Channel, code: number, reason: string): void {
    // The answer is complete and only our upload was unwanted: that is no failure.
    if (code === wireCodes.NOT_NEEDED && channel.state === "remoteEnded") {
      this.scheduler.forget(channel);
      return this.step(channel, "localEnd");
    }
    this.drop(channel, resetCodeName(code), reason, refusals.has(code) ? "not-sent" : "may-have-run");
  }

  private peerData(channel: Channel, bytes: Uint8Array, end: boolean): void {
    const next = advance(channel.state, "remoteData");
    this.windows.received(channel, bytes.byteLength);
    channel.state = next;
    channel.emptyData = bytes.byteLength === 0 && !end ? channel.emptyData + 1 : 0;
    if (channel.emptyData > this.limits.emptyDataMax)
      throw new RevdialError("EMPTY_FLOOD", "DATA without bytes");
    if (bytes.byteLength > 0) this.effects.push({ effect: "data", channel: channel.id, bytes });
    if (end) this.remoteEnd(channel, []);
  }

  private remoteEnd(channel: Channel, trailers: HeaderList): void {
    // "ended" goes out before a possible "finished", so that a reader sees the end of its body first.
    advance(channel.state, "remoteEnd");
    this.effects.push({ effect: "ended", channel: channel.id, trailers });
    this.windows.remoteEnded(channel);
    this.step(channel, "remoteEnd");
  }
}
