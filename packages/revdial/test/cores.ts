/** Cores without sockets: one facing frames written by hand, or two facing each other with the messages in between in our hands. */
import { Core } from "../src/core.ts";
import type { CoreOptions, Effect, LocalEvent } from "../src/core-events.ts";
import { decodeMessage } from "../src/decode.ts";
import { encodeFrame } from "../src/encode.ts";
import type { Frame, OpenHead } from "../src/frame.ts";
import { defaultLimits, type TunnelLimits } from "../src/limits.ts";

/** What a hostile peer may write: no limits of its own. */
const unbounded: TunnelLimits = {
  ...defaultLimits,
  headBytesMax: 0xff_ffff,
  headersMax: 0xffff,
  dataBytesMax: 0xff_ffff,
  noticeBytesMax: 0xff_ffff,
};

export const hello: Frame = {
  type: "hello",
  version: 3,
  channelsMax: 1024,
  windowBytes: 65_536,
  headBytesMax: 32_768,
  dataBytesMax: 65_536,
  noticeBytesMax: 16_448,
  messageBytesMax: 1_048_576,
  headersMax: 256,
  interimHeadsMax: 32,
  emptyDataMax: 64,
  incarnation: 1n,
  agent: "peer/1",
  features: [],
};

export const requestHead: OpenHead = {
  kind: 0,
  service: "wolf",
  method: "GET",
  path: "/",
  deadlineMs: 0,
  traceparent: "",
  protocol: "",
  headers: [],
};

export const open = (channel: number, more: Partial<Frame & { type: "open" }> = {}): Frame => ({
  type: "open",
  channel,
  end: false,
  ...requestHead,
  ...more,
});
export const data = (channel: number, bytes: number, end = false): Frame => ({
  type: "data",
  channel,
  end,
  bytes: new Uint8Array(bytes),
});

export function newCore(dialled: boolean, limits: Partial<TunnelLimits> = {}, now = 0): Core {
  const options: CoreOptions = {
    limits: { ...defaultLimits, ...limits },
    dialled,
    agent: "test/1",
    incarnation: 0n,
    features: [],
    pingIntervalMs: 5000,
    deadAfterMs: 15_000,
  };
  return new Core(options, now);
}

/** As if all channel numbers of its own below this one had been used. */
export function skipTo(core: Core, nextChannel: number): void {
  Object.assign(core, { nextChannel });
}

export function write(...frames: Frame[]): Uint8Array {
  return new Uint8Array(Buffer.concat(frames.map((frame) => encodeFrame(frame, unbounded))));
}

/** One accepting core and a peer written by hand, which opens odd channels. */
export class Victim {
  now = 0;
  readonly core: Core;

  constructor(limits: Partial<TunnelLimits> = {}, greeted = true) {
    this.core = newCore(false, limits);
    if (greeted) this.say(hello);
    this.sent();
  }

  /** The peer sends these frames as one message. */
  say(...frames: Frame[]): readonly Effect[] {
    return this.core.input(write(...frames), this.now);
  }

  do(event: LocalEvent): readonly Effect[] {
    return this.core.input(event, this.now);
  }

  /** Everything the core wants to send now. */
  sent(): Frame[] {
    const frames: Frame[] = [];
    for (;;) {
      const { parts } = this.core.nextMessage(this.now);
      if (parts === undefined) return frames;
      frames.push(...decodeMessage(new Uint8Array(Buffer.concat(parts)), defaultLimits));
    }
  }
}
