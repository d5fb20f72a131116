/** Frames to bytes. What SPEC does not let travel is refused here, before a peer has to. */
import { frameWriter, HEADER_BYTES, shortText } from "./bytes.ts";
import { RevdialError } from "./errors.ts";
import {
  channelKinds,
  FLAG_END,
  FLAG_LENGTH,
  type Frame,
  type FrameLimits,
  frameTypes,
  type OpenHead,
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

/** The 9 header bytes of a DATA frame; its payload follows as it is, so that bulk is never copied here. */
export function encodeDataHeader(channel: number, payloadBytes: number, end: boolean): Uint8Array {
  return frameWriter.begin(0).finish(frameTypes.data, end ? FLAG_END : 0, channel, payloadBytes);
}

/** One frame as bytes. Throws HEAD_INVALID, HEAD_TOO_LARGE or FRAME_TOO_LARGE for what SPEC does not let travel. */
export function encodeFrame(frame: Frame, limits: FrameLimits): Uint8Array {
  switch (frame.type) {
    case "hello":
      return encodeHello(frame);
    case "open":
      return encodeOpen(frame.channel, frame, frame.end, limits);
    case "head": {
      const { status, length, headers, channel, end } = frame;
      checkStatus(status);
      checkLength(length, status);
      const w = frameWriter.begin(headBytes(headers, 10, limits)).u16(status);
      if (length !== undefined) w.size(length);
      return w.headers(headers).finish(frameTypes.head, flagsOf(end, length), channel);
    }
    case "data": {
      const { bytes, channel, end } = frame;
      if (bytes.byteLength > limits.dataBytesMax) throw new RevdialError("FRAME_TOO_LARGE", "DATA payload");
      const w = frameWriter.begin(bytes.byteLength).raw(bytes);
      return w.finish(frameTypes.data, end ? FLAG_END : 0, channel);
    }
    case "end": {
      const { trailers, channel } = frame;
      const w = frameWriter.begin(headBytes(trailers, 0, limits));
      if (trailers.length > 0) w.headers(trailers);
      return w.finish(frameTypes.end, 0, channel);
    }
    case "reset": {
      const reason = shortText(frame.reason);
      const w = frameWriter.begin(SMALL_BYTES_MAX).u16(frame.code).u8(reason.byteLength).raw(reason);
      return w.finish(frameTypes.reset, 0, frame.channel);
    }
    case "credit":
      return frameWriter.begin(4).u32(frame.bytes).finish(frameTypes.credit, 0, frame.channel);
    case "grant":
      return frameWriter.begin(4).u32(frame.channels).finish(frameTypes.grant, 0, 0);
    case "ping":
    case "pong":
      return frameWriter.begin(8).u64(frame.token).finish(frameTypes[frame.type], 0, 0);
    case "goaway": {
      const { lastChannel, code, retryAfterMs } = frame;
      const reason = shortText(frame.reason);
      const w = frameWriter.begin(SMALL_BYTES_MAX).u32(lastChannel).u16(code).u32(retryAfterMs);
      return w.u8(reason.byteLength).raw(reason).finish(frameTypes.goaway, 0, 0);
    }
    case "notice": {
      const { notice, payload } = frame;
      checkService(notice);
      const bytes = 1 + notice.length + payload.byteLength;
      if (bytes > limits.noticeBytesMax)
        throw new RevdialError("FRAME_TOO_LARGE", `a notice is larger than ${limits.noticeBytesMax} bytes`);
      const w = frameWriter.begin(bytes).u8(notice.length).latin1(notice).raw(payload);
      return w.finish(frameTypes.notice, 0, 0);
    }
  }
}

function encodeHello(frame: Frame & { type: "hello" }): Uint8Array {
  const agent = shortText(frame.agent);
  const features = frame.features.map(shortText);
  const w = frameWriter.begin(46 + agent.byteLength + features.length * 256);
  w.u16(frame.version).u32(frame.channelsMax).u32(frame.windowBytes);
  w.u32(frame.headBytesMax).u32(frame.dataBytesMax).u32(frame.noticeBytesMax).u32(frame.messageBytesMax);
  w.u16(frame.headersMax).u32(frame.interimHeadsMax).u32(frame.emptyDataMax);
  w.u64(BigInt.asUintN(64, frame.incarnation));
  w.u8(agent.byteLength).raw(agent).u8(features.length);
  for (const name of features) w.u8(name.byteLength).raw(name);
  return w.finish(frameTypes.hello, 0, 0);
}

/** All that is wrong with the head of a request, but for what depends on a peer's limits. Errors: HEAD_INVALID, ARGUMENT. */
export function checkOpen(head: OpenHead): void {
  checkFields(head);
  checkHeaders(head.headers, Number.POSITIVE_INFINITY);
}

function checkFields({ kind, length, service, method, path, traceparent, protocol }: OpenHead): void {
  checkService(service);
  checkMethod(method);
  checkPath(path);
  checkTraceparent(traceparent);
  checkProtocol(kind, protocol);
  checkLength(length, kind === channelKinds.socket ? SWITCHING : 200);
}

/** An OPEN frame, from its head as it is. */
export function encodeOpen(channel: number, head: OpenHead, end: boolean, limits: FrameLimits): Uint8Array {
  checkFields(head);
  const { kind, deadlineMs, length, service, method, path, traceparent, protocol, headers } = head;
  // Service, method, traceparent, protocol and numbers are below 512 bytes together.
  const w = frameWriter.begin(headBytes(headers, path.length + 512, limits));
  w.u8(kind).u32(deadlineMs);
  if (length !== undefined) w.size(length);
  w.u8(service.length).latin1(service).u8(method.length).latin1(method);
  w.u16(path.length).latin1(path).u8(traceparent.length).latin1(traceparent);
  if (kind === channelKinds.socket) w.u8(protocol.length).latin1(protocol);
  return w.headers(headers).finish(frameTypes.open, flagsOf(end, length), channel);
}

/** Writes into an OPEN that has not left yet what is left of its deadline: it may have waited. */
export function patchDeadline(open: Uint8Array, deadlineMs: number): void {
  const at = HEADER_BYTES + 1; // Behind `kind`.
  open[at] = deadlineMs >>> 24;
  open[at + 1] = deadlineMs >>> 16;
  open[at + 2] = deadlineMs >>> 8;
  open[at + 3] = deadlineMs;
}

function flagsOf(end: boolean, length: number | undefined): number {
  return (end ? FLAG_END : 0) | (length === undefined ? 0 : FLAG_LENGTH);
}

/** Payload bytes that a head takes at most. Errors: HEAD_INVALID, HEAD_TOO_LARGE. */
function headBytes(headers: HeaderList, otherBytes: number, limits: FrameLimits): number {
  checkHeaders(headers, limits.headersMax);
  let bytes = otherBytes + 2;
  for (const [name, value] of headers) bytes += 3 + name.length + value.length;
  if (bytes <= limits.headBytesMax) return bytes;
  throw new RevdialError("HEAD_TOO_LARGE", `more than ${limits.headBytesMax} bytes`);
}
