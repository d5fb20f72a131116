/**
 * A socket channel as a Node stream. Bytes become credit when the stream's reader has taken them, so that a slow reader
 * holds no more than its window; each direction ends on its own.
 */
import { Duplex } from "node:stream";
import type { ChannelPort } from "./channel-end.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import type { RevdialError } from "./errors.ts";
import { returnWhenForgotten } from "./forgotten.ts";

type Done = (error?: Error | null) => void;

/** The peer may end a socket before anybody has been given it, and an error that nobody hears ends the process. */
const ignored = () => undefined;

export class TunnelSocket extends Duplex {
  private readonly port: ChannelPort;
  private readonly channel: number;
  private readonly waiting = new ChunkQueue();
  private wanted = false;
  private localEnded = false;
  private remoteEnded = false;
  private over = false;
  private written: Done | undefined;

  constructor(port: ChannelPort, channel: number) {
    super({ allowHalfOpen: true });
    this.port = port;
    this.channel = channel;
    this.on("error", ignored);
  }

  /** From the channel. */
  onData(bytes: Uint8Array): void {
    if (this.destroyed) return this.port.consumed(this.channel, bytes.byteLength);
    this.waiting.push(bytes);
    if (this.wanted) this.deliver();
  }

  onEnded(): void {
    this.remoteEnded = true;
    if (this.wanted) this.deliver();
  }

  onDrained(): void {
    const done = this.written;
    this.written = undefined;
    done?.();
  }

  onClosed(error: RevdialError | undefined): void {
    this.over = true;
    if (error) this.destroy(error);
    else this.onDrained();
    returnWhenForgotten(this, { port: this.port, channel: this.channel, chunks: this.waiting });
  }

  private deliver(): void {
    while (this.wanted) {
      const chunk = this.waiting.take();
      if (chunk === undefined) {
        if (this.remoteEnded) this.push(null);
        this.wanted = !this.remoteEnded;
        return;
      }
      this.port.consumed(this.channel, chunk.byteLength);
      this.wanted = this.push(chunk);
    }
  }

  override _read(): void {
    this.wanted = true;
    this.deliver();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.over || this.port.data(this.channel, chunk)) done();
    else this.written = done;
  }

  override _final(done: Done): void {
    this.localEnded = true;
    if (!this.over) this.port.end(this.channel, []);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const dropped = this.waiting.byteLength;
    this.waiting.clear();
    // Node destroys a stream that has ended in both directions, while our last bytes may still wait for credit.
    const inOrder = error === null && this.localEnded && this.remoteEnded;
    if (!this.over && !inOrder) this.port.reset(this.channel, "CANCELLED", "the stream was destroyed");
    if (dropped > 0) this.port.consumed(this.channel, dropped);
    this.onDrained();
    done(error);
  }
}
