/**
 * What one reader of a stream has not taken yet: bounded by number and size. When it is too much, all of it is dropped, and the reader
 * is told so once it reads again. Knows nothing of HTTP.
 */

/** One event as it is sent. */
export interface Frame {
  id: string;
  seq: bigint;
  text: string;
  bytes: number;
}

export interface Sink {
  /** False: nothing more until `drained` is called. */
  write(chunk: string | Buffer): boolean;
}

export interface OutboxLimits {
  eventsMax: number;
  bytesMax: number;
}

export const outboxLimits: OutboxLimits = { eventsMax: 1000, bytesMax: 256 * 1024 };
/** Written at once, unless one event alone is longer. */
export const PIECE_BYTES = 64 * 1024;

export type MissedReason = "slow" | "too-late";

export const missedText = (after: string | null, reason: MissedReason): string =>
  `event: missed\ndata: ${JSON.stringify({ after, reason })}\n\n`;

const bytesOf = (frames: readonly Frame[]) => frames.reduce((sum, { bytes }) => sum + bytes, 0);

export class Outbox {
  private readonly limits: OutboxLimits;
  private sink: Sink | undefined;
  private queue: Frame[] = [];
  private bytes = 0;
  private full = true;
  private missed = false;
  private lastId: string | null = null;
  /** What its beginning has told. */
  private begunAt = -1n;

  constructor(limits: OutboxLimits = outboxLimits) {
    this.limits = limits;
  }

  /**
   * Nothing was written so far, whatever came. It begins with `head`, behind the event `cursor`, and goes on with `replay`, which has
   * everything up to `upTo`.
   */
  open(sink: Sink, head: string, cursor: string, replay: readonly Frame[], upTo: bigint): void {
    this.lastId = cursor;
    this.begunAt = upTo;
    const later = this.queue.filter(({ seq }) => seq > upTo);
    this.queue = [...replay, ...later];
    this.bytes = bytesOf(this.queue);
    this.sink = sink;
    this.full = !sink.write(head);
    this.flush();
    this.bound();
  }

  /** `together`: the same frames in one piece, which many readers share. */
  add(frames: readonly Frame[], together: Buffer): void {
    if ((frames[0]?.seq ?? 0n) <= this.begunAt) {
      const later = frames.filter(({ seq }) => seq > this.begunAt);
      const known = frames.slice(0, frames.length - later.length);
      if (later.length > 0) this.add(later, together.subarray(bytesOf(known)));
      return;
    }
    if (this.sink !== undefined && !this.full && this.queue.length === 0 && together.length <= PIECE_BYTES) {
      this.full = !this.sink.write(together);
      this.lastId = frames.at(-1)?.id ?? this.lastId;
      return;
    }
    // Whoever misses some already misses them until it reads again.
    if (this.missed) return;
    for (const frame of frames) {
      this.queue.push(frame);
      this.bytes += frame.bytes;
    }
    // What its reader takes now does not wait.
    this.flush();
    this.bound();
  }

  /** Something to show that the stream lives; a reader that takes nothing needs none. */
  beat(text: string): void {
    if (this.sink !== undefined && !this.full) this.full = !this.sink.write(text);
  }

  drained(): void {
    this.full = false;
    this.flush();
  }

  get isStuck(): boolean {
    return this.full;
  }

  private bound(): void {
    if (this.queue.length <= this.limits.eventsMax && this.bytes <= this.limits.bytesMax) return;
    this.queue = [];
    this.bytes = 0;
    this.missed = true;
  }

  private flush(): void {
    const { sink } = this;
    if (sink === undefined || this.full) return;
    if (this.missed) {
      this.missed = false;
      this.full = !sink.write(missedText(this.lastId, "slow"));
    }
    let at = 0;
    while (!this.full && at < this.queue.length) {
      let piece = "";
      let bytes = 0;
      for (; at < this.queue.length && bytes < PIECE_BYTES; at += 1) {
        const frame = this.queue[at] as Frame;
        piece += frame.text;
        bytes += frame.bytes;
        this.lastId = frame.id;
      }
      this.bytes -= bytes;
      this.full = !sink.write(piece);
    }
    this.queue.splice(0, at);
  }
}
