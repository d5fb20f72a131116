/**
 * The tunnel's brain: `input(message | event, now) → effects`, and `nextMessage(now)` for what to send. No sockets, timers,
 * clocks or dice; whatever the peer sends, it answers with effects, and a violation of SPEC ends in one GOAWAY and `close`.
 * Here is the tunnel as a whole (HELLO, liveness, GOAWAY, its end); what happens on channels is in channel-life.ts.
 */
import { ChannelLife } from "./channel-life.ts";
import type { ChannelsSize } from "./channels.ts";
import type { CoreOptions, Effect, LocalEvent, PeerHello } from "./core-events.ts";
import { decodeMessage } from "./decode.ts";
import { encodeFrame } from "./encode.ts";
import {
  FIRST_FATAL_CODE,
  goawayCodeName,
  type RequestFate,
  RevdialError,
  type RevdialErrorCode,
  type WireCodeName,
  wireCodes,
} from "./errors.ts";
import type { Frame, Message } from "./frame.ts";
import { commonLimits, greet, helloFrame } from "./hello.ts";
import { checkLimits, type TunnelLimits } from "./limits.ts";
import { Liveness } from "./liveness.ts";
import { fixed } from "./numbers.ts";
import { Scheduler } from "./scheduler.ts";
import { Windows } from "./windows.ts";

const none: readonly Effect[] = [];
const CHANNEL_ID_MAX = 0xffff_ffff;
/** Every second of them is ours. */
const CHANNEL_IDS_KEPT = 2 * fixed.channelNumbersKept;

export class Core {
  private readonly options: CoreOptions;
  private readonly limits: TunnelLimits;
  private readonly scheduler: Scheduler;
  private readonly life: ChannelLife;
  private effects: Effect[] = [];
  private now: number;
  private readonly helloBy: number;
  private peer: PeerHello | undefined;
  private liveness: Liveness | undefined;
  /** The peer's highest OPEN, and the highest that was not refused because we go away: what a GOAWAY names. */
  private lastPeerOpen = 0;
  private lastPeerChannel = 0;
  private nextChannel: number;
  /** Our highest OPEN that has been handed to the transport. */
  private lastOpen = 0;
  private goawaySent = false;
  private goawaysReceived = 0;
  /** The transport may hold what it has not written. */
  private unwritten = false;
  private handedOver = false;
  private closing = false;

  /** Error: ARGUMENT for limits outside the bounds of SPEC §8. */
  constructor(options: CoreOptions, now: number) {
    const { limits } = options;
    checkLimits(limits);
    this.options = options;
    this.limits = limits;
    this.scheduler = new Scheduler(limits);
    this.life = new ChannelLife(limits, new Windows(limits, options.growthPool), this.scheduler, {
      emit: (effect) => void this.effects.push(effect),
      answer: (frame) => this.answer(frame),
      tell: (frame) => this.tell(frame),
    });
    this.nextChannel = options.dialled ? 1 : 2;
    this.now = now;
    this.helloBy = now + limits.helloTimeoutMs;
    this.answer(helloFrame(options)); // With what comes before everything else, and first of it.
  }

  /** One message from the peer, or one event of ours. Local misuse throws and changes nothing; the peer's never does. */
  input(event: Message | LocalEvent, now: number): readonly Effect[] {
    this.now = now;
    if (this.closing) {
      if ("do" in event && event.do === "stop") this.stop();
      return none;
    }
    if ("do" in event) this.local(event);
    else this.receive(event);
    this.grant();
    this.closeWhenDrained();
    return this.takeEffects();
  }

  /** Parts of the next message to hand to the transport, in which so many bytes of earlier ones wait. */
  nextMessage(now: number, queuedBytes = 0): { parts: Uint8Array[] | undefined; effects: readonly Effect[] } {
    this.now = now;
    this.grant();
    if (this.nextChannel > CHANNEL_ID_MAX - CHANNEL_IDS_KEPT && !this.closing)
      this.goAway("DRAINING", 0, "few channel numbers are left");
    const parts = this.scheduler.next(now, (channel, ended) => {
      if (!channel.inbound && channel.id > this.lastOpen) this.lastOpen = channel.id;
      if (this.life.drained(channel)) this.effects.push({ effect: "drained", channel: channel.id });
      if (ended) this.life.localEnded(channel);
    });
    if (parts !== undefined) this.unwritten = true;
    else if (queuedBytes === 0) this.unwritten = false;
    this.closeWhenDrained();
    return { parts, effects: this.takeEffects() };
  }

  /** Slots that are free again are the peer's to use. */
  private grant(): void {
    const channels = this.life.grants.due(this.now);
    if (channels > 0 && !this.draining) this.answer({ type: "grant", channels });
  }

  private takeEffects(): readonly Effect[] {
    const { effects } = this;
    if (effects.length === 0) return none;
    this.effects = [];
    return effects;
  }

  /** The number for the next channel of ours. Errors, all not sent: CLOSED, DRAINING, REFUSED. */
  claimChannel(): number {
    if (this.closing) throw new RevdialError("CLOSED", "the tunnel is closed");
    if (this.draining) throw new RevdialError("DRAINING", "the tunnel takes no new requests");
    if (this.life.full) throw new RevdialError("REFUSED", "the peer's channels are all in use");
    if (this.nextChannel > CHANNEL_ID_MAX) {
      throw new RevdialError("DRAINING", "the tunnel has used all its channel numbers");
    }
    const channel = this.nextChannel;
    this.nextChannel += 2;
    return channel;
  }

  get draining(): boolean {
    return this.goawaySent || this.goawaysReceived > 0;
  }

  /** Channels that are not closed. */
  get live(): number {
    return this.life.channels.live;
  }

  /** Times a channel had more to send than its peer had granted. */
  get creditStalls(): number {
    return this.scheduler.creditStalls;
  }

  /** OPENs of the peer that got no channel. */
  get opensRefused(): number {
    return this.life.opensRefused;
  }

  /** Body bytes that wait for credit or for their turn. */
  get bodyBytes(): number {
    return this.scheduler.bodyBytes;
  }

  /** What memory depends on, for tests and metrics. */
  get size(): ChannelsSize {
    return this.life.channels.size;
  }

  /** True when our producer must wait for `drained` before it queues more. */
  isFull(channel: number): boolean {
    return this.life.channels.get(channel)?.full ?? false;
  }

  /** Whether the peer can have seen the request on a channel of ours. */
  fateOf(channel: number): RequestFate {
    return this.life.channels.get(channel)?.openSent === false ? "not-sent" : "may-have-run";
  }

  /** When `tick` has to be called, at the latest. */
  get wakeAt(): number {
    if (this.closing) return Number.POSITIVE_INFINITY;
    return Math.min(this.liveness?.wakeAt ?? this.helloBy, this.life.wakeAt);
  }

  private tell(frame: Frame): void {
    if (!this.closing) this.scheduler.pushControl(encodeFrame(frame, this.scheduler.limits));
  }

  /** What the peer makes us say; false when the tunnel is over. */
  private answer(frame: Frame): boolean {
    if (this.closing) return false;
    this.scheduler.pushAnswer(encodeFrame(frame, this.scheduler.limits));
    if (this.scheduler.answerBytes <= this.limits.controlQueuedBytesMax) return true;
    this.fail(new RevdialError("CONTROL_FLOOD", "the peer does not read what it makes us answer"));
    return false;
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
        return this.tick(event.heardAt);
      case "stop":
        return this.stop();
      case "text":
        return this.fail(new RevdialError("MESSAGE_NOT_BINARY", "a message is not binary"));
      case "open":
        return this.life.open(event.channel, event.head, event.end, this.now);
      case "handled":
        return this.life.channels.handled(event.channel);
      case "consumed":
        return this.life.consumed(event.channel, event.bytes, this.now);
      default: {
        const channel = this.life.channels.get(event.channel);
        if (channel !== undefined) this.life.local(channel, event); // Else it ended while the event was on its way.
      }
    }
  }

  /** Also when it is over already: what its channels hold is needed until then, to say what became of each. */
  private stop(): void {
    this.closing = true;
    this.scheduler.clear();
    this.life.clear();
  }

  private goAway(code: WireCodeName, retryAfterMs: number, reason: string): void {
    if (this.goawaySent) return;
    this.goawaySent = true;
    this.life.dropWaiting();
    const lastChannel = this.lastPeerChannel;
    const backMs = Math.ceil(retryAfterMs);
    const goaway: Frame = {
      type: "goaway",
      lastChannel,
      code: wireCodes[code],
      retryAfterMs: backMs,
      reason,
    };
    this.scheduler.pushHead(undefined, encodeFrame(goaway, this.limits), false);
    this.effects.push({ effect: "leaving", reason });
  }

  private closeWhenDrained(): void {
    if (this.closing || !this.draining || this.life.channels.live > 0 || !this.scheduler.idle) return;
    // Before the peer's HELLO there is nothing to lose, and perhaps nobody who reads.
    if (!this.unwritten || this.peer === undefined) return this.close("CLOSED", "nothing was left in flight");
    // A close that is sent now would have to be answered sooner than the path may carry what is before it.
    if (!this.handedOver) this.effects.push({ effect: "handedOver" });
    this.handedOver = true;
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

  private tick(heardAt = Number.NEGATIVE_INFINITY): void {
    this.life.tick(this.now);
    this.liveness?.heard(heardAt);
    if (this.liveness === undefined) {
      if (this.now < this.helloBy) return;
      return this.fail(new RevdialError("HELLO_TIMEOUT", `no HELLO within ${this.limits.helloTimeoutMs} ms`));
    }
    const { ping, deadForMs } = this.liveness.tick(this.now);
    if (ping !== undefined) {
      this.tell({ type: "ping", token: ping });
      this.life.endStalled(this.now);
    }
    if (deadForMs !== undefined) {
      this.fail(new RevdialError("DEAD_PEER", `nothing heard for ${Math.round(deadForMs)} ms`));
    }
  }

  private receive(message: Message): void {
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
        this.answer({ type: "pong", token: frame.token });
        return;
      case "pong": {
        const ms = this.liveness?.answered(frame.token, this.now);
        if (ms === undefined) return;
        this.life.windows.measured(ms);
        this.effects.push({ effect: "rtt", ms });
        return;
      }
      case "goaway":
        return this.peerGoesAway(frame);
      case "notice":
        this.effects.push({ effect: "notice", notice: frame.notice, payload: frame.payload });
        return;
      case "grant":
        return this.life.peerGrants(frame.channels);
      case "open":
        return this.peerOpens(frame);
      default:
        return this.channelFrame(frame);
    }
  }

  private peerHello(frame: Frame & { type: "hello" }): void {
    if (this.peer !== undefined) throw new RevdialError("HELLO_REPEATED", "a second HELLO");
    this.peer = greet(frame);
    this.scheduler.limits = commonLimits(this.limits, frame);
    const { pingIntervalMs, deadAfterMs } = this.options;
    this.liveness = new Liveness(pingIntervalMs, deadAfterMs, this.now);
    this.effects.push({ effect: "ready", peer: this.peer });
    this.life.peerGreets(frame);
  }

  private peerGoesAway(frame: Frame & { type: "goaway" }): void {
    const { code, retryAfterMs, reason, lastChannel } = frame;
    const fatal = code >= FIRST_FATAL_CODE;
    const fate = fatal ? goawayCodeName(code) : "DRAINING";
    this.goawaysReceived += 1;
    if (this.goawaysReceived > fixed.goawaysMax)
      throw new RevdialError("CONTROL_FLOOD", `more than ${fixed.goawaysMax} GOAWAYs`);
    this.effects.push({ effect: "goaway", code, retryAfterMs, reason, lastChannel });
    for (const channel of this.life.channels.list()) {
      // What has not left by now must not leave any more, whatever number the peer names.
      const failed = channel.id > lastChannel || !channel.openSent;
      if (!channel.inbound && failed) this.life.refused(channel, fate, reason);
    }
    if (fatal) this.close(goawayCodeName(code), `the peer says: ${reason}`);
  }

  private peerOpens(frame: Frame & { type: "open" }): void {
    const { channel: id, end } = frame;
    if (this.isOurs(id) || id <= this.lastPeerOpen) {
      throw new RevdialError("CHANNEL_ID", `the peer may not open channel ${id}`);
    }
    this.lastPeerOpen = id;
    this.life.grants.opened();
    if (this.goawaySent) {
      // GOAWAY has named the last channel: what crossed it on the way is refused.
      this.life.opensRefused += 1;
      this.answer({ type: "reset", channel: id, code: wireCodes.DRAINING, reason: "going away" });
      return;
    }
    this.lastPeerChannel = id;
    this.life.accept(id, frame, end, this.now);
  }

  private isOurs(id: number): boolean {
    return (id % 2 === 1) === this.options.dialled;
  }

  private channelFrame(frame: Frame & { channel: number }): void {
    const { channel: id } = frame;
    if (id > (this.isOurs(id) ? this.lastOpen : this.lastPeerOpen))
      throw new RevdialError("CHANNEL_ID", `${frame.type} on channel ${id}, never opened`);
    const channel = this.life.channels.get(id);
    // A closed one: this was sent before our reset or end reached the peer.
    if (channel !== undefined) this.life.receive(channel, frame);
  }
}
