/**
 * What is sent next (SPEC §7.4): control frames first, then heads, then bodies by deficit round robin in two rounds,
 * so that a small reply overtakes bulk and waits for no more than one quantum of each transfer. Pure: frames in, messages out.
 */
import { HEADER_BYTES } from "./bytes.ts";
import type { Channel } from "./channel.ts";
import { encodeDataHeader, encodeFrame, patchDeadline } from "./encode.ts";
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";

/**
 * Body bytes one channel may send per round, and the usual size of a bulk frame. Measured on downloads: 64 KiB frames are 15 %
 * slower, because a receiver reads 64 KiB at a time and has to copy whatever spans two reads.
 */
const QUANTUM_BYTES = 16 * 1024;
/** A message is closed once it has this many bytes: a few large ones keep the socket busy, small frames share one. */
export const MESSAGE_TARGET_BYTES = 64 * 1024;
/** Bulk gets at least the rest of a message, however many small replies are waiting. */
const SMALL_SHARE_BYTES = 48 * 1024;

/** What scheduling needs of the two ends' limits: the smaller of ours and the peer's, where the peer states one. */
export type SendLimits = Pick<
  TunnelLimits,
  "headBytesMax" | "headersMax" | "dataBytesMax" | "noticeBytesMax" | "noticesQueuedMax"
>;

interface Head {
  frame: Uint8Array;
  /** None for a GOAWAY, which must not overtake the OPENs before it. */
  channel: Channel | undefined;
  ends: boolean;
}

/** Called for every channel that put something into a message; `ended`: our direction ended with it. */
export type OnSent = (channel: Channel, ended: boolean) => void;

export class Scheduler {
  /** Replaced once the peer's limits are known. */
  limits: SendLimits;
  /** Turns of channels that ended for want of credit. */
  creditStalls = 0;
  /** Body bytes that wait on all channels together. */
  bodyBytes = 0;
  /** What the peer makes us say: counted, because it may not read it. */
  private answers: Uint8Array[] = [];
  answerBytes = 0;
  private control: Uint8Array[] = [];
  private heads: Head[] = [];
  private notices: Uint8Array[] = [];
  private small: Channel[] = [];
  private bulk: Channel[] = [];

  constructor(limits: SendLimits) {
    this.limits = limits;
  }

  /** What a channel may queue: its share, however much the others have. */
  queueBytesMax({ sendQueueBytes, sendBudgetBytes }: TunnelLimits): number {
    return this.bodyBytes < sendBudgetBytes ? sendQueueBytes : Math.min(sendQueueBytes, QUANTUM_BYTES);
  }

  get idle(): boolean {
    return (
      this.answers.length + this.control.length + this.heads.length === 0 &&
      this.notices.length + this.small.length + this.bulk.length === 0
    );
  }

  pushAnswer(frame: Uint8Array): void {
    this.answers.push(frame);
    this.answerBytes += frame.byteLength;
  }

  /** A control frame that is our own idea: there are no more of them than channels that we have opened, and pings. */
  pushControl(frame: Uint8Array): void {
    this.control.push(frame);
  }

  pushHead(channel: Channel | undefined, frame: Uint8Array, ends: boolean): void {
    this.heads.push({ frame, channel, ends });
  }

  /** False when the queue of notices is full and this one is dropped. */
  pushNotice(frame: Uint8Array): boolean {
    if (this.notices.length >= this.limits.noticesQueuedMax) return false;
    this.notices.push(frame);
    return true;
  }

  /** Puts body bytes, or with trailers the end of our direction, behind what the channel has queued. */
  pushBody(channel: Channel, bytes: Uint8Array, end: HeaderList | undefined): void {
    if (channel.queue.length === 0) channel.burstBytes = 0;
    channel.queue.push(bytes);
    this.bodyBytes += bytes.byteLength;
    channel.endQueued = end;
    this.schedule(channel);
  }

  /** Puts a channel into a round if it has something it may send. */
  schedule(channel: Channel): void {
    if (channel.scheduled || !canSend(channel)) return;
    channel.scheduled = true;
    (channel.burstBytes < QUANTUM_BYTES ? this.small : this.bulk).push(channel);
  }

  /** Drops everything: the tunnel is over. */
  clear(): void {
    this.bodyBytes = 0;
    this.answers = [];
    this.answerBytes = 0;
    this.control = [];
    this.heads = [];
    this.notices = [];
    this.small = [];
    this.bulk = [];
  }

  forgetBody(channel: Channel): void {
    this.bodyBytes -= channel.queue.byteLength;
    channel.queue.clear();
  }

  /** Forgets whatever a channel had queued, its unsent heads too. */
  forget(channel: Channel): void {
    this.forgetBody(channel);
    channel.endQueued = undefined;
    this.heads = this.heads.filter((head) => head.channel !== channel);
    if (!channel.scheduled) return;
    channel.scheduled = false;
    this.small = this.small.filter((other) => other !== channel);
    this.bulk = this.bulk.filter((other) => other !== channel);
  }

  /** The parts of the next message, in order; undefined when there is nothing to send. */
  next(now: number, onSent: OnSent): Uint8Array[] | undefined {
    if (this.idle) return undefined;
    const parts: Uint8Array[] = [];
    let bytes = 0;
    const takeWhile = <Item>(queue: Item[], frameOf: (item: Item) => Uint8Array): Item[] => {
      let count = 0;
      for (const item of queue) {
        const frame = frameOf(item);
        // With one frame more it is within `messageBytesMax`: both sides' are 128 KiB above their largest payload (SPEC §8).
        if (bytes >= MESSAGE_TARGET_BYTES) break;
        parts.push(frame);
        bytes += frame.byteLength;
        count += 1;
      }
      return queue.splice(0, count);
    };

    if (this.answers.length > 0)
      for (const frame of takeWhile(this.answers, (item) => item)) this.answerBytes -= frame.byteLength;
    if (this.answers.length === 0 && this.control.length > 0) takeWhile(this.control, (item) => item);
    if (this.answers.length + this.control.length > 0) return parts;
    for (const { frame, channel, ends } of takeWhile(this.heads, (item) => item.frame)) {
      if (channel === undefined) continue;
      // One that is over has its tick still to come: 0 would mean that there is none.
      if (!channel.openSent && channel.deadlineAt !== undefined)
        patchDeadline(frame, Math.max(1, Math.ceil(channel.deadlineAt - now)));
      channel.openSent = true;
      onSent(channel, ends);
    }
    // A body never overtakes its own head.
    if (this.heads.length > 0) return parts;
    if (this.notices.length > 0) takeWhile(this.notices, (item) => item);
    bytes += this.serve(this.small, SMALL_SHARE_BYTES - bytes, parts, onSent);
    bytes += this.serve(this.bulk, MESSAGE_TARGET_BYTES - bytes, parts, onSent);
    this.serve(this.small, MESSAGE_TARGET_BYTES - bytes, parts, onSent);
    return parts;
  }

  /** Deficit round robin over one round until `roomBytes` are used. */
  private serve(round: Channel[], roomBytes: number, parts: Uint8Array[], onSent: OnSent): number {
    let bytes = 0;
    while (round.length > 0 && bytes < roomBytes) {
      const channel = round.shift() as Channel;
      channel.scheduled = false;
      channel.deficitBytes += QUANTUM_BYTES;
      const hadEnd = channel.endQueued !== undefined;
      bytes += this.takeFrom(channel, parts);
      onSent(channel, hadEnd && channel.endQueued === undefined);
      this.schedule(channel);
    }
    return bytes;
  }

  /** Moves what one channel may send now into `parts`; returns the bytes, frame headers included. */
  private takeFrom(channel: Channel, parts: Uint8Array[]): number {
    let bytes = 0;
    while (channel.sendCredit > 0 && channel.deficitBytes > 0) {
      const chunk = channel.queue.take(
        Math.min(channel.sendCredit, this.limits.dataBytesMax, channel.deficitBytes),
      );
      if (chunk === undefined) break;
      const size = chunk.byteLength;
      this.bodyBytes -= size;
      channel.sendCredit -= size;
      channel.deficitBytes -= size + HEADER_BYTES;
      channel.burstBytes += size;
      const last = channel.queue.length === 0 && channel.endQueued?.length === 0;
      const header = encodeDataHeader(channel.id, size, last);
      parts.push(header, chunk);
      bytes += header.byteLength + size;
      if (last) channel.endQueued = undefined;
    }
    if (channel.queue.length > 0) {
      if (channel.sendCredit === 0) {
        this.creditStalls += 1;
        // It leaves its round: what it could not send now it may not send on top of a later turn.
        channel.deficitBytes = Math.min(channel.deficitBytes, 0);
      }
      return bytes;
    }
    channel.deficitBytes = 0;
    if (channel.endQueued !== undefined) {
      const frame = encodeFrame(
        { type: "end", channel: channel.id, trailers: channel.endQueued },
        this.limits,
      );
      channel.endQueued = undefined;
      parts.push(frame);
      bytes += frame.byteLength;
    }
    return bytes;
  }
}

function canSend(channel: Channel): boolean {
  if (channel.state === "closed" || channel.held) return false;
  return channel.queue.length > 0 ? channel.sendCredit > 0 : channel.endQueued !== undefined;
}
