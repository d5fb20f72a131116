/** The sending side of a channel: takes chunks from a producer while there is room, and stops it when nobody wants more. */
import { RevdialError } from "./errors.ts";
import type { Body } from "./tunnel.ts";

export class BodySource {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private wake: (() => void) | undefined;
  private stopping: Promise<void> | undefined;

  /** Error: ARGUMENT when the body does not let itself be read. */
  constructor(body: Body | undefined) {
    try {
      this.iterator =
        body === undefined || body instanceof Uint8Array ? once(body) : body[Symbol.asyncIterator]();
    } catch (cause) {
      throw new RevdialError("ARGUMENT", "the body cannot be read", { cause, sent: "may-have-run" });
    }
  }

  /**
   * Gives every chunk to `put` until the end or `stop`; waits for `resume` when `put` says there is no more room.
   * Resolves when the producer has ended or has really stopped; rejects with what it threw.
   */
  async run(put: (bytes: Uint8Array) => boolean): Promise<void> {
    while (this.stopping === undefined) {
      const { done, value } = await this.iterator.next();
      if (done || this.stopping !== undefined) break;
      if (!(value instanceof Uint8Array)) {
        void this.stop();
        throw new RevdialError("ARGUMENT", "a chunk of the body is no Uint8Array");
      }
      if (value.byteLength === 0 || put(value) || this.stopping !== undefined) continue;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    await this.stopping;
  }

  resume(): void {
    this.wake?.();
    this.wake = undefined;
  }

  /** A producer that waits inside `next` stops when that settles: a handler should listen to its signal too. */
  stop(): Promise<void> {
    this.stopping ??= this.returned();
    this.resume();
    return this.stopping;
  }

  private async returned(): Promise<void> {
    try {
      await this.iterator.return?.();
    } catch {
      // Nobody is left to be told: the exchange is over, and its end was reported where it happened.
    }
  }
}

async function* once(body: Uint8Array | undefined): AsyncGenerator<Uint8Array> {
  if (body !== undefined) yield body;
}
