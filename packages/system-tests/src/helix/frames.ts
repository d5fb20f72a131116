/** WebSocket frames by hand, of both roles: what no WebSocket library would send, and what none would tell of what came. */
import { createHash } from "node:crypto";

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
export const closeCodes = { normal: 1000, goingAway: 1001, abnormal: 1006 } as const;

export interface Frame {
  fin: boolean;
  opcode: number;
  masked: boolean;
  payload: Buffer;
}

export interface FrameToSend {
  opcode: number;
  payload?: Uint8Array;
  /** Default true. */
  fin?: boolean;
  /** Four bytes, of a client; a server sends none. */
  mask?: Uint8Array | undefined;
}

export function encodeFrame({ opcode, payload = Buffer.alloc(0), fin = true, mask }: FrameToSend): Buffer {
  const { byteLength } = payload;
  const lengthBytes = byteLength < 126 ? 0 : byteLength < 65_536 ? 2 : 8;
  const start = 2 + lengthBytes + (mask?.byteLength ?? 0);
  const bytes = Buffer.allocUnsafe(start + byteLength);
  bytes[0] = (fin ? 0x80 : 0) | opcode;
  bytes[1] = (mask ? 0x80 : 0) | (lengthBytes === 0 ? byteLength : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) bytes.writeUInt16BE(byteLength, 2);
  if (lengthBytes === 8) bytes.writeBigUInt64BE(BigInt(byteLength), 2);
  bytes.set(payload, start);
  if (mask) {
    bytes.set(mask, start - 4);
    unmask(bytes.subarray(start), mask);
  }
  return bytes;
}

/** Masks as well: it is its own reverse. */
function unmask(bytes: Buffer, mask: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = (bytes[at] as number) ^ (mask[at & 3] as number);
}

/** Bytes of the frame's head at the start of `bytes`, and of its payload. Undefined: more has to come. */
export function frameHead(bytes: Buffer): { headBytes: number; payloadBytes: number } | undefined {
  if (bytes.length < 2) return undefined;
  const second = bytes[1] as number;
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const headBytes = 2 + lengthBytes + (second & 0x80 ? 4 : 0);
  if (bytes.length < headBytes) return undefined;
  if (lengthBytes === 0) return { headBytes, payloadBytes: short };
  const payloadBytes = lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return { headBytes, payloadBytes };
}

/** Frames out of whatever pieces they come in. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** No frame has begun that has not ended. */
  get atBoundary(): boolean {
    return this.rest.length === 0;
  }

  push(bytes: Buffer): Frame[] {
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      const head = frameHead(this.rest);
      if (head === undefined || this.rest.length < head.headBytes + head.payloadBytes) return frames;
      const { headBytes, payloadBytes } = head;
      const [first, second] = this.rest as unknown as [number, number];
      const masked = (second & 0x80) !== 0;
      const payload = Buffer.from(this.rest.subarray(headBytes, headBytes + payloadBytes));
      if (masked) unmask(payload, this.rest.subarray(headBytes - 4, headBytes));
      frames.push({ fin: (first & 0x80) !== 0, opcode: first & 0x0f, masked, payload });
      this.rest = this.rest.subarray(headBytes + payloadBytes);
    }
  }
}

/** What a close frame says; 1005 when it says nothing. */
export function closeCodeOf(payload: Buffer): number {
  return payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
}

export function closePayload(code: number, reason = ""): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2);
  return payload;
}

/** RFC 6455 §4.2.2. */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Head of an HTTP message: its first line and its fields, names in lower case. Undefined until it is whole. */
export interface HttpHead {
  line: string;
  fields: Map<string, string>;
  /** With the empty line. */
  bytes: number;
}

export function httpHead(bytes: Buffer): HttpHead | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [line = "", ...rest] = bytes.toString("latin1", 0, end).split("\r\n");
  const fields = new Map(
    rest.map((field) => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }),
  );
  return { line, fields, bytes: end + 4 };
}
