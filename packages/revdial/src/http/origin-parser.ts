/**
 * Answers of an origin from bytes that may be cut anywhere (RFC 9112). A head or a line is looked at once it is whole, a body is
 * passed on as it comes, and nothing behind the end of an answer is looked at.
 */
import {
  AnswerError,
  type AnswerHead,
  type FieldList,
  malformed,
  parseHead,
  parseTrailers,
} from "./origin-head.ts";
import { HeldText } from "./origin-text.ts";

/** Of the head of an answer, and of its trailers. */
export const ANSWER_HEAD_BYTES_MAX = 64 * 1024;
/** Of a chunk's size with its extensions, which nobody reads. */
export const CHUNK_LINE_BYTES_MAX = 4096;

/** Whose answer it is. What it throws comes out of `feed` or `end`, and leaves the parser as it is. */
export interface AnswerSink {
  /** 100 to 199, not 101; any number of times before the head. */
  onInterim(status: number, fields: FieldList): void;
  onHead(head: AnswerHead): void;
  /** The bytes are the sink's to keep. */
  onData(bytes: Buffer): void;
  /** The answer is whole. `keepMs`: how long its connection may be kept unused, 0 for not at all. */
  onEnd(trailers: FieldList, keepMs: number): void;
  /** 101 to an upgrade; `rest` are the first bytes of the new protocol. */
  onSwitch(fields: FieldList, rest: Buffer): void;
}

const [IDLE, HEAD, SIZED, SIZE_LINE, CHUNK, CHUNK_CR, CHUNK_LF, TRAILERS, UNTIL_CLOSE] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
] as const;

const CR = 0x0d;
const LF = 0x0a;
const lineEnd = Buffer.from("\r\n");
const headEnd = Buffer.from("\r\n\r\n");
const nothing: FieldList = [];

/** RFC 9112 §7.1, without blanks, which some readers take and others do not. */
const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const quoted = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t\\x20-\\x7e\\x80-\\xff])*"';
const chunkLine = new RegExp(`^([0-9a-fA-F]{1,16})(?:;${token}(?:=(?:${token}|${quoted}))?)*$`);

export class AnswerParser {
  private state: number = IDLE;
  private sink: AnswerSink | undefined;
  private toHead = false;
  private toUpgrade = false;
  private keepMs = 0;
  /** Bytes of the body or of the chunk that are still to come. */
  private left = 0;
  private readonly text = new HeldText();

  /** The next bytes are an answer to this request. */
  begin(sink: AnswerSink, method: string, toUpgrade: boolean): void {
    this.sink = sink;
    this.toHead = method === "HEAD";
    this.toUpgrade = toUpgrade;
    this.state = HEAD;
  }

  /** Nobody waits for an answer any more: the sink is not called again. */
  stop(): void {
    this.state = IDLE;
    this.sink = undefined;
    this.text.clear();
  }

  /** Errors: AnswerError, and what the sink throws. */
  feed(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && this.state !== IDLE; ) at = this.step(bytes, at);
  }

  /** The connection has ended in order. Error: AnswerError, unless that is the end of the answer. */
  end(): void {
    if (this.state !== UNTIL_CLOSE) throw new AnswerError("ANSWER_CUT", "broke off its answer");
    this.finish(nothing, 0);
  }

  /** Takes what is at `at`, and returns where that ends. */
  private step(bytes: Buffer, at: number): number {
    switch (this.state) {
      case HEAD:
        return this.head(bytes, at);
      case SIZE_LINE:
        return this.sizeLine(bytes, at);
      case CHUNK_CR:
        return this.chunkEnd(bytes[at] === CR, at, CHUNK_LF);
      case CHUNK_LF:
        return this.chunkEnd(bytes[at] === LF, at, SIZE_LINE);
      case TRAILERS:
        return this.trailers(bytes, at);
      default:
        return this.body(bytes, at);
    }
  }

  private head(bytes: Buffer, at: number): number {
    const text = this.text.until(bytes, at, headEnd, ANSWER_HEAD_BYTES_MAX);
    if (text === undefined) {
      // Who speaks another protocol may never send an empty line.
      if (!this.text.beginsAs("HTTP/1.")) throw malformed("does not speak HTTP/1.1");
      return bytes.length;
    }
    const { next } = this.text;
    const head = parseHead(text);
    const { status, fields } = head;
    const sink = this.sink as AnswerSink;
    if (status === 101) {
      if (!this.toUpgrade) throw malformed("switched to another protocol, which nobody asked for");
      if (!head.upgrade) throw malformed("switched to a protocol that it does not name");
      this.state = IDLE;
      sink.onSwitch(fields, bytes.subarray(next));
      return bytes.length;
    }
    if (status < 200) {
      sink.onInterim(status, fields);
      return next;
    }
    this.frame(head);
    sink.onHead(head);
    if (this.state === SIZED && this.left === 0) this.finish(nothing, next < bytes.length ? 0 : this.keepMs);
    return next;
  }

  /** RFC 9112 §6.3. */
  private frame({ status, chunked, length, keepMs }: AnswerHead): void {
    const bodiless = this.toHead || status === 204 || status === 304;
    this.keepMs = keepMs;
    this.left = bodiless || length === undefined ? 0 : length;
    if (bodiless) this.state = SIZED;
    else if (chunked) this.state = SIZE_LINE;
    else this.state = length === undefined ? UNTIL_CLOSE : SIZED;
  }

  private body(bytes: Buffer, at: number): number {
    const { state } = this;
    const end = state === UNTIL_CLOSE ? bytes.length : Math.min(bytes.length, at + this.left);
    if (state !== UNTIL_CLOSE) this.left -= end - at;
    if (state === CHUNK && this.left === 0) this.state = CHUNK_CR;
    this.sink?.onData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    if (this.state === SIZED && this.left === 0) this.finish(nothing, end < bytes.length ? 0 : this.keepMs);
    return end;
  }

  private sizeLine(bytes: Buffer, at: number): number {
    const line = this.text.until(bytes, at, lineEnd, CHUNK_LINE_BYTES_MAX);
    if (line === undefined) return bytes.length;
    const digits = chunkLine.exec(line)?.[1];
    this.left = digits === undefined ? Number.NaN : Number.parseInt(digits, 16);
    if (!Number.isSafeInteger(this.left)) throw malformed("sent a chunk whose size is none");
    this.state = this.left === 0 ? TRAILERS : CHUNK;
    return this.text.next;
  }

  private chunkEnd(asExpected: boolean, at: number, state: number): number {
    if (!asExpected) throw malformed("sent a chunk that is longer than its size");
    this.state = state;
    return at + 1;
  }

  private trailers(bytes: Buffer, at: number): number {
    const { text } = this;
    if (!text.isHeld) {
      if (bytes[at] === CR && bytes[at + 1] === LF) return this.endAt(bytes, at + 2, nothing);
      // With the end of the line before them they end as a head does, even when there are none.
      text.hold(lineEnd);
    }
    const fields = text.until(bytes, at, headEnd, ANSWER_HEAD_BYTES_MAX);
    if (fields === undefined) return bytes.length;
    return this.endAt(bytes, text.next, parseTrailers(fields, lineEnd.length));
  }

  private endAt(bytes: Buffer, at: number, trailers: FieldList): number {
    this.finish(trailers, at < bytes.length ? 0 : this.keepMs);
    return at;
  }

  private finish(trailers: FieldList, keepMs: number): void {
    const sink = this.sink as AnswerSink;
    this.stop();
    sink.onEnd(trailers, keepMs);
  }
}
