/**
 * How the Go clients read a WebSocket, step by step, since what they lose they lose by where their reads end: a socket is read
 * in pieces of 4096 bytes; the older adapter begins with the next message on each of its reads and drops what was left of the
 * last one. Blocking reads are generators here that yield while there is nothing to read.
 */
import { closeCodeOf, frameHead, opcodes } from "./frames.ts";

/** "dropping" loses what one read did not return, "whole" does not; "lines" is a stream without messages. */
export type ReaderKind = "dropping" | "whole" | "lines";

export interface GoReaderOptions {
  kind: ReaderKind;
  onPing?: (payload: Buffer) => void;
  onPong?: (payload: Buffer) => void;
  /** Nothing is read after it. `closeCode`: of the peer's close frame. */
  onEnd: (why: string, closeCode?: number) => void;
}

export interface GoReader {
  /** Bytes have come to the socket; `run` reads them. */
  arrived(bytes: Buffer): void;
  /** Reads until there is nothing to read. */
  run(): void;
  /** Bytes of messages that nobody will see. */
  readonly bytesLost: number;
  /** Bytes that have come and were not read. */
  readonly bytesQueued: number;
}

type Blocking<Value> = Generator<void, Value, void>;

const BUFFER_BYTES = 4096;
const LINE_BYTES_MAX = 4096;
const DATA_READ_BYTES = 32 * 1024;

/** Reading is over, and why; also thrown by who hears lines. */
export class ReadEnded extends Error {
  readonly closeCode: number | undefined;

  constructor(why: string, closeCode?: number) {
    super(why);
    this.closeCode = closeCode;
  }
}

/** A socket behind a buffer of 4096 bytes. */
class BufferedSocket {
  private readonly queue: Buffer[] = [];
  private buffered: Buffer = Buffer.alloc(0);
  queuedBytes = 0;

  arrived(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
  }

  /** Blocks until so many can be seen; they stay. */
  *peek(bytes: number): Blocking<Buffer> {
    while (this.buffered.length < bytes) yield* this.fill();
    return this.buffered.subarray(0, bytes);
  }

  skip(bytes: number): void {
    this.buffered = this.buffered.subarray(bytes);
  }

  /** At least one byte: what is buffered, else what one read of the socket brings. */
  *read(bytesMax: number): Blocking<Buffer> {
    if (this.buffered.length === 0) {
      if (bytesMax >= BUFFER_BYTES) return yield* this.readSocket(bytesMax);
      yield* this.fill();
    }
    const bytes = this.buffered.subarray(0, bytesMax);
    this.skip(bytes.length);
    return bytes;
  }

  private *fill(): Blocking<void> {
    const more = yield* this.readSocket(BUFFER_BYTES - this.buffered.length);
    this.buffered = this.buffered.length === 0 ? more : Buffer.concat([this.buffered, more]);
  }

  /** The kernel knows no boundaries: one read takes whatever has come. */
  private *readSocket(bytesMax: number): Blocking<Buffer> {
    while (this.queuedBytes === 0) yield;
    const all = this.queue.length === 1 ? (this.queue[0] as Buffer) : Buffer.concat(this.queue);
    const bytes = all.subarray(0, bytesMax);
    this.queue.splice(0, this.queue.length, ...(bytes.length < all.length ? [all.subarray(bytesMax)] : []));
    this.queuedBytes -= bytes.length;
    return bytes;
  }
}

/** Messages on that socket as a stream of bytes. */
class MessageStream {
  readonly socket = new BufferedSocket();
  bytesLost = 0;
  private readonly options: GoReaderOptions;
  private frameBytesLeft = 0;
  private isLastFrame = true;
  private inMessage = false;

  constructor(options: GoReaderOptions) {
    this.options = options;
  }

  *read(bytesMax: number): Blocking<Buffer> {
    const { kind } = this.options;
    if (kind === "lines") return yield* this.socket.read(bytesMax);
    for (;;) {
      if (kind === "dropping" || !this.inMessage) yield* this.nextMessage();
      const bytes = yield* this.readMessage(bytesMax);
      if (bytes !== undefined) return bytes;
      // An empty message is the end of the stream to the one, and nothing to the other.
      if (kind === "dropping") throw new ReadEnded("EOF");
    }
  }

  /** Leaves the message of before, wherever it was. */
  private *nextMessage(): Blocking<void> {
    this.inMessage = false;
    for (;;) {
      const opcode = yield* this.nextFrame();
      if (opcode === opcodes.text) throw new ReadEnded("a text message");
      if (opcode !== opcodes.binary) continue;
      this.inMessage = true;
      return;
    }
  }

  /** Undefined: there is no more of this message. */
  private *readMessage(bytesMax: number): Blocking<Buffer | undefined> {
    for (;;) {
      if (this.frameBytesLeft > 0) {
        const bytes = yield* this.socket.read(Math.min(bytesMax, this.frameBytesLeft));
        this.frameBytesLeft -= bytes.length;
        return bytes;
      }
      if (this.isLastFrame) {
        this.inMessage = false;
        return undefined;
      }
      yield* this.nextFrame();
    }
  }

  /** Reads on to the payload of the next frame, and gives its opcode. */
  private *nextFrame(): Blocking<number> {
    while (this.frameBytesLeft > 0) {
      const dropped = yield* this.socket.read(this.frameBytesLeft);
      this.frameBytesLeft -= dropped.length;
      this.bytesLost += dropped.length;
    }
    const length = (((yield* this.socket.peek(2))[1] as number) & 0x7f) as number;
    const head = yield* this.socket.peek(length === 126 ? 4 : length === 127 ? 10 : 2);
    const first = head[0] as number;
    if ((first & 0x70) !== 0 || ((head[1] as number) & 0x80) !== 0) throw new ReadEnded("a bad frame");
    const { payloadBytes } = frameHead(head) as { payloadBytes: number };
    this.socket.skip(head.length);
    const opcode = first & 0x0f;
    if (opcode >= opcodes.close) {
      const payload = Buffer.from(yield* this.socket.peek(payloadBytes));
      this.socket.skip(payloadBytes);
      this.onControlFrame(opcode, payload);
    } else {
      this.frameBytesLeft = payloadBytes;
      this.isLastFrame = (first & 0x80) !== 0;
    }
    return opcode;
  }

  private onControlFrame(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.ping) this.options.onPing?.(payload);
    else if (opcode === opcodes.pong) this.options.onPong?.(payload);
    else throw new ReadEnded("a close frame", closeCodeOf(payload));
  }
}

/** Lines of at most 4096 bytes, the newline included. */
function* readLines(stream: MessageStream, onLine: (line: string) => void): Blocking<never> {
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      onLine(rest.toString("utf8", 0, end));
      rest = rest.subarray(end + 1);
    }
    if (rest.length >= LINE_BYTES_MAX) throw new ReadEnded("a line that is too long");
    rest = Buffer.concat([rest, yield* stream.read(LINE_BYTES_MAX - rest.length)]);
  }
}

/** `onLine` throws ReadEnded for a line that ends the connection. */
export function goLineReader(options: GoReaderOptions, onLine: (line: string) => void): GoReader {
  const stream = new MessageStream(options);
  return readerOf(stream, readLines(stream, onLine), options);
}

/** `isReady`: false while no more can be taken; `run` goes on from there. */
export function goDataReader(
  options: GoReaderOptions & { isReady: () => boolean },
  onBytes: (bytes: Buffer) => void,
): GoReader {
  const stream = new MessageStream(options);
  function* reading(): Blocking<never> {
    for (;;) {
      while (!options.isReady()) yield;
      onBytes(yield* stream.read(DATA_READ_BYTES));
    }
  }
  return readerOf(stream, reading(), options);
}

function readerOf(stream: MessageStream, reading: Blocking<never>, options: GoReaderOptions): GoReader {
  let isRunning = false;
  return {
    arrived: (bytes) => stream.socket.arrived(bytes),
    run() {
      // What a read causes may make more readable at once.
      if (isRunning) return;
      isRunning = true;
      try {
        // It yields where it would block; bytes that came meanwhile are the reason to ask once more.
        for (let before = -1; before !== stream.socket.queuedBytes; ) {
          before = stream.socket.queuedBytes;
          reading.next();
        }
      } catch (error) {
        if (!(error instanceof ReadEnded)) throw error;
        options.onEnd(error.message, error.closeCode);
      } finally {
        isRunning = false;
      }
    },
    get bytesLost() {
      return stream.bytesLost;
    },
    get bytesQueued() {
      return stream.socket.queuedBytes;
    },
  };
}
