/**
 * The readable side of a channel: body bytes that arrived, until somebody takes them. Taking gives credit back, so what
 * waits here is never more than the channel's window; what is dropped is told like what was taken.
 */
import type { ChannelPort } from "./channel-end.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import { RevdialError } from "./errors.ts";
import { returnWhenForgotten } from "./forgotten.ts";
import type { HeaderList } from "./head.ts";

export class IncomingBody implements AsyncIterable<Uint8Array> {
  private readonly chunks = new ChunkQueue();
  private state: "open" | "ended" | "failed" = "open";
  private error: RevdialError | undefined;
  private readers: (() => void)[] | undefined;
  private iterated = false;
  /** The reader has left or has seen the end. */
  private finished = false;
  private endTrailers: HeaderList = [];
  private trailersWaiter: PromiseWithResolvers<HeaderList> | undefined;
  private readonly onConsumed: (bytes: number) => void;
  private readonly onAbandoned: () => void;

  /** `onAbandoned` is called when the reader stops before the end. */
  constructor(onConsumed: (bytes: number) => void, onAbandoned: () => void) {
    this.onConsumed = onConsumed;
    this.onAbandoned = onAbandoned;
  }

  /** Made when somebody asks: most never do, and a promise costs more than a small body. */
  get trailers(): Promise<HeaderList> {
    if (this.trailersWaiter === undefined) {
      this.trailersWaiter = Promise.withResolvers<HeaderList>();
      this.trailersWaiter.promise.catch(() => undefined); // Nobody has to look at the trailers.
      this.settleTrailers();
    }
    return this.trailersWaiter.promise;
  }

  private settleTrailers(): void {
    if (this.state === "ended") this.trailersWaiter?.resolve(this.endTrailers);
    else if (this.state === "failed") this.trailersWaiter?.reject(this.error);
  }

  push(bytes: Uint8Array): void {
    if (this.state !== "open" || this.finished) return this.onConsumed(bytes.byteLength);
    this.chunks.push(bytes);
    this.wakeReaders();
  }

  end(trailers: HeaderList): void {
    if (this.state !== "open") return;
    this.state = "ended";
    this.endTrailers = trailers;
    this.settleTrailers();
    this.wakeReaders();
  }

  /** What waits is dropped: a body cut short is of no use, and its memory is. */
  fail(error: RevdialError): void {
    if (this.state !== "open") return;
    this.cut(error);
    this.settleTrailers();
    this.wakeReaders();
  }

  private cut(error: RevdialError): void {
    this.state = "failed";
    this.error = error;
    this.drop();
  }

  private drop(): void {
    const bytes = this.chunks.byteLength;
    this.chunks.clear();
    if (bytes > 0) this.onConsumed(bytes);
  }

  /** The channel is over. What is unread counts against the budget for as long as somebody holds this body. */
  closed(port: Pick<ChannelPort, "consumed">, channel: number): void {
    returnWhenForgotten(this, { port, channel, chunks: this.chunks });
  }

  /** The exchange is over as well: what nobody has begun to read nobody will, and one who does must not find half of it. */
  dropUnlessRead(): void {
    if (this.iterated || this.chunks.byteLength === 0) return;
    this.cut(new RevdialError("CANCELLED", "the exchange was over before its body was read"));
  }

  /** What came before a socket was accepted is its first bytes; from now on this body is over. */
  drainInto(socket: { onData(bytes: Uint8Array): void; onEnded(): void }): void {
    for (let chunk = this.chunks.take(); chunk !== undefined; chunk = this.chunks.take())
      socket.onData(chunk);
    if (this.state === "ended") socket.onEnded();
    this.end([]);
  }

  private wakeReaders(): void {
    const readers = this.readers;
    if (readers === undefined) return;
    this.readers = undefined;
    for (const wake of readers) wake();
  }

  /** Somebody reads it, or has: as a ReadableStream says it. */
  get locked(): boolean {
    return this.iterated;
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
      await new Promise<void>((resolve) => {
        this.readers ??= [];
        this.readers.push(resolve);
      });
    }
  }

  /** What waits and what still comes is dropped, and becomes credit: it must not hold up what the channel has yet to say. */
  private leave(): IteratorResult<Uint8Array> {
    if (!this.finished && this.state === "open") this.onAbandoned();
    this.finished = true;
    this.drop();
    this.wakeReaders();
    return { done: true, value: undefined };
  }
}
