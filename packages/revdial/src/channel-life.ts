/**
 * What happens on the channels of one tunnel: opening, heads, bodies, ends, credit and cancellation, by the table of
 * channel.ts. It sends through the scheduler and reports effects; what concerns the tunnel as a whole is in core.ts.
 */
import { bodyLength, ended, less } from "./body-length.ts";
import {
  advance,
  type Channel,
  type ChannelEvent,
  channelTransitions,
  checkSayable,
  isFinal,
  newChannel,
} from "./channel.ts";
import { Channels } from "./channels.ts";
import type { Effect, LocalEvent } from "./core-events.ts";
import { encodeFrame, encodeOpen } from "./encode.ts";
import {
  neverHandled,
  type RequestFate,
  RevdialError,
  type RevdialErrorCode,
  resetCodeName,
  type WireCodeName,
  wireCodes,
} from "./errors.ts";
import { channelKinds, type Frame, type OpenHead, SWITCHING } from "./frame.ts";
import { Grants } from "./grants.ts";
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Windows } from "./windows.ts";

const SEND_CREDIT_MAX = 0x7fff_ffff;
const nothing = new Uint8Array();

/** How the channels reach the rest of the core. */
export interface ChannelDoor {
  emit(effect: Effect): void;
  /** Puts a control frame before everything else. */
  tell(frame: Frame): void;
  /** The same for what the peer makes us say; false when that was too much for the tunnel, which is over now. */
  answer(frame: Frame): boolean;
}

/** A request of ours that waits for a channel of the peer's. */
interface Waiting {
  head: OpenHead;
  end: boolean;
  since: number;
}

export class ChannelLife {
  readonly windows: Windows;
  readonly channels: Channels;
  readonly grants: Grants;
  opensRefused = 0;
  /** What the peer's HELLO states; 0 until then. */
  private peerChannelsMax = 0;
  private peerWindowBytes = 0;
  private peerInterimHeadsMax = 0;
  /** Channels that the peer has granted and we have not opened. */
  private opensLeft = 0;
  private readonly limits: TunnelLimits;
  private readonly scheduler: Scheduler;
  private readonly door: ChannelDoor;
  /** In the order of their numbers: until the peer's HELLO all of them, later those for which no channel is granted yet. */
  private readonly waiting = new Map<Channel, Waiting>();

  constructor(limits: TunnelLimits, windows: Windows, scheduler: Scheduler, door: ChannelDoor) {
    this.limits = limits;
    this.scheduler = scheduler;
    this.door = door;
    this.windows = windows;
    this.grants = new Grants(limits);
    this.channels = new Channels(this.windows, this.grants);
  }

  private get greeted(): boolean {
    return this.peerChannelsMax > 0;
  }

  /** Whether the peer takes no further channel of ours. */
  get full(): boolean {
    return this.greeted && this.channels.outbound >= this.peerChannelsMax;
  }

  /** When `tick` has to be called, at the latest. */
  get wakeAt(): number {
    const at = Math.min(this.channels.nextDeadlineAt, this.grants.wakeAt);
    if (this.waiting.size === 0 || !this.greeted) return at;
    const [first] = this.waiting.values();
    return Math.min(at, (first as Waiting).since + this.limits.grantTimeoutMs);
  }

  /** Errors, with nothing changed: REFUSED, and what the codec says of the head. */
  open(id: number, head: OpenHead, end: boolean, now: number): void {
    const channel = this.create(id, false, head);
    if (end) ended(channel.toSend);
    const frame = encodeOpen(id, head, end, this.scheduler.limits);
    if (!this.windows.admit(channel)) throw new RevdialError("REFUSED", "the receive budget is used up");
    channel.endSaid = end;
    this.channels.add(channel, head.deadlineMs, now);
    if (this.opensLeft > 0 && this.waiting.size === 0) return this.launch(channel, frame, end);
    channel.held = true;
    this.waiting.set(channel, { head, end, since: now });
  }

  /** The tunnel is over: somebody may go on holding it, and must not hold what was queued. */
  clear(): void {
    this.waiting.clear();
    this.channels.clear();
  }

  private launch(channel: Channel, frame: Uint8Array, end: boolean): void {
    this.opensLeft -= 1;
    this.scheduler.pushHead(channel, frame, end);
  }

  private create(id: number, inbound: boolean, head: OpenHead): Channel {
    return newChannel(id, inbound, head, this.peerWindowBytes, this.limits.windowInitialBytes);
  }

  /** The peer's HELLO has come: what has waited for it may leave, as far as the peer takes it. */
  peerGreets({ channelsMax, windowBytes, interimHeadsMax }: Frame & { type: "hello" }): void {
    this.peerChannelsMax = channelsMax;
    this.peerWindowBytes = windowBytes;
    this.peerInterimHeadsMax = interimHeadsMax;
    this.opensLeft = channelsMax;
    this.launchWaiting();
    for (const channel of this.waiting.keys())
      this.drop(channel, "REFUSED", "the peer's channels are all in use", "not-sent");
  }

  /** The peer grants more channels. Error: CREDIT_INVALID. */
  peerGrants(channels: number): void {
    if (channels === 0 || this.opensLeft + channels > this.peerChannelsMax)
      throw new RevdialError("CREDIT_INVALID", `${channels} channels granted, ${this.opensLeft} are left`);
    this.opensLeft += channels;
    this.launchWaiting();
  }

  private launchWaiting(): void {
    for (const [channel, { head, end }] of this.waiting) {
      if (this.opensLeft === 0) return;
      channel.sendCredit = this.peerWindowBytes;
      try {
        const frame = encodeOpen(channel.id, head, end, this.scheduler.limits);
        this.waiting.delete(channel);
        channel.held = false;
        this.launch(channel, frame, end);
        this.scheduler.schedule(channel);
      } catch (error) {
        if (!(error instanceof RevdialError)) throw error;
        this.drop(channel, error.code, "the peer takes smaller heads", "not-sent");
      }
    }
  }

  /** We go away: what still waits has never left. */
  dropWaiting(): void {
    for (const channel of this.waiting.keys()) this.drop(channel, "DRAINING", "going away", "not-sent");
  }

  /** What our side does on one of its channels. */
  local(channel: Channel, event: LocalEvent & { channel: number }): void {
    switch (event.do) {
      case "head":
        return this.localHead(channel, event);
      case "data":
        if (channel.muted === "all") return;
        checkSayable(channel, "localData");
        if (channel.muted === "body") return;
        channel.toSend = less(channel.toSend, event.bytes.byteLength);
        this.scheduler.pushBody(channel, event.bytes, undefined);
        channel.full = channel.queue.byteLength >= this.scheduler.queueBytesMax(this.limits);
        return;
      case "end":
        if (channel.muted === "all") return;
        checkSayable(channel, "localEnd");
        if (channel.socket && event.trailers.length > 0)
          throw new RevdialError("HEAD_INVALID", "a socket has no trailers");
        ended(channel.toSend);
        // What cannot be said is said now, while somebody can still hear of it.
        if (event.trailers.length > 0)
          encodeFrame({ type: "end", channel: channel.id, trailers: event.trailers }, this.scheduler.limits);
        channel.endSaid = true;
        return this.scheduler.pushBody(channel, nothing, event.trailers);
      case "reset":
        return this.reset(channel, event.code, event.reason);
    }
  }

  /** Something of a channel has left: true when its producer, which was told to wait, may go on. */
  drained(channel: Channel): boolean {
    if (!channel.full || channel.queue.byteLength > this.scheduler.queueBytesMax(this.limits) / 2)
      return false;
    channel.full = false;
    return true;
  }

  private localHead(channel: Channel, event: LocalEvent & { do: "head" }): void {
    const { status, length, headers } = event;
    const final = isFinal(channel, status);
    const next = advance(channel.state, "localHead");
    // Nobody depends on them, and one too many would end the tunnel: an origin decides how many it sends.
    if (!final && channel.interimHeads >= this.peerInterimHeadsMax) return;
    const end = event.end && status >= 200;
    const toSend = bodyLength(channel, status, length);
    if (end) ended(toSend);
    const frame = encodeFrame(
      { type: "head", channel: channel.id, status, length, headers, end },
      this.scheduler.limits,
    );
    if (final) {
      channel.state = next;
      channel.toSend = toSend;
      if (channel.headOnly || status === 204 || status === 304) channel.muted = "body";
    } else channel.interimHeads += 1;
    if (status === SWITCHING) channel.deadlineAt = undefined;
    if (end) channel.endSaid = true;
    this.scheduler.pushHead(channel, frame, end);
  }

  /** The reader took bytes, or dropped them. */
  consumed(id: number, bytes: number, now: number): void {
    const credit = this.channels.consumed(id, bytes, now);
    if (credit > 0) this.door.answer({ type: "credit", channel: id, bytes: credit });
  }

  /** Ends a channel from our side; the peer is told unless it never heard of it. */
  reset(channel: Channel, code: WireCodeName, reason: string): void {
    const sent: RequestFate = channel.openSent ? "may-have-run" : "not-sent";
    const tell = { type: "reset", channel: channel.id, code: wireCodes[code], reason } as const;
    if (!channel.inbound) {
      if (channel.openSent) this.door.tell(tell);
    } else if (!this.door.answer(tell)) return;
    this.drop(channel, code, reason, sent);
  }

  /** Forgets a channel that ended before its time. */
  drop(channel: Channel, code: RevdialErrorCode, reason: string, sent: RequestFate): void {
    this.scheduler.forget(channel);
    this.step(channel, "reset");
    this.door.emit({ effect: "reset", channel: channel.id, code, reason, sent });
    if (channel.openSent || this.waiting.delete(channel)) return;
    // The peer has never seen it: its place is somebody else's.
    this.opensLeft += 1;
    this.launchWaiting();
  }

  /** Our END has left. A complete answer makes the rest of the request useless: the peer may stop sending it (SPEC §6.4). */
  localEnded(channel: Channel): void {
    this.step(channel, "localEnd");
    if (!channel.inbound || channel.socket || channel.state !== "localEnded") return;
    this.reset(channel, "NOT_NEEDED", "answered");
  }

  private step(channel: Channel, event: ChannelEvent): void {
    const finished = this.channels.step(channel, event);
    if (finished) this.door.emit({ effect: "finished", channel: channel.id });
  }

  /** Takes up a channel of the peer, or answers with a RESET. */
  accept(id: number, head: OpenHead, end: boolean, now: number): void {
    const refuse = (code: WireCodeName, reason: string) => {
      this.grants.slotFree();
      this.opensRefused += 1;
      this.door.answer({ type: "reset", channel: id, code: wireCodes[code], reason });
    };
    if (head.kind > channelKinds.socket) return refuse("KIND_UNSUPPORTED", "only requests and sockets");
    const channel = this.create(id, true, head);
    if (end) ended(channel.toReceive);
    if (!end && !this.windows.admit(channel)) return refuse("REFUSED", "no free memory");
    this.channels.add(channel, head.deadlineMs, now);
    if (end) this.step(channel, "remoteEnd");
    this.door.emit({ effect: "incoming", channel: id, head, end });
  }

  /** A frame of the peer on a live channel. Errors are violations. */
  receive(channel: Channel, frame: Frame & { channel: number }): void {
    switch (frame.type) {
      case "head":
        return this.peerHead(channel, frame);
      case "data":
        return this.peerData(channel, frame.bytes, frame.end);
      case "end":
        if (channel.socket && frame.trailers.length > 0)
          throw new RevdialError("HEAD_INVALID", "a socket has no trailers");
        return this.remoteEnd(channel, frame.trailers);
      case "credit":
        return this.credit(channel, frame.bytes);
      case "reset":
        return this.peerResets(channel, frame.code, frame.reason);
    }
  }

  private credit(channel: Channel, bytes: number): void {
    if (bytes === 0) throw new RevdialError("CREDIT_INVALID", "a credit of 0 bytes");
    if (channel.sendCredit + bytes > SEND_CREDIT_MAX)
      throw new RevdialError("CREDIT_INVALID", "credit beyond 2^31 - 1 bytes");
    channel.sendCredit += bytes;
    channel.blockedSince = undefined;
    this.scheduler.schedule(channel);
  }

  private peerHead(channel: Channel, { status, length, headers, end }: Frame & { type: "head" }): void {
    const next = advance(channel.state, "remoteHead");
    if (!isFinal(channel, status)) {
      channel.interimHeads += 1;
      if (channel.interimHeads > this.limits.interimHeadsMax)
        throw new RevdialError("INTERIM_FLOOD", `more than ${this.limits.interimHeadsMax} heads below 200`);
      return this.door.emit({ effect: "interim", channel: channel.id, status, headers });
    }
    const toReceive = bodyLength(channel, status, length);
    if (end) ended(toReceive);
    channel.state = next;
    channel.toReceive = toReceive;
    if (status === SWITCHING) channel.deadlineAt = undefined;
    this.door.emit({ effect: "head", channel: channel.id, status, length, headers });
    if (end) this.remoteEnd(channel, []);
    if (channel.socket && status !== SWITCHING) this.socketRefused(channel);
  }

  /** An ordinary answer instead of a socket: nothing of ours may follow it (SPEC §6.5). */
  private socketRefused(channel: Channel): void {
    channel.muted = "all";
    if (channelTransitions[channel.state].localEnd === undefined) return;
    this.scheduler.forgetBody(channel);
    channel.endSaid = true;
    this.scheduler.pushBody(channel, nothing, []);
  }

  private peerResets(channel: Channel, code: number, reason: string): void {
    // The answer is complete and only our upload was unwanted: that is no failure.
    if (code === wireCodes.NOT_NEEDED && channel.state === "remoteEnded") {
      this.scheduler.forget(channel);
      return this.step(channel, "localEnd");
    }
    if (channel.inbound && channelTransitions[channel.state].localHead !== undefined)
      this.grants.peerCancelled();
    if (neverHandled.has(code)) return this.refused(channel, resetCodeName(code), reason);
    this.drop(channel, resetCodeName(code), reason, "may-have-run");
  }

  /** The peer says that it has not looked at a request of ours. Where it has answered already, it has. */
  refused(channel: Channel, code: RevdialErrorCode, reason: string): void {
    // An interim head comes from a handler as well.
    const answered = channelTransitions[channel.state].remoteHead === undefined || channel.interimHeads > 0;
    this.drop(channel, code, reason, answered ? "may-have-run" : "not-sent");
  }

  private peerData(channel: Channel, bytes: Uint8Array, end: boolean): void {
    const next = advance(channel.state, "remoteData");
    const toReceive = less(channel.toReceive, bytes.byteLength);
    if (end) ended(toReceive);
    this.windows.received(channel, bytes.byteLength);
    channel.toReceive = toReceive;
    channel.state = next;
    channel.emptyData = bytes.byteLength === 0 && !end ? channel.emptyData + 1 : 0;
    if (channel.emptyData > this.limits.emptyDataMax)
      throw new RevdialError("EMPTY_FLOOD", "DATA without bytes");
    if (bytes.byteLength > 0) this.door.emit({ effect: "data", channel: channel.id, bytes });
    if (end) this.remoteEnd(channel, []);
  }

  private remoteEnd(channel: Channel, trailers: HeaderList): void {
    // "ended" goes out before a possible "finished", so that a reader sees the end of its body first.
    advance(channel.state, "remoteEnd");
    ended(channel.toReceive);
    this.door.emit({ effect: "ended", channel: channel.id, trailers });
    this.windows.remoteEnded(channel);
    this.step(channel, "remoteEnd");
  }

  /** Ends what has run out of time: deadlines, and peers that take nothing of what waits for them. */
  tick(now: number): void {
    for (const channel of this.channels.expired(now))
      this.reset(channel, "DEADLINE", "the deadline has passed");
    if (!this.greeted) return;
    for (const [channel, { since }] of this.waiting) {
      if (now < since + this.limits.grantTimeoutMs) break;
      this.drop(channel, "REFUSED", "the peer has granted no channel in time", "not-sent");
    }
  }

  /** Called at the pace of pings: looks for channels whose peer has given no credit for too long. */
  endStalled(now: number): void {
    for (const channel of this.channels.list()) {
      if (channel.held || channel.queue.length === 0 || channel.sendCredit > 0) continue;
      channel.blockedSince ??= now;
      if (now - channel.blockedSince >= this.limits.stallTimeoutMs)
        this.reset(channel, "STALLED", `no credit for ${this.limits.stallTimeoutMs} ms`);
    }
  }
}
