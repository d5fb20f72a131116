/**
 * The readable side of a channel: body bytes that arrived, until somebody takes them. Taking gives credit back, so what
 * waits here is never more than the channel's window.
 */
import { ChunkQueue } from "./chunk-queue.ts";
import { RevdialError } from "./errors.ts";
import type { HeaderList } from "./head.ts";

export class IncomingBody implements AsyncIterable<Uint8Array> {
  readonly trailers: Promise<HeaderList>;
  private readonly chunks = new ChunkQueue();
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
    this.chunks.push(bytes);
    this.wakeReaders();
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
    this.chunks.clear();
    this.settleTrailers.reject(error);
    this.wakeReaders();
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
      const chunk = this.chunks.take();
      if (chunk !== undefined) {
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

  /** What waits and what still comes is dropped, and becomes credit: it must not hold up what the channel has yet to say. */
  private leave(): IteratorResult<Uint8Array> {
    if (!this.finished && this.state === "open") this.onAbandoned();
    this.finished = true;
    const dropped = this.chunks.byteLength;
    this.chunks.clear();
    if (dropped > 0) this.onConsumed(dropped);
    this.wakeReaders();
    return { done: true, value: undefined };
  }
}
