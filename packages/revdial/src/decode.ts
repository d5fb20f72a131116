/**
 * Bytes of one WebSocket message to frames. It checks length before reading, limits before allocating and type before
 * trusting; whatever the bytes, it returns frames or throws a RevdialError.
 */
import { bufferOf, HEADER_BYTES, Reader, readU16, readU32 } from "./bytes.ts";
import { RevdialError } from "./errors.ts";
import {
  channelKinds,
  FLAG_END,
  FLAG_LENGTH,
  type Frame,
  type FrameLimits,
  frameTypes,
  type Message,
  type OpenHead,
  PROTOCOL_VERSION,
  SMALL_BYTES_MAX,
  SWITCHING,
} from "./frame.ts";
import {
  checkHeaders,
  checkLength,
  checkMethod,
  checkPath,
  checkProtocol,
  checkService,
  checkStatus,
  checkTraceparent,
  type HeaderList,
} from "./head.ts";

const LAST_TYPE = Math.max(...Object.values(frameTypes));
const FIRST_IGNORED_TYPE = 0x40;

/** An OPEN of which only the kind is understood. */
const unknownOpen: Omit<OpenHead, "kind"> = {
  service: "",
  method: "",
  path: "",
  deadlineMs: 0,
  traceparent: "",
  protocol: "",
  headers: [],
};

/** A HELLO of which only the version is understood. */
const unknownHello: Omit<Frame & { type: "hello" }, "type" | "version"> = {
  channelsMax: 0,
  windowBytes: 0,
  headBytesMax: 0,
  dataBytesMax: 0,
  noticeBytesMax: 0,
  messageBytesMax: 0,
  headersMax: 0,
  interimHeadsMax: 0,
  emptyDataMax: 0,
  incarnation: 0n,
  agent: "",
  features: [],
};

/** By frame type. */
const allowedFlags: readonly number[] = Object.values(frameTypes).map((type) => {
  if (type === frameTypes.open || type === frameTypes.head) return FLAG_END | FLAG_LENGTH;
  return type === frameTypes.data ? FLAG_END : 0;
});

function payloadBytesMax(type: number, limits: FrameLimits): number {
  switch (type) {
    case frameTypes.data:
      return limits.dataBytesMax;
    case frameTypes.open:
    case frameTypes.head:
    case frameTypes.end:
      return limits.headBytesMax;
    case frameTypes.notice:
      return limits.noticeBytesMax;
    case frameTypes.hello:
      return 4096;
    default:
      return type >= FIRST_IGNORED_TYPE ? limits.dataBytesMax : SMALL_BYTES_MAX;
  }
}

/**
 * All frames of one message; behind a HELLO of another version nothing is read (SPEC §4). Payloads of DATA and NOTICE are views into `message`: its owner must not reuse the memory.
 * Errors: FRAME_TRUNCATED, FRAME_TOO_LARGE, FRAME_TYPE_UNKNOWN, FRAME_FLAGS, FRAME_MALFORMED, HEAD_INVALID, HEAD_TOO_LARGE.
 */
export function decodeMessage(message: Message, limits: FrameLimits): Frame[] {
  const frames: Frame[] = [];
  if (message instanceof Uint8Array) decodePiece(bufferOf(message), limits, frames);
  else decodeFragments(message, limits, frames);
  if (frames.length === 0 && isEmpty(message)) throw new RevdialError("FRAME_TRUNCATED", "an empty message");
  return frames;
}

function isEmpty(message: Message): boolean {
  return message instanceof Uint8Array
    ? message.byteLength === 0
    : message.every((fragment) => fragment.byteLength === 0);
}

/**
 * A sender that does not want to copy a large body puts it into a fragment of its own, right behind its header (SPEC
 * §2.2): then it is not copied here either. Any other cut is allowed, and costs a copy.
 */
function decodeFragments(fragments: readonly Uint8Array[], limits: FrameLimits, frames: Frame[]): void {
  for (let index = 0; index < fragments.length; ) {
    const bytes = bufferOf(fragments[index] as Uint8Array);
    const body = fragments[index + 1];
    const header = bytes.byteLength - HEADER_BYTES;
    if (body !== undefined && endsInDataHeader(bytes, body, limits)) {
      if (!decodePiece(bytes.subarray(0, header), limits, frames)) return;
      const [flags, channel] = [bytes[header + 4] as number, readU32(bytes, header + 5)];
      const payload = bufferOf(body);
      frames.push(decodeFrame(frameTypes.data, flags, channel, payload, 0, payload.byteLength, limits));
      index += 2;
      continue;
    }
    decodePiece(Buffer.concat(fragments.slice(index)), limits, frames);
    return;
  }
}

/** Whole frames, then the header of a DATA frame whose payload is exactly the next fragment. */
function endsInDataHeader(bytes: Buffer, body: Uint8Array, limits: FrameLimits): boolean {
  let at = 0;
  while (at + HEADER_BYTES < bytes.byteLength) {
    at += HEADER_BYTES + (((bytes[at] as number) << 16) | readU16(bytes, at + 1));
  }
  if (at + HEADER_BYTES !== bytes.byteLength || bytes[at + 3] !== frameTypes.data) return false;
  const payloadBytes = ((bytes[at] as number) << 16) | readU16(bytes, at + 1);
  return payloadBytes === body.byteLength && payloadBytes <= limits.dataBytesMax;
}

/** False when the rest of the message must not be read. */
function decodePiece(bytes: Buffer, limits: FrameLimits, frames: Frame[]): boolean {
  const total = bytes.byteLength;
  for (let at = 0; at < total; ) {
    if (at + HEADER_BYTES > total) throw new RevdialError("FRAME_TRUNCATED", "a message ends in a header");
    const payloadBytes = ((bytes[at] as number) << 16) | readU16(bytes, at + 1);
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const start = at + HEADER_BYTES;
    const end = start + payloadBytes;
    if (payloadBytes > payloadBytesMax(type, limits)) {
      const isHead = type === frameTypes.open || type === frameTypes.head || type === frameTypes.end;
      const code = isHead ? "HEAD_TOO_LARGE" : "FRAME_TOO_LARGE";
      throw new RevdialError(code, `${payloadBytes} payload bytes in a frame of type ${type}`);
    }
    if (end > total) throw new RevdialError("FRAME_TRUNCATED", "a message ends in a payload");
    if (type < FIRST_IGNORED_TYPE) {
      const frame = decodeFrame(type, flags, readU32(bytes, at + 5), bytes, start, end, limits);
      frames.push(frame);
      if (frame.type === "hello" && frame.version !== PROTOCOL_VERSION) return false;
    }
    at = end;
  }
  return true;
}

function decodeFrame(
  type: number,
  flags: number,
  channel: number,
  bytes: Buffer,
  start: number,
  stop: number,
  limits: FrameLimits,
): Frame {
  if (type > LAST_TYPE) throw new RevdialError("FRAME_TYPE_UNKNOWN", `type ${type}`);
  if ((flags & ~(allowedFlags[type] as number)) !== 0)
    throw new RevdialError("FRAME_FLAGS", `flags ${flags} on type ${type}`);
  const ofTunnel =
    type === frameTypes.hello ||
    type === frameTypes.ping ||
    type === frameTypes.pong ||
    type === frameTypes.goaway ||
    type === frameTypes.notice ||
    type === frameTypes.grant;
  if (ofTunnel !== (channel === 0))
    throw new RevdialError("CHANNEL_ID", `type ${type} on channel ${channel}`);
  const end = (flags & FLAG_END) !== 0;
  const sized = (flags & FLAG_LENGTH) !== 0;
  if (type === frameTypes.data) return { type: "data", channel, end, bytes: bytes.subarray(start, stop) };
  const r = new Reader(bytes, start, stop);
  switch (type) {
    case frameTypes.hello:
      return readHello(r);
    case frameTypes.open: {
      const kind = r.u8();
      if (kind > channelKinds.socket) return { type: "open", channel, end, ...unknownOpen, kind };
      const deadlineMs = r.u32();
      const length = sized ? r.size() : undefined;
      const service = r.latin1(r.u8());
      const method = r.latin1(r.u8());
      const path = r.latin1(r.u16());
      const traceparent = r.latin1(r.u8());
      const protocol = kind === channelKinds.socket ? r.latin1(r.u8()) : "";
      const headers = readHeaders(r, limits);
      r.finish();
      checkService(service);
      checkMethod(method);
      checkPath(path);
      checkTraceparent(traceparent);
      checkProtocol(kind, protocol);
      checkLength(length, kind === channelKinds.socket ? SWITCHING : 200);
      return {
        type: "open",
        channel,
        end,
        kind,
        deadlineMs,
        length,
        service,
        method,
        path,
        traceparent,
        protocol,
        headers,
      };
    }
    case frameTypes.head: {
      const status = r.u16();
      const length = sized ? r.size() : undefined;
      const headers = readHeaders(r, limits);
      r.finish();
      checkStatus(status);
      checkLength(length, status);
      if (end && status < 200)
        throw new RevdialError("HEAD_INVALID", "a head below 200 cannot end the response");
      return { type: "head", channel, end, status, length, headers };
    }
    case frameTypes.end: {
      const trailers = start === stop ? [] : readHeaders(r, limits);
      r.finish();
      return { type: "end", channel, trailers };
    }
    case frameTypes.reset: {
      const code = r.u16();
      const reason = r.text(r.u8());
      r.finish();
      return { type: "reset", channel, code, reason };
    }
    case frameTypes.credit: {
      const bytes = r.u32();
      r.finish();
      return { type: "credit", channel, bytes };
    }
    case frameTypes.ping:
    case frameTypes.pong: {
      const token = r.u64();
      r.finish();
      return { type: type === frameTypes.ping ? "ping" : "pong", token };
    }
    case frameTypes.grant: {
      const channels = r.u32();
      r.finish();
      return { type: "grant", channels };
    }
    case frameTypes.goaway: {
      const lastChannel = r.u32();
      const code = r.u16();
      const retryAfterMs = r.u32();
      const reason = r.text(r.u8());
      r.finish();
      return { type: "goaway", lastChannel, code, retryAfterMs, reason };
    }
    default: {
      const notice = r.latin1(r.u8());
      checkService(notice);
      return { type: "notice", notice, payload: r.rest() };
    }
  }
}

/** HELLO can grow: what a later one says behind our last field is not read, and of another version only its number is. */
function readHello(r: Reader): Frame {
  const version = r.u16();
  if (version !== PROTOCOL_VERSION) return { type: "hello", ...unknownHello, version };
  const channelsMax = r.u32();
  const windowBytes = r.u32();
  const headBytesMax = r.u32();
  const dataBytesMax = r.u32();
  const noticeBytesMax = r.u32();
  const messageBytesMax = r.u32();
  const headersMax = r.u16();
  const interimHeadsMax = r.u32();
  const emptyDataMax = r.u32();
  const incarnation = r.u64();
  const agent = r.text(r.u8());
  const features: string[] = [];
  for (let left = r.u8(); left > 0; left -= 1) features.push(r.text(r.u8()));
  const sizes = { headBytesMax, dataBytesMax, noticeBytesMax, messageBytesMax };
  const counts = { headersMax, interimHeadsMax, emptyDataMax };
  return {
    type: "hello",
    version,
    channelsMax,
    windowBytes,
    ...sizes,
    ...counts,
    incarnation,
    agent,
    features,
  };
}

function readHeaders(r: Reader, limits: FrameLimits): HeaderList {
  const count = r.u16();
  if (count > limits.headersMax) throw new RevdialError("HEAD_TOO_LARGE", `${count} header fields`);
  const headers: [string, string][] = [];
  for (let left = count; left > 0; left -= 1) headers.push([r.latin1(r.u8()), r.latin1(r.u16())]);
  checkHeaders(headers, limits.headersMax);
  return headers;
}
