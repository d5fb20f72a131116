/** Bytes of one frame, written and read field by field; every read is bounds-checked (SPEC §3). */
import { RevdialError } from "./errors.ts";
import type { HeaderList } from "./head.ts";

export const HEADER_BYTES = 9;
/** Frames are written into shared pages: an allocation per frame would cost more than its bytes. */
const PAGE_BYTES = 64 * 1024;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Writes frames one after the other; what `finish` has returned is never written again. It is shared by all tunnels: what has
 * no length, or another than was announced, must not move the place where the next frame begins. Error: ARGUMENT.
 */
class FrameWriter {
  private page = Buffer.allocUnsafeSlow(PAGE_BYTES);
  private start = 0;
  private at = 0;
  /** Where the next frame begins in the shared page. */
  private free = 0;

  /** Begins a frame of at most this payload. A frame that is not finished leaves nothing behind. */
  begin(payloadBytesMax: number): this {
    if (!Number.isInteger(payloadBytesMax)) throw new RevdialError("ARGUMENT", "a frame of no length");
    const bytes = HEADER_BYTES + payloadBytesMax;
    if (this.free + bytes > this.page.byteLength) {
      this.page = Buffer.allocUnsafeSlow(Math.max(PAGE_BYTES, bytes));
      this.free = 0;
    }
    this.start = this.free;
    this.at = this.free + HEADER_BYTES;
    return this;
  }

  u8(value: number): this {
    this.page[this.at++] = value;
    return this;
  }
  u16(value: number): this {
    const { page, at } = this;
    page[at] = value >>> 8;
    page[at + 1] = value;
    this.at = at + 2;
    return this;
  }
  u32(value: number): this {
    const { page, at } = this;
    page[at] = value >>> 24;
    page[at + 1] = value >>> 16;
    page[at + 2] = value >>> 8;
    page[at + 3] = value;
    this.at = at + 4;
    return this;
  }
  u64(value: bigint): this {
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }
  /** A u64 that a number holds exactly. */
  size(value: number): this {
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value % 0x1_0000_0000);
  }
  latin1(text: string): this {
    const { page, at } = this;
    for (let i = 0; i < text.length; i += 1) page[at + i] = text.charCodeAt(i);
    this.at = at + text.length;
    return this;
  }
  raw(bytes: Uint8Array): this {
    this.page.set(bytes, this.at);
    this.at += bytes.byteLength;
    return this;
  }
  headers(headers: HeaderList): this {
    this.u16(headers.length);
    for (const [name, value] of headers) this.u8(name.length).latin1(name).u16(value.length).latin1(value);
    return this;
  }

  /** `followingBytes`: payload that is sent right after what was written here. */
  finish(type: number, flags: number, channel: number, followingBytes = 0): Uint8Array {
    const { page, start, at } = this;
    if (!Number.isInteger(at) || at > page.byteLength || !Number.isInteger(followingBytes))
      throw new RevdialError("ARGUMENT", "what a frame is made of has no length, or another than it said");
    const payloadBytes = at - start - HEADER_BYTES + followingBytes;
    page[start] = payloadBytes >>> 16;
    page[start + 1] = payloadBytes >>> 8;
    page[start + 2] = payloadBytes;
    page[start + 3] = type;
    page[start + 4] = flags;
    this.at = start + 5;
    this.u32(channel);
    this.free = at;
    return page.subarray(start, at);
  }
}

/** One for all tunnels: writing a frame is never interrupted by another. */
export const frameWriter = new FrameWriter();

/** Reads one payload front to back; every read is bounds-checked. */
export class Reader {
  private readonly bytes: Buffer;
  private at: number;
  private readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  private take(count: number): number {
    const start = this.at;
    if (start + count > this.end) throw new RevdialError("FRAME_MALFORMED", "a field runs past its frame");
    this.at = start + count;
    return start;
  }

  u8(): number {
    return this.bytes[this.take(1)] as number;
  }
  u16(): number {
    return readU16(this.bytes, this.take(2));
  }
  u32(): number {
    return readU32(this.bytes, this.take(4));
  }
  u64(): bigint {
    const at = this.take(8);
    return (BigInt(readU32(this.bytes, at)) << 32n) | BigInt(readU32(this.bytes, at + 4));
  }
  /** A u64 that a number holds exactly; larger ones come out as numbers that are no safe integers. */
  size(): number {
    return this.u32() * 0x1_0000_0000 + this.u32();
  }
  /** Header text is bytes, one character each (RFC 9110 §5.5 obs-text). */
  latin1(count: number): string {
    const start = this.take(count);
    return this.bytes.toString("latin1", start, this.at);
  }
  text(count: number): string {
    const start = this.take(count);
    try {
      return fromUtf8.decode(this.bytes.subarray(start, this.at));
    } catch (cause) {
      throw new RevdialError("FRAME_MALFORMED", "a text is not UTF-8", { cause });
    }
  }
  rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }
  finish(): void {
    if (this.at !== this.end) throw new RevdialError("FRAME_MALFORMED", "bytes after the last field");
  }
}

/** The caller has checked that they are there. */
export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return ((readU16(bytes, at) << 16) | readU16(bytes, at + 2)) >>> 0;
}

/** The same memory with Node's fast ways to read text. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** At most 255 bytes of UTF-8; a longer text is cut between two characters. */
export function shortText(text: string): Uint8Array {
  const bytes = new Uint8Array(255);
  return bytes.subarray(0, utf8.encodeInto(text, bytes).written);
}
