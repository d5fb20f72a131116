/** What both sides of the HTTP transport share: names, numbers and the framing of its two byte streams (SPEC §12). */

export const HTTP_CONTENT_TYPE = "application/vnd.revdial.v3";
export const TUNNEL_FIELD = "revdial-tunnel";
export const SEQUENCE_FIELD = "revdial-sequence";
/** A tunnel key: 256 random bits in base64url. */
export const TUNNEL_KEY_FORM = /^[A-Za-z0-9_-]{43}$/;

const LENGTH_BYTES = 4;
const CLOSE_REASON_BYTES_MAX = 123;

export interface RecordEvents {
  message(message: Uint8Array): void;
  /** The peer ends in order; whatever follows is ignored. */
  close(code: number): void;
  /** The stream cannot be understood from here on; whatever follows is ignored. */
  malformed(reason: string): void;
}

/** The parts as one record. */
export function recordOf(parts: readonly Uint8Array[]): Uint8Array {
  let bytes = 0;
  for (const part of parts) bytes += part.byteLength;
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(bytes);
  return Buffer.concat([length, ...parts], LENGTH_BYTES + bytes);
}

/** No message is empty, so length 0 is free to announce the end: code u16, reason text8. */
export function closeRecord(code: number, reason: string): Uint8Array {
  const text = Buffer.from(reason).subarray(0, CLOSE_REASON_BYTES_MAX);
  const head = Buffer.alloc(LENGTH_BYTES + 3);
  head.writeUInt16BE(code, LENGTH_BYTES);
  head.writeUInt8(text.byteLength, LENGTH_BYTES + 2);
  return Buffer.concat([head, text]);
}

/** Puts records together again, wherever the stream was cut. Holds one record at most. */
export class RecordReader {
  private readonly messageBytesMax: number;
  private readonly events: RecordEvents;
  /** What is being filled: a length, a message, or the head and reason of a close record. */
  private stage: "length" | "message" | "closeHead" | "closeReason" | "over" = "length";
  private wanted = Buffer.alloc(LENGTH_BYTES);
  private filled = 0;
  private closeCode = 0;

  constructor(messageBytesMax: number, events: RecordEvents) {
    this.messageBytesMax = messageBytesMax;
    this.events = events;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength && this.stage !== "over") {
      const bytes = Math.min(chunk.byteLength - at, this.wanted.byteLength - this.filled);
      this.wanted.set(chunk.subarray(at, at + bytes), this.filled);
      this.filled += bytes;
      at += bytes;
      if (this.filled === this.wanted.byteLength) this.complete();
    }
  }

  private complete(): void {
    const whole = this.wanted;
    if (this.stage === "length") return this.announced(whole.readUInt32BE(0));
    if (this.stage === "message") {
      this.expect("length", LENGTH_BYTES);
      return this.events.message(whole);
    }
    if (this.stage === "closeHead") {
      this.closeCode = whole.readUInt16BE(0);
      const reasonBytes = whole.readUInt8(2);
      if (reasonBytes > 0) return this.expect("closeReason", reasonBytes);
    }
    this.expect("over", 0);
    this.events.close(this.closeCode);
  }

  private announced(bytes: number): void {
    if (bytes === 0) return this.expect("closeHead", 3);
    if (bytes <= this.messageBytesMax) return this.expect("message", bytes);
    this.expect("over", 0);
    this.events.malformed(`a record of ${bytes} bytes is above ${this.messageBytesMax}`);
  }

  /** Never more than `messageBytesMax`: the length was checked before. */
  private expect(stage: RecordReader["stage"], bytes: number): void {
    this.stage = stage;
    this.wanted = Buffer.allocUnsafe(bytes);
    this.filled = 0;
  }
}
