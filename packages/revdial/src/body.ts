/**
 * The readable side of a channel: body bytes that arrived, until somebody takes them. Taking gives credit back, so what
 * waits here is never more than the channel's window.
 */
import { RevdialError } from "./errors.ts";
import type { HeaderList } from "./head.ts";

export class IncomingBody implements AsyncIterable<Uint8Array> {
  private chunks: Uint8Array[] = [];
  private state: "open" | "ended" | "failed" = "open";
  private error: RevdialError | undefined;
  private wake: (() => void) | undefined;
  private iterated = false;
  private readonly onConsumed: (bytes: number) => void;
  private readonly onAbandoned: () => void;
  readonly trailers: Promise<HeaderList>;
  private settleTrailers: { resolve(trailers: HeaderList): void; reject(error: RevdialError): void };

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
    this.chunks.push(bytes);
    this.wakeReader();
  }

  end(trailers: HeaderList): void {
    if (this.state !== "open") return;
    this.state = "ended";
    this.settleTrailers.resolve(trailers);
    this.wakeReader();
  }

  fail(error: RevdialError): void {
    if (this.state !== "open") return;
    this.state = "failed";
    this.error = error;
    this.chunks = [];
    this.settleTrailers.reject(error);
    this.wakeReader();
  }

  private wakeReader(): void {
    const wake = this.wake;
    this.wake = undefined;
    wake?.();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.iterated) throw new RevdialError("ARGUMENT", "a body can be read once");
    this.iterated = true;
    let finished = false;
    return {
      next: async () => {
        for (;;) {
          const chunk = this.chunks.shift();
          if (finished) return { done: true, value: undefined };
          if (chunk !== undefined) {
            this.onConsumed(chunk.byteLength);
            return { done: false, value: chunk };
          }
          if (this.state === "failed") {
            finished = true;
            throw this.error;
          }
          if (this.state === "ended") {
            finished = true;
            return { done: true, value: undefined };
          }
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        }
      },
      return: async () => {
        finished = true;
        this.chunks = [];
        this.wakeReader();
        if (this.state === "open") this.onAbandoned();
        return { done: true, value: undefined };
      },
    };
  }
}
