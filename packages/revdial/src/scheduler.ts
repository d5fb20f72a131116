/**
 * What is sent next (SPEC §7.4): control frames and heads first, then bodies by deficit round robin, so that a small
 * reply waits for at most one quantum of each bulk transfer and never for a whole one. Pure: frames in, messages out.
 */
import type { Channel } from "./channel.ts";
import { encodeDataHeader, encodeFrame } from "./frame.ts";
import type { TunnelLimits } from "./limits.ts";

/** Body bytes one channel may send per round. */
const QUANTUM_BYTES = 16 * 1024;
/** A message is closed once it has this many bytes: a few large ones keep the socket busy, small frames share one. */
const MESSAGE_TARGET_BYTES = 64 * 1024;

export interface Drained {
  channel: Channel;
  /** Our direction ended with this message. */
  ended: boolean;
}

export class Scheduler {
  private readonly limits: TunnelLimits;
  private control: Uint8Array[] = [];
  private controlBytes = 0;
  private notices: Uint8Array[] = [];
  private ready: Channel[] = [];
  /** Control frames that carry an OPEN tell their channel when they leave. */
  private opens = new Map<Uint8Array, Channel>();

  constructor(limits: TunnelLimits) {
    this.limits = limits;
  }

  get queuedControlBytes(): number {
    return this.controlBytes;
  }

  get idle(): boolean {
    return this.control.length === 0 && this.notices.length === 0 && this.ready.length === 0;
  }

  pushControl(frame: Uint8Array, open?: Channel): void {
    this.control.push(frame);
    this.controlBytes += frame.byteLength;
    if (open) this.opens.set(frame, open);
  }

  /** False when the queue of notices is full and this one is dropped. */
  pushNotice(frame: Uint8Array): boolean {
    if (this.notices.length >= this.limits.noticesQueuedMax) return false;
    this.notices.push(frame);
    return true;
  }

  /** Puts a channel into the round if it has something it may send. */
  schedule(channel: Channel): void {
    if (channel.scheduled || channel.state === "closed" || !canSend(channel)) return;
    channel.scheduled = true;
    this.ready.push(channel);
  }

  /** Forgets whatever a channel had queued; its OPEN, if it has not left, is taken back too. Returns whether it was. */
  forget(channel: Channel): boolean {
    channel.queue = [];
    channel.queuedBytes = 0;
    channel.endQueued = undefined;
    if (channel.scheduled) this.ready = this.ready.filter((other) => other !== channel);
    channel.scheduled = false;
    if (channel.openSent) return false;
    for (const [frame, owner] of this.opens) {
      if (owner !== channel) continue;
      this.opens.delete(frame);
      this.control = this.control.filter((other) => other !== frame);
      this.controlBytes -= frame.byteLength;
      return true;
    }
    return false;
  }

  /** The parts of the next message, in order; undefined when there is nothing to send. `drained` is told who sent. */
  next(drained: (sent: Drained) => void): Uint8Array[] | undefined {
    if (this.idle) return undefined;
    const parts: Uint8Array[] = [];
    let bytes = 0;
    const roomMax = this.limits.messageBytesMax;
    while (this.control.length > 0) {
      const frame = this.control[0] as Uint8Array;
      if (bytes > 0 && bytes + frame.byteLength > roomMax) return parts;
      this.control.shift();
      this.controlBytes -= frame.byteLength;
      const opened = this.opens.get(frame);
      if (opened) {
        opened.openSent = true;
        this.opens.delete(frame);
      }
      parts.push(frame);
      bytes += frame.byteLength;
      if (bytes >= MESSAGE_TARGET_BYTES) return parts;
    }
    while (this.notices.length > 0 && bytes < MESSAGE_TARGET_BYTES) {
      const frame = this.notices.shift() as Uint8Array;
      parts.push(frame);
      bytes += frame.byteLength;
    }
    while (this.ready.length > 0 && bytes < MESSAGE_TARGET_BYTES) {
      const channel = this.ready.shift() as Channel;
      channel.scheduled = false;
      channel.deficitBytes += QUANTUM_BYTES;
      const unfinished = channel.endQueued !== undefined;
      bytes += this.takeFrom(channel, parts);
      drained({ channel, ended: unfinished && channel.endQueued === undefined });
      this.schedule(channel);
    }
    return parts;
  }

  private takeFrom(channel: Channel, parts: Uint8Array[]): number {
    let bytes = 0;
    while (channel.queue.length > 0 && channel.sendCredit > 0 && channel.deficitBytes > 0) {
      const chunk = channel.queue[0] as Uint8Array;
      const size = Math.min(
        chunk.byteLength,
        channel.sendCredit,
        this.limits.dataBytesMax,
        channel.deficitBytes,
      );
      if (size === chunk.byteLength) channel.queue.shift();
      else channel.queue[0] = chunk.subarray(size);
      channel.queuedBytes -= size;
      channel.sendCredit -= size;
      channel.deficitBytes -= size;
      const last =
        channel.queue.length === 0 && channel.endQueued !== undefined && channel.endQueued.length === 0;
      parts.push(
        encodeDataHeader(channel.id, size, last),
        size === chunk.byteLength ? chunk : chunk.subarray(0, size),
      );
      bytes += size;
      if (last) channel.endQueued = undefined;
    }
    if (channel.queue.length === 0) {
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
    }
    return bytes;
  }
}

function canSend(channel: Channel): boolean {
  return channel.queue.length > 0 ? channel.sendCredit > 0 : channel.endQueued !== undefined;
}
