/**
 * What SPEC says of a tunnel, as flags and sums: a model without table, queue or windows of its own. It says of every
 * frame of a peer which violation it is, and of every channel what it holds.
 */
import { goawayCodeName, type RevdialErrorCode } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";

export const WINDOW_BYTES = 1000;
export const PEER_WINDOW_BYTES = 700;
/** Channels of ours that the peer takes. */
export const OURS_MAX = 3;
export const CREDIT_MAX = 2 ** 31 - 1;
export const limits = {
  channelsMax: 3,
  windowInitialBytes: WINDOW_BYTES,
  windowMaxBytes: WINDOW_BYTES, // Without growth every account is exact.
  receiveBudgetBytes: 4 * WINDOW_BYTES,
  emptyDataMax: 1,
  interimHeadsMax: 2,
};

/** SPEC §11.2. */
const GOAWAYS_MAX = 16;

/** One channel as SPEC §6 and §7 have it. */
export interface Modelled {
  id: number;
  ours: boolean;
  /** Ours, and the peer has granted no channel for it yet: it has never heard of it. */
  waits: boolean;
  socket: boolean;
  headed: boolean;
  localEnded: boolean;
  remoteEnded: boolean;
  closed: boolean;
  handled: boolean;
  /** Bytes of ours: queued, sent, and what the peer has granted in all. */
  queued: number;
  endQueued: boolean;
  sent: number;
  granted: number;
  /** Bytes of the peer: arrived, taken by the reader, and given back as credit. */
  got: number;
  taken: number;
  credited: number;
  /** What the peer has announced of its body; undefined: nothing. */
  announced: number | undefined;
  reserved: boolean;
  empty: number;
  interims: number;
  refused: boolean;
  /** Its answer has no body, whatever is written. */
  bodiless: boolean;
}

export class Model {
  readonly channels = new Map<number, Modelled>();
  lastPeer = 0;
  nextOurs = 2;
  /** The highest of ours that has left. */
  lastOurs = 0;
  goawaySent = false;
  goawaysReceived = 0;
  /** OPENs of the peer, whatever became of them. */
  peerOpened = 0;
  /** Those that crossed our GOAWAY: refused, and not given back. */
  crossed = 0;
  /** Channels that the peer has granted and we have not opened. */
  oursLeft = OURS_MAX;
  over: RevdialErrorCode | undefined;

  live(): Modelled[] {
    return [...this.channels.values()].filter(({ closed }) => !closed);
  }

  get goesAway(): boolean {
    return this.goawaySent || this.goawaysReceived > 0;
  }

  get slots(): number {
    return [...this.channels.values()].filter(({ ours, closed, handled }) => !ours && !(closed && handled))
      .length;
  }

  /** Channels that the peer may open: a slot that is free again is granted at once where there are so few. */
  get peerLeft(): number {
    return limits.channelsMax - this.slots - this.crossed;
  }

  /** What the receive budget must hold: whole windows while the peer may send, and what nobody has taken, whatever has ended. */
  get budget(): number {
    const of = (c: Modelled) =>
      c.reserved ? (c.remoteEnded || c.closed ? c.got - c.taken : WINDOW_BYTES) : 0;
    return [...this.channels.values()].reduce((sum, channel) => sum + of(channel), 0);
  }

  private add(id: number, ours: boolean, end: boolean, socket: boolean, announced?: number): void {
    const zero = { queued: 0, sent: 0, got: 0, taken: 0, credited: 0, empty: 0, interims: 0 };
    const waits = ours && this.oursLeft === 0;
    if (ours && !waits) this.oursLeft -= 1;
    const flags = { waits, closed: false, endQueued: ours && end, localEnded: ours && end };
    const voids = { refused: false, bodiless: false };
    const rest = { handled: false, headed: false, granted: PEER_WINDOW_BYTES, remoteEnded: !ours && end };
    this.channels.set(id, {
      id,
      ours,
      socket,
      announced,
      reserved: ours || !end,
      ...zero,
      ...flags,
      ...voids,
      ...rest,
    });
  }

  get roomForWindow(): boolean {
    return this.budget + WINDOW_BYTES <= limits.receiveBudgetBytes;
  }

  /** Takes a frame of the peer; the violation it is, if it is one. */
  peer(frame: Frame): RevdialErrorCode | undefined {
    if (frame.type === "hello") return "HELLO_REPEATED";
    if (frame.type === "goaway") return this.peerGoesAway(frame);
    if (frame.type === "open") return this.peerOpens(frame);
    if (frame.type === "grant") return this.peerGrants(frame.channels);
    if (!("channel" in frame)) return undefined;
    const { channel: id } = frame;
    if (id > (id % 2 === 0 ? this.lastOurs : this.lastPeer)) return "CHANNEL_ID";
    const channel = this.channels.get(id);
    if (channel === undefined || channel.closed) return undefined;
    return this.onChannel(channel, frame);
  }

  private peerGrants(channels: number): RevdialErrorCode | undefined {
    if (channels === 0 || this.oursLeft + channels > OURS_MAX) return "CREDIT_INVALID";
    this.oursLeft += channels;
    for (const channel of this.live()) {
      if (!channel.waits || this.oursLeft === 0) continue;
      channel.waits = false;
      this.oursLeft -= 1;
    }
    return undefined;
  }

  private peerOpens(frame: Frame & { type: "open" }): RevdialErrorCode | undefined {
    const { channel: id, end, kind, length } = frame;
    if (id % 2 === 0 || id <= this.lastPeer) return "CHANNEL_ID";
    if (this.peerLeft === 0) return "OPEN_FLOOD";
    this.lastPeer = id;
    this.peerOpened += 1;
    if (this.goawaySent) {
      this.crossed += 1;
      return undefined;
    }
    if (kind <= 1 && end && (length ?? 0) > 0) return "BODY_LENGTH";
    if (kind > 1 || (!end && !this.roomForWindow)) return undefined;
    this.add(id, false, end, kind === 1, length);
    return undefined;
  }

  private peerGoesAway({ code, lastChannel }: Frame & { type: "goaway" }): RevdialErrorCode | undefined {
    this.goawaysReceived += 1;
    if (this.goawaysReceived > GOAWAYS_MAX) return "CONTROL_FLOOD";
    for (const [id, channel] of this.channels)
      if (channel.ours && (channel.waits || id > lastChannel)) channel.closed = true;
    return code >= 64 ? goawayCodeName(code) : undefined;
  }

  private onChannel(channel: Modelled, frame: Frame): RevdialErrorCode | undefined {
    if (frame.type === "reset") channel.closed = true;
    if (frame.type === "credit") {
      if (frame.bytes === 0 || channel.granted - channel.sent + frame.bytes > CREDIT_MAX)
        return "CREDIT_INVALID";
      channel.granted += frame.bytes;
    }
    if (frame.type === "head") return this.peerHead(channel, frame);
    if (frame.type !== "data" && frame.type !== "end") return undefined;
    if (frame.type === "end" && channel.socket && frame.trailers.length > 0) return "HEAD_INVALID";
    if (channel.remoteEnded || (channel.ours && !channel.headed)) return "CHANNEL_STATE";
    const come = channel.got + (frame.type === "data" ? frame.bytes.byteLength : 0);
    const ends = frame.type === "end" || frame.end;
    const { announced = come } = channel;
    if (come > announced || (ends && come < announced)) return "BODY_LENGTH";
    if (frame.type === "data") {
      channel.got += frame.bytes.byteLength;
      if (channel.got - channel.credited > WINDOW_BYTES) return "WINDOW_EXCEEDED";
      channel.empty = frame.bytes.byteLength === 0 && !frame.end ? channel.empty + 1 : 0;
      if (channel.empty > limits.emptyDataMax) return "EMPTY_FLOOD";
    }
    if (ends) this.remoteEnd(channel);
    return undefined;
  }

  private peerHead(channel: Modelled, frame: Frame & { type: "head" }): RevdialErrorCode | undefined {
    const { status, end, length } = frame;
    if (!channel.ours || channel.headed) return "CHANNEL_STATE";
    if (status === 101 && !channel.socket) return "HEAD_INVALID";
    if (status < 200 && status !== 101) {
      channel.interims += 1;
      return channel.interims > limits.interimHeadsMax ? "INTERIM_FLOOD" : undefined;
    }
    channel.announced = status === 304 ? undefined : length;
    if (end && (channel.announced ?? 0) > 0) return "BODY_LENGTH";
    channel.headed = true;
    if (end) this.remoteEnd(channel);
    // SPEC §6.5: an ordinary answer voids what we had to say.
    if (!channel.socket || status === 101) return undefined;
    channel.refused = true;
    channel.queued = 0;
    if (!channel.localEnded) channel.endQueued = true;
    return undefined;
  }

  private remoteEnd(channel: Modelled): void {
    channel.remoteEnded = true;
    if (channel.localEnded) channel.closed = true;
  }

  /** All that may leave has left. */
  flush(): void {
    for (const channel of this.live()) {
      if (channel.waits) continue;
      if (channel.ours) this.lastOurs = Math.max(this.lastOurs, channel.id);
      const bytes = Math.min(channel.queued, channel.granted - channel.sent);
      channel.sent += bytes;
      channel.queued -= bytes;
      if (channel.localEnded || !channel.endQueued || channel.queued > 0) continue;
      channel.localEnded = true;
      // Both directions are over; or a complete answer makes the rest of its request useless (SPEC §6.4).
      channel.closed = channel.remoteEnded || (!channel.ours && !channel.socket);
    }
    if (this.goesAway && this.live().length === 0) this.over ??= "CLOSED";
  }

  /** Our GOAWAY: what the peer has never heard of will never leave. */
  goAway(): void {
    this.goawaySent = true;
    for (const channel of this.live()) if (channel.waits) channel.closed = true;
  }

  open(end: boolean, socket: boolean): void {
    this.add(this.nextOurs, true, end, socket);
    this.nextOurs += 2;
  }
}
