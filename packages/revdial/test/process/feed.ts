/** A transport whose peer is written by hand: frames go in when we say so, and what the tunnel sends is counted. */
import { createTunnel } from "../../src/core-tunnel.ts";
import { decodeMessage } from "../../src/decode.ts";
import type { Frame } from "../../src/frame.ts";
import { defaultLimits, type TunnelLimits } from "../../src/limits.ts";
import { ManualClock } from "../../src/testing/index.ts";
import type { Transport, TransportEvents } from "../../src/transport.ts";
import type { Tunnel, TunnelEnd } from "../../src/tunnel.ts";
import { hello, write } from "../cores.ts";

export class Feed implements Transport {
  readonly transport = "memory";
  queuedBytes = 0;
  readonly clock = new ManualClock();
  readonly tunnel: Tunnel;
  readonly mistakes: unknown[] = [];
  end: TunnelEnd | undefined;
  /** False: what is sent stays in the socket, as with a peer that does not read. */
  reads = true;
  /** Types of what was sent, counted. */
  readonly sent: Partial<Record<Frame["type"], number>> = {};
  /** The newest channel that the tunnel has opened, and what each may still be sent. */
  opened = 0;
  readonly credit = new Map<number, number>();
  private events: TransportEvents | undefined;

  /** An accepting tunnel that has heard the peer's HELLO. */
  constructor(limits: Partial<TunnelLimits> = {}, greeting: Partial<Frame & { type: "hello" }> = {}) {
    const onHandlerError = (error: unknown) => void this.mistakes.push(error);
    this.tunnel = createTunnel(this, false, { limits, clock: this.clock, onHandlerError });
    void this.tunnel.closed.then((end) => {
      this.end = end;
    });
    this.hear(write({ ...(hello as Frame & { type: "hello" }), ...greeting }));
  }

  hear(message: Uint8Array): void {
    this.events?.message(message);
  }

  start(events: TransportEvents): void {
    this.events = events;
  }

  send(parts: readonly Uint8Array[]): void {
    const message = new Uint8Array(Buffer.concat(parts));
    for (const frame of decodeMessage(message, defaultLimits)) {
      this.sent[frame.type] = (this.sent[frame.type] ?? 0) + 1;
      if (frame.type === "open") this.opened = frame.channel;
      const more = frame.type === "open" ? defaultLimits.windowInitialBytes : 0;
      const bytes = frame.type === "credit" ? frame.bytes : more;
      if ("channel" in frame && bytes > 0)
        this.credit.set(frame.channel, (this.credit.get(frame.channel) ?? 0) + bytes);
    }
    if (!this.reads) this.queuedBytes += message.byteLength;
  }

  close(code: number): void {
    this.events?.closed(`closed with ${code}`);
  }

  terminate(): void {
    this.events?.closed("terminated");
  }
}

/** Lets everything that is ready run. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
