/** A request as it is written to an origin: its head in one text, its body with its length or in chunks (RFC 9112 §7.1). */
import type { Writable } from "node:stream";
import { BodySource } from "../body-source.ts";
import { RevdialError } from "../errors.ts";
import { channelKinds } from "../frame.ts";
import {
  checkField,
  checkMethod,
  checkPath,
  checkProtocol,
  checkTraceparent,
  type HeaderList,
} from "../head.ts";
import type { IncomingRequest } from "../tunnel.ts";

/** Methods that may be sent twice (RFC 9110 §9.2.2). */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** Whether a proxy may send this once more after a connection has died with it. A body is gone once it was read. */
export function isRepeatable({ hasBody, method }: IncomingRequest): boolean {
  return !hasBody && idempotent.has(method);
}

/** Methods of which no origin expects a body without being told of one (RFC 9110 §8.6). */
const withoutBody: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

export interface RequestHead {
  text: string;
  /** Bytes that the body is to have; undefined when it goes in chunks. */
  length: number | undefined;
}

/**
 * What comes through a tunnel has been checked by the codec; a handler in between may have put in something of its own, so that
 * everything is looked at once more where it becomes lines. Error: HEAD_INVALID.
 */
export function requestHead(host: string, request: IncomingRequest): RequestHead {
  const { method, path, hasBody, traceparent, upgrade } = request;
  checkMethod(method);
  checkPath(path);
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  let length: number | undefined;
  for (const [name, value] of request.headers) {
    if (name === "content-length") length = lengthOf(length, value);
    else {
      checkField(name, value);
      text += `${name}: ${value}\r\n`;
    }
  }
  if (!hasBody && length !== undefined && length > 0)
    throw new RevdialError("HEAD_INVALID", "a request without a body has a length");
  if (length === undefined && hasBody) text += "transfer-encoding: chunked\r\n";
  else if (length !== undefined || !withoutBody.has(method)) text += `content-length: ${length ?? 0}\r\n`;
  if (traceparent !== undefined) {
    checkTraceparent(traceparent);
    text += `traceparent: ${traceparent}\r\n`;
  }
  if (upgrade !== undefined) {
    checkProtocol(channelKinds.socket, upgrade);
    text += `connection: Upgrade\r\nupgrade: ${upgrade}\r\n`;
  }
  return { text: `${text}\r\n`, length };
}

function lengthOf(before: number | undefined, value: string): number {
  const length = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(length) || before !== undefined)
    throw new RevdialError("HEAD_INVALID", "content-length is not one decimal number");
  return length;
}

/** The body of one request on its way into a connection. */
export class Upload {
  /** All of it is written. */
  done: boolean;
  private readonly socket: Writable;
  private readonly request: IncomingRequest;
  private readonly source: BodySource;
  /** Bytes that were announced and have not come; undefined in chunks. */
  private left: number | undefined;
  private stopped = false;

  constructor(socket: Writable, request: IncomingRequest, length: number | undefined) {
    this.socket = socket;
    this.request = request;
    this.left = length;
    this.done = length === 0;
    this.source = new BodySource(request.body);
  }

  /** Settles when the body has ended or nobody wants it any more. Rejects with its error, or BODY_LENGTH. */
  async run(): Promise<void> {
    await this.source.run((chunk) => this.put(chunk));
    if (this.stopped || this.done) return;
    if (this.left !== undefined)
      throw new RevdialError("BODY_LENGTH", `${this.left} bytes less than announced`);
    const trailers = await this.request.trailers;
    if (this.stopped) return;
    this.socket.write(lastChunk(trailers), "latin1");
    this.done = true;
  }

  /** The socket has room again. */
  resume(): void {
    this.source.resume();
  }

  stop(): void {
    this.stopped = true;
    void this.source.stop();
  }

  /** An empty chunk would be the last: BodySource gives none. */
  private put(chunk: Uint8Array): boolean {
    const { socket, left } = this;
    if (left === undefined) {
      socket.cork();
      socket.write(`${chunk.byteLength.toString(16)}\r\n`, "latin1");
      socket.write(chunk);
      const room = socket.write("\r\n", "latin1");
      socket.uncork();
      return room;
    }
    // One byte more would be the beginning of another request.
    if (chunk.byteLength > left)
      throw new RevdialError("BODY_LENGTH", `${chunk.byteLength - left} bytes more than announced`);
    this.left = left - chunk.byteLength;
    this.done = this.left === 0;
    return socket.write(chunk);
  }
}

/** Error: HEAD_INVALID. */
function lastChunk(trailers: HeaderList): string {
  let text = "0\r\n";
  for (const [name, value] of trailers) {
    checkField(name, value);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}
