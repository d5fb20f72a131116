/**
 * The readable side of a channel: body bytes that arrived, until somebody takes them. Taking gives credit back, so what
 * waits here is never more than the channel's window, and small pieces are gathered, so that many cost little more than few.
 */
import { RevdialError } from "./errors.ts";
import type { HeaderList } from "./head.ts";

/** Pieces below this size are copied together while nobody reads: each alone would cost more than its bytes. */
const SMALL_PIECE_BYTES = 1024;
const GATHER_BYTES = 8 * 1024;

export class IncomingBody implements AsyncIterable<Uint8Array> {
  readonly trailers: Promise<HeaderList>;
  private chunks: Uint8Array[] = [];
  /** Memory behind the last chunk, when that is one of ours with room left. */
  private gather: Uint8Array | undefined;
  private state: "open" | "ended" | "failed" = "open";
  private error: RevdialError | undefined;
  private readers: (() => void)[] = [];
  private iterated = false;
  /** The reader has left or has seen the end. */
  private finished = false;
  private readonly onConsumed: (bytes: number) => void;
  private readonly onAbandoned: () => void;
  private readonly settleTrailers: { resolve(trailers: HeaderList): void; reject(error: RevdialError): void };

  /** `onAbandoned` is called when the reader stops before the end. */
  constructor(onConsumed: (bytes: number) => void, onAbandoned: () => void) {
    this.onConsumed = onConsumed;
    this.onAbandoned = onAbandoned;
    const { promise, resolve, reject } = Promise.withResolvers<HeaderList>();
    this.trailers = promise;
    this.trailers.catch(() => undefined); // Nobody has to look at the trailers.
    this.settleTrailers = { resolve, reject };
  }

  push(bytes: Uint8Array): void {
    if (this.state !== "open") return;
    if (this.finished) return this.onConsumed(bytes.byteLength);
    if (bytes.byteLength >= SMALL_PIECE_BYTES || this.chunks.length === 0) {
      this.chunks.push(bytes);
      this.gather = undefined;
    } else this.append(bytes);
    this.wakeReaders();
  }

  private append(bytes: Uint8Array): void {
    const last = this.chunks.at(-1);
    if (this.gather && last && last.byteLength + bytes.byteLength <= GATHER_BYTES) {
      this.gather.set(bytes, last.byteLength);
      this.chunks[this.chunks.length - 1] = this.gather.subarray(0, last.byteLength + bytes.byteLength);
      return;
    }
    this.gather = new Uint8Array(GATHER_BYTES);
    this.gather.set(bytes);
    this.chunks.push(this.gather.subarray(0, bytes.byteLength));
  }

  end(trailers: HeaderList): void {
    if (this.state !== "open") return;
    this.state = "ended";
    this.settleTrailers.resolve(trailers);
    this.wakeReaders();
  }

  /** What waits is dropped: a body cut short is of no use, and its memory is. */
  fail(error: RevdialError): void {
    if (this.state !== "open") return;
    this.state = "failed";
    this.error = error;
    this.chunks = [];
    this.settleTrailers.reject(error);
    this.wakeReaders();
  }

  /** Chunks that wait, for tests of the bound. */
  get waitingChunks(): number {
    return this.chunks.length;
  }

  private wakeReaders(): void {
    for (const wake of this.readers.splice(0)) wake();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.iterated) throw new RevdialError("ARGUMENT", "a body can be read once");
    this.iterated = true;
    return { next: () => this.next(), return: async () => this.leave() };
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      if (this.finished) return { done: true, value: undefined };
      const chunk = this.chunks.shift();
      if (chunk !== undefined) {
        if (this.chunks.length === 0) this.gather = undefined;
        this.onConsumed(chunk.byteLength);
        return { done: false, value: chunk };
      }
      if (this.state !== "open") {
        this.finished = true;
        if (this.error) throw this.error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => this.readers.push(resolve));
    }
  }

  private leave(): IteratorResult<Uint8Array> {
    if (!this.finished) {
      this.finished = true;
      const dropped = this.chunks.splice(0).reduce((sum, chunk) => sum + chunk.byteLength, 0);
      if (dropped > 0) this.onConsumed(dropped);
      this.wakeReaders();
      if (this.state === "open") this.onAbandoned();
    }
    return { done: true, value: undefined };
  }
}
