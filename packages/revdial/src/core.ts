/**
 * The tunnel's brain: `input(message | event, now) → effects`, and `nextMessage()` for what to send. No sockets, timers,
 * clocks or dice; whatever the peer sends, it answers with effects, and a violation of SPEC ends in one GOAWAY and `close`.
 */
import { advance, type Channel, channelTransitions, newChannel } from "./channel.ts";
import {
  type RequestFate,
  RevdialError,
  type RevdialErrorCode,
  resetCodeName,
  type WireCodeName,
  wireCodes,
} from "./errors.ts";
import { decodeMessage, encodeFrame, type Frame, type OpenHead, PROTOCOL_VERSION } from "./frame.ts";
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";
import { Scheduler } from "./scheduler.ts";
import { Windows } from "./windows.ts";

export interface PeerHello {
  version: number;
  /** What the peer calls itself, such as `wolf-revdial-client/0.1.0`. */
  agent: string;
  incarnation: bigint;
  features: readonly string[];
}

export type LocalEvent =
  | { do: "open"; channel: number; head: OpenHead; end: boolean }
  | { do: "head"; channel: number; status: number; headers: HeaderList; end: boolean }
  | { do: "data"; channel: number; bytes: Uint8Array }
  | { do: "end"; channel: number; trailers: HeaderList }
  | { do: "reset"; channel: number; code: WireCodeName; reason: string }
  /** The reader took this many body bytes: they become credit. */
  | { do: "consumed"; channel: number; bytes: number }
  /** The handler of an inbound channel has returned: its slot is free. */
  | { do: "handled"; channel: number }
  | { do: "notice"; notice: string; payload: Uint8Array }
  | { do: "goaway"; code: WireCodeName; retryAfterMs: number; reason: string }
  | { do: "tick" };

export type Effect =
  | { effect: "ready"; peer: PeerHello }
  | { effect: "incoming"; channel: number; head: OpenHead; end: boolean }
  | { effect: "head"; channel: number; status: number; headers: HeaderList }
  | { effect: "data"; channel: number; bytes: Uint8Array }
  | { effect: "ended"; channel: number; trailers: HeaderList }
  /** The channel's queue has room again. */
  | { effect: "drained"; channel: number }
  /** The channel is over before its time, by either side or by its deadline. */
  | { effect: "reset"; channel: number; code: RevdialErrorCode; reason: string; sent: RequestFate }
  /** Both directions are finished: the channel is forgotten. */
  | { effect: "finished"; channel: number }
  | { effect: "notice"; notice: string; payload: Uint8Array }
  | { effect: "goaway"; code: number; retryAfterMs: number; reason: string; lastChannel: number }
  | { effect: "rtt"; ms: number }
  /** The transport has to be closed; what `nextMessage` still holds is sent first. */
  | { effect: "close"; code: RevdialErrorCode; reason: string };

export interface CoreOptions {
  limits: TunnelLimits;
  /** The side that dialled opens odd channels, the side that accepted even ones. */
  dialled: boolean;
  agent: string;
  incarnation: bigint;
  features: readonly string[];
  pingIntervalMs: number;
  deadAfterMs: number;
}

const PINGS_UNANSWERED_MAX = 3;
/** Deadlines are looked at this often while there are any. */
const DEADLINE_TICK_MS = 50;

export class Core {
  private readonly options: CoreOptions;
  private readonly limits: TunnelLimits;
  private readonly channels = new Map<number, Channel>();
  /** Inbound channels whose handler has not returned, closed ones included. */
  private readonly handling = new Set<number>();
  private readonly scheduler: Scheduler;
  private readonly windows: Windows;
  private effects: Effect[] = [];
  private now: number;
  private readonly startedAt: number;
  private peer: PeerHello | undefined;
  private peerChannelsMax = 0;
  private peerWindowBytes = 0;
  private lastPeerChannel: number;
  private nextChannel: number;
  private outbound = 0;
  private deadlines = 0;
  private opensAt = 0;
  private opens = 0;
  private resetsAt = 0;
  private resets = 0;
  private pingToken = 0n;
  private readonly pings = new Map<bigint, number>();
  private pingedAt: number;
  private heardAt: number;
  private goawaySent = false;
  private goawayReceived = false;
  private closing = false;

  constructor(options: CoreOptions, now: number) {
    this.options = options;
    this.limits = options.limits;
    this.scheduler = new Scheduler(options.limits);
    this.windows = new Windows(options.limits);
    this.nextChannel = options.dialled ? 1 : 2;
    this.lastPeerChannel = options.dialled ? 0 : -1;
    this.now = now;
    this.startedAt = now;
    this.pingedAt = now;
    this.heardAt = now;
    this.send({
      type: "hello",
      version: PROTOCOL_VERSION,
      channelsMax: options.limits.channelsMax,
      windowBytes: options.limits.windowInitialBytes,
      headBytesMax: options.limits.headBytesMax,
      dataBytesMax: options.limits.dataBytesMax,
      noticeBytesMax: options.limits.noticeBytesMax,
      messageBytesMax: options.limits.messageBytesMax,
      incarnation: options.incarnation,
      agent: options.agent,
      features: options.features,
    });
  }

  /** One message from the peer, or one event of ours. Local misuse throws; the peer's never does. */
  input(event: Uint8Array | LocalEvent, now: number): Effect[] {
    this.now = now;
    if (event instanceof Uint8Array) this.receive(event);
    else if (!this.closing || event.do === "handled") this.local(event);
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  /** Parts of the next message to hand to the transport. */
  nextMessage(): { parts: Uint8Array[] | undefined; effects: Effect[] } {
    const parts = this.scheduler.next((channel, ended) => {
      if (ended) this.localEnded(channel);
      if (channel.full && channel.queuedBytes < this.limits.sendQueueBytes / 2) {
        channel.full = false;
        this.effects.push({ effect: "drained", channel: channel.id });
      }
    });
    const effects = this.effects;
    this.effects = [];
    return { parts, effects };
  }

  /** The number for the next channel of ours. Errors: CLOSED, DRAINING, REFUSED (all not sent). */
  claimChannel(): number {
    if (this.closing) throw new RevdialError("CLOSED", "the tunnel is closed");
    if (this.draining) throw new RevdialError("DRAINING", "the tunnel takes no new requests");
    if (this.peer === undefined) throw new RevdialError("HELLO_EXPECTED", "the tunnel is not ready");
    if (this.outbound >= this.peerChannelsMax)
      throw new RevdialError("REFUSED", "the peer's channels are all in use");
    if (this.nextChannel > 0xffff_fff0)
      throw new RevdialError("DRAINING", "the tunnel has used all its channel numbers");
    const channel = this.nextChannel;
    this.nextChannel += 2;
    return channel;
  }

  get draining(): boolean {
    return this.goawaySent || this.goawayReceived;
  }

  get liveChannels(): number {
    return this.channels.size;
  }

  /** True when our producer must wait for `drained` before it queues more. */
  isFull(channel: number): boolean {
    return this.channels.get(channel)?.full ?? false;
  }

  /** Milliseconds until `tick` has to be called again. */
  wakeInMs(): number {
    if (this.deadlines > 0) return DEADLINE_TICK_MS;
    const until =
      this.peer === undefined
        ? this.startedAt + this.limits.helloTimeoutMs
        : this.pingedAt + this.options.pingIntervalMs;
    return Math.max(1, until - this.now);
  }

  private send(frame: Frame): void {
    this.scheduler.pushControl(encodeFrame(frame, this.limits));
    if (this.scheduler.queuedControlBytes > this.limits.controlQueuedBytesMax) {
      this.fail(new RevdialError("CONTROL_FLOOD", "the peer does not read what it makes us answer"));
    }
  }

  private local(event: LocalEvent): void {
    if (event.do === "notice") {
      const frame = encodeFrame(
        { type: "notice", notice: event.notice, payload: event.payload },
        this.limits,
      );
      if (!this.scheduler.pushNotice(frame))
        throw new RevdialError("CONTROL_FLOOD", "too many notices are waiting");
      return;
    }
    if (event.do === "goaway") return this.goAway(event.code, event.retryAfterMs, event.reason);
    if (event.do === "tick") return this.tick();
    if (event.do === "open") return this.open(event.channel, event.head, event.end);
    if (event.do === "handled") {
      this.handling.delete(event.channel);
      return;
    }
    const channel = this.channels.get(event.channel);
    if (channel === undefined) return; // It ended while our event was on its way.
    if (event.do === "head") {
      const { status, headers } = event;
      const end = event.end && status >= 200;
      const frame = encodeFrame({ type: "head", channel: channel.id, status, headers, end }, this.limits);
      if (status >= 200) this.step(channel, "localHead");
      this.scheduler.pushHead(channel, frame, end);
    } else if (event.do === "data") {
      advance(channel.state, "localData");
      if (event.bytes.byteLength === 0) return;
      channel.queue.push(event.bytes);
      channel.queuedBytes += event.bytes.byteLength;
      channel.full = channel.queuedBytes >= this.limits.sendQueueBytes;
      this.scheduler.schedule(channel);
    } else if (event.do === "end") {
      advance(channel.state, "localEnd");
      channel.endQueued = event.trailers;
      this.scheduler.schedule(channel);
    } else if (event.do === "reset") {
      this.reset(channel, event.code, event.reason);
    } else {
      const credit = this.windows.consumed(channel, event.bytes, this.now);
      if (credit > 0 && channelTransitions[channel.state].remoteEnd !== undefined)
        this.send({ type: "credit", channel: channel.id, bytes: credit });
    }
  }

  private open(id: number, head: OpenHead, end: boolean): void {
    const channel = newChannel(id, false, this.peerWindowBytes, this.limits.windowInitialBytes, this.now);
    const frame = encodeFrame({ type: "open", channel: id, end, ...head }, this.limits);
    this.channels.set(id, channel);
    this.outbound += 1;
    this.setDeadline(channel, head.deadlineMs);
    this.scheduler.pushHead(channel, frame, end);
  }

  /** Ends a channel from our side; the peer is told unless it never heard of it. */
  private reset(channel: Channel, code: WireCodeName, reason: string): void {
    const takenBack = !channel.openSent;
    this.scheduler.forget(channel);
    const sent: RequestFate = takenBack ? "not-sent" : "may-have-run";
    if (!takenBack) this.send({ type: "reset", channel: channel.id, code: wireCodes[code], reason });
    this.step(channel, "reset");
    this.effects.push({ effect: "reset", channel: channel.id, code, reason, sent });
  }

  /** A complete answer makes the rest of the request useless (as RFC 9113 §8.1): the peer may stop sending it. */
  private localEnded(channel: Channel): void {
    this.step(channel, "localEnd");
    if (!channel.inbound || channel.state !== "localEnded") return;
    this.send({ type: "reset", channel: channel.id, code: wireCodes.NOT_NEEDED, reason: "answered" });
    this.step(channel, "reset");
    this.effects.push({ effect: "finished", channel: channel.id });
  }

  private setDeadline(channel: Channel, deadlineMs: number): void {
    if (deadlineMs <= 0) return;
    channel.deadlineAt = this.now + deadlineMs;
    this.deadlines += 1;
  }

  /** Applies a table event; forgets the channel when it is closed. */
  private step(channel: Channel, event: Parameters<typeof advance>[1]): void {
    channel.state = advance(channel.state, event);
    if (channel.state !== "closed") return;
    this.channels.delete(channel.id);
    this.windows.release(channel);
    if (!channel.inbound) this.outbound -= 1;
    if (channel.deadlineAt !== undefined) this.deadlines -= 1;
    if (event !== "reset") this.effects.push({ effect: "finished", channel: channel.id });
    if (this.draining && this.channels.size === 0) this.close("CLOSED", "drained");
  }

  private goAway(code: WireCodeName, retryAfterMs: number, reason: string): void {
    if (this.goawaySent) return;
    this.goawaySent = true;
    const lastChannel = Math.max(0, this.lastPeerChannel);
    this.send({ type: "goaway", lastChannel, code: wireCodes[code], retryAfterMs, reason });
    if (this.channels.size === 0) this.close("CLOSED", reason);
  }

  private close(code: RevdialErrorCode, reason: string): void {
    if (this.closing) return;
    this.closing = true;
    this.effects.push({ effect: "close", code, reason });
  }

  /** The peer broke the protocol, or is dead: say so, once, and stop listening. */
  private fail(error: RevdialError): void {
    if (this.closing) return;
    const number = (wireCodes as Partial<Record<string, number>>)[error.code];
    this.close(error.code, error.message);
    if (number === undefined) return;
    const lastChannel = Math.max(0, this.lastPeerChannel);
    const goaway: Frame = {
      type: "goaway",
      lastChannel,
      code: number,
      retryAfterMs: 0,
      reason: error.message,
    };
    this.scheduler.pushControl(encodeFrame(goaway, this.limits));
  }

  private tick(): void {
    if (this.peer === undefined) {
      if (this.now - this.startedAt >= this.limits.helloTimeoutMs) {
        this.fail(new RevdialError("HELLO_TIMEOUT", `no HELLO within ${this.limits.helloTimeoutMs} ms`));
      }
      return;
    }
    if (this.deadlines > 0) {
      for (const channel of [...this.channels.values()]) {
        if (channel.deadlineAt !== undefined && this.now >= channel.deadlineAt) {
          this.reset(channel, "DEADLINE", "the deadline has passed");
        }
      }
    }
    if (this.now - this.pingedAt < this.options.pingIntervalMs) return;
    if (this.pings.size >= PINGS_UNANSWERED_MAX && this.now - this.heardAt >= this.options.deadAfterMs) {
      return this.close("DEAD_PEER", `nothing heard for ${this.now - this.heardAt} ms`);
    }
    this.pingedAt = this.now;
    this.pingToken += 1n;
    this.pings.set(this.pingToken, this.now);
    if (this.pings.size > 16) this.pings.delete(this.pings.keys().next().value as bigint);
    this.send({ type: "ping", token: this.pingToken });
  }

  private receive(message: Uint8Array): void {
    if (this.closing) return;
    this.heardAt = this.now;
    try {
      for (const frame of decodeMessage(message, this.limits)) {
        if (this.closing) return;
        this.frame(frame);
      }
    } catch (error) {
      this.fail(
        error instanceof RevdialError
          ? error
          : new RevdialError("FRAME_MALFORMED", "undecodable", { cause: error }),
      );
    }
  }

  private frame(frame: Frame): void {
    if (this.peer === undefined) {
      if (frame.type === "goaway") return this.peerGoesAway(frame);
      if (frame.type !== "hello") throw new RevdialError("HELLO_EXPECTED", `${frame.type} before HELLO`);
      if (frame.version !== PROTOCOL_VERSION)
        throw new RevdialError("PROTOCOL_VERSION", `version ${frame.version}`);
      const { version, agent, incarnation, features } = frame;
      this.peer = { version, agent, incarnation, features };
      this.peerChannelsMax = frame.channelsMax;
      this.peerWindowBytes = frame.windowBytes;
      this.effects.push({ effect: "ready", peer: this.peer });
      return;
    }
    switch (frame.type) {
      case "hello":
        throw new RevdialError("HELLO_REPEATED", "a second HELLO");
      case "ping":
        return this.send({ type: "pong", token: frame.token });
      case "pong": {
        const sentAt = this.pings.get(frame.token);
        if (sentAt === undefined) return;
        this.pings.clear();
        this.windows.rttMs = this.now - sentAt;
        this.effects.push({ effect: "rtt", ms: this.now - sentAt });
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

  private peerGoesAway(frame: Frame & { type: "goaway" }): void {
    const { code, retryAfterMs, reason, lastChannel } = frame;
    this.goawayReceived = true;
    this.effects.push({ effect: "goaway", code, retryAfterMs, reason, lastChannel });
    for (const channel of [...this.channels.values()]) {
      if (channel.inbound || channel.id <= lastChannel) continue;
      this.scheduler.forget(channel);
      this.step(channel, "reset");
      this.effects.push({ effect: "reset", channel: channel.id, code: "DRAINING", reason, sent: "not-sent" });
    }
    if (this.channels.size === 0) this.close("CLOSED", reason);
  }

  private peerOpens(frame: Frame & { type: "open" }): void {
    const { channel: id, end, kind, service, method, path, deadlineMs, traceparent, headers } = frame;
    const odd = id % 2 === 1;
    if (odd === this.options.dialled || id <= this.lastPeerChannel) {
      throw new RevdialError("CHANNEL_ID", `the peer may not open channel ${id}`);
    }
    if (this.now - this.opensAt >= 1000) {
      this.opensAt = this.now;
      this.opens = 0;
    }
    this.opens += 1;
    if (this.opens > this.limits.opensPerSecondMax)
      throw new RevdialError("OPEN_FLOOD", `${this.opens} in a second`);
    this.lastPeerChannel = id;
    const refusal =
      kind !== 0
        ? "KIND_UNSUPPORTED"
        : this.goawaySent || this.handling.size >= this.limits.channelsMax
          ? "REFUSED"
          : undefined;
    if (refusal !== undefined) {
      const reason = refusal === "REFUSED" ? "no free channel" : "only requests are served";
      return this.send({ type: "reset", channel: id, code: wireCodes[refusal], reason });
    }
    const channel = newChannel(id, true, this.peerWindowBytes, this.limits.windowInitialBytes, this.now);
    this.channels.set(id, channel);
    this.handling.add(id);
    this.setDeadline(channel, deadlineMs);
    if (end) this.step(channel, "remoteEnd");
    this.effects.push({
      effect: "incoming",
      channel: id,
      end,
      head: { kind, service, method, path, deadlineMs, traceparent, headers },
    });
  }

  private channelFrame(frame: Frame & { channel: number }): void {
    const channel = this.channels.get(frame.channel);
    if (frame.type === "reset") this.countReset();
    if (channel === undefined) {
      const ours = (frame.channel % 2 === 1) === this.options.dialled;
      const opened = ours ? frame.channel < this.nextChannel : frame.channel <= this.lastPeerChannel;
      if (!opened)
        throw new RevdialError(
          "CHANNEL_ID",
          `${frame.type} for channel ${frame.channel}, which was never opened`,
        );
      return; // Sent before our reset or end reached the peer.
    }
    switch (frame.type) {
      case "head":
        if (frame.status < 200) {
          if (channelTransitions[channel.state].remoteHead === undefined)
            throw new RevdialError("CHANNEL_STATE", "an interim head after the head");
          return;
        }
        this.step(channel, "remoteHead");
        this.effects.push({
          effect: "head",
          channel: channel.id,
          status: frame.status,
          headers: frame.headers,
        });
        if (frame.end) this.remoteEnd(channel, []);
        return;
      case "data":
        return this.peerData(channel, frame.bytes, frame.end);
      case "end":
        return this.remoteEnd(channel, frame.trailers);
      case "credit":
        if (frame.bytes === 0) throw new RevdialError("CREDIT_INVALID", "a credit of 0 bytes");
        channel.sendCredit += frame.bytes;
        if (channel.sendCredit > 0x7fff_ffff)
          throw new RevdialError("CREDIT_INVALID", "credit beyond 2^31 - 1 bytes");
        return this.scheduler.schedule(channel);
      case "reset": {
        this.scheduler.forget(channel);
        if (frame.code === wireCodes.NOT_NEEDED && channel.state === "remoteEnded") {
          this.step(channel, "reset");
          this.effects.push({ effect: "finished", channel: channel.id });
          return;
        }
        const refused = frame.code === wireCodes.REFUSED || frame.code === wireCodes.KIND_UNSUPPORTED;
        this.step(channel, "reset");
        const code = resetCodeName(frame.code);
        this.effects.push({
          effect: "reset",
          channel: channel.id,
          code,
          reason: frame.reason,
          sent: refused ? "not-sent" : "may-have-run",
        });
        return;
      }
      default:
        throw new RevdialError("CHANNEL_ID", `${frame.type} on a channel`);
    }
  }

  private countReset(): void {
    if (this.now - this.resetsAt >= 10_000) {
      this.resetsAt = this.now;
      this.resets = 0;
    }
    this.resets += 1;
    if (this.resets > this.limits.resetsPerWindowMax)
      throw new RevdialError("RESET_FLOOD", `${this.resets} in ten seconds`);
  }

  private peerData(channel: Channel, bytes: Uint8Array, end: boolean): void {
    channel.state = advance(channel.state, "remoteData");
    channel.emptyData = bytes.byteLength === 0 && !end ? channel.emptyData + 1 : 0;
    if (channel.emptyData > this.limits.emptyDataMax)
      throw new RevdialError("EMPTY_FLOOD", "DATA without bytes");
    if (bytes.byteLength > channel.receiveCredit) {
      throw new RevdialError(
        "WINDOW_EXCEEDED",
        `${bytes.byteLength} bytes where ${channel.receiveCredit} were granted`,
      );
    }
    channel.receiveCredit -= bytes.byteLength;
    if (bytes.byteLength > 0) this.effects.push({ effect: "data", channel: channel.id, bytes });
    if (end) this.remoteEnd(channel, []);
  }

  private remoteEnd(channel: Channel, trailers: HeaderList): void {
    // "ended" goes out before a possible "finished", so that a reader sees the end of its body first.
    advance(channel.state, "remoteEnd");
    this.effects.push({ effect: "ended", channel: channel.id, trailers });
    this.step(channel, "remoteEnd");
  }
}
