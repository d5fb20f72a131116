/** Bytes of one frame, read and written field by field; every read is bounds-checked (SPEC §3). */
import { RevdialError } from "./errors.ts";
import type { HeaderList } from "./head.ts";

export const HEADER_BYTES = 9;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

/** Reads one payload front to back; every read is bounds-checked. */
export class Reader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private take(count: number): number {
    const start = this.at;
    if (start + count > this.bytes.byteLength)
      throw new RevdialError("FRAME_MALFORMED", "a field runs past its frame");
    this.at = start + count;
    return start;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2));
  }
  u32(): number {
    return this.view.getUint32(this.take(4));
  }
  u64(): bigint {
    return this.view.getBigUint64(this.take(8));
  }
  /** Header text is bytes, one character each (RFC 9110 §5.5 obs-text). */
  latin1(count: number): string {
    const start = this.take(count);
    let text = "";
    for (let i = start; i < this.at; i += 1) text += String.fromCharCode(this.bytes[i] as number);
    return text;
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
    return this.bytes.subarray(this.at);
  }
  end(): void {
    if (this.at !== this.bytes.byteLength)
      throw new RevdialError("FRAME_MALFORMED", "bytes after the last field");
  }
}

/** Collects the fields of one frame. */
export class Writer {
  private bytes = new Uint8Array(256);
  private view = new DataView(this.bytes.buffer);
  private at = HEADER_BYTES;

  private grow(count: number): number {
    const start = this.at;
    this.at += count;
    if (this.at > this.bytes.byteLength) {
      const larger = new Uint8Array(Math.max(this.at, this.bytes.byteLength * 2));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return start;
  }

  u8(value: number): this {
    const at = this.grow(1); // First: growing replaces the view.
    this.view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.grow(2); // First: growing replaces the view.
    this.view.setUint16(at, value);
    return this;
  }
  u32(value: number): this {
    const at = this.grow(4); // First: growing replaces the view.
    this.view.setUint32(at, value);
    return this;
  }
  u64(value: bigint): this {
    const at = this.grow(8); // First: growing replaces the view.
    this.view.setBigUint64(at, value);
    return this;
  }
  latin1(text: string): this {
    const start = this.grow(text.length);
    for (let i = 0; i < text.length; i += 1) this.bytes[start + i] = text.charCodeAt(i);
    return this;
  }
  raw(bytes: Uint8Array): this {
    const at = this.grow(bytes.byteLength);
    this.bytes.set(bytes, at);
    return this;
  }
  headers(headers: HeaderList): this {
    this.u16(headers.length);
    for (const [name, value] of headers) this.u8(name.length).latin1(name).u16(value.length).latin1(value);
    return this;
  }
  frame(type: number, flags: number, channel: number): Uint8Array {
    writeHeader(this.view, this.at - HEADER_BYTES, type, flags, channel);
    return this.bytes.subarray(0, this.at);
  }
}

export function writeHeader(
  view: DataView,
  payloadBytes: number,
  type: number,
  flags: number,
  channel: number,
): void {
  view.setUint8(0, payloadBytes >>> 16);
  view.setUint16(1, payloadBytes & 0xffff);
  view.setUint8(3, type);
  view.setUint8(4, flags);
  view.setUint32(5, channel);
}

/** At most 255 bytes of UTF-8; a longer text is cut between two characters. */
export function shortText(text: string): Uint8Array {
  const bytes = new Uint8Array(255);
  return bytes.subarray(0, utf8.encodeInto(text, bytes).written);
}
