/**
 * Reads every message on the link as SPEC wants it and knows nothing of the library's own accounts: who opens which
 * channel, what may follow what, how many bytes were granted. A second implementation of the rules, as small as they are.
 */

import { decodeMessage } from "../../src/decode.ts";
import { wireCodes } from "../../src/errors.ts";
import type { Frame } from "../../src/frame.ts";
import { defaultLimits } from "../../src/limits.ts";
import type { Side } from "../../src/testing/index.ts";

type Hello = Frame & { type: "hello" };

/** One direction of one channel. */
interface Lane {
  interims: number;
  bytes: number;
  grantedBytes: number;
  headed: boolean;
  ended: boolean;
  reset: boolean;
}

interface Watched {
  opener: Side;
  path: string;
  socket: boolean;
  lanes: Record<Side, Lane>;
}

const other = (side: Side): Side => (side === "left" ? "right" : "left");

export class Witness {
  readonly counts = new Map<string, number>();
  readonly channels = new Map<number, Watched>();
  private readonly hellos: Partial<Record<Side, Hello>> = {};
  private readonly last: Record<Side, number> = { left: 0, right: 0 };
  private readonly opened: Record<Side, number> = { left: 0, right: 0 };
  /** Channels that a side may open: by the other's HELLO and its GRANTs. */
  private readonly granted: Record<Side, number> = { left: 0, right: 0 };
  private readonly goneAway: Record<Side, boolean> = { left: false, right: false };
  private readonly report: (sentence: string) => void;

  constructor(report: (sentence: string) => void) {
    this.report = report;
  }

  /** The channel of an exchange, by its path. */
  of(path: string): Watched | undefined {
    return [...this.channels.values()].find((channel) => channel.path === path);
  }

  observe(to: Side, message: Uint8Array): void {
    const from = other(to);
    const limit = this.hellos[to]?.messageBytesMax;
    if (limit !== undefined && message.byteLength > limit)
      this.report(`${from} sends a message of ${message.byteLength} bytes`);
    for (const frame of decodeMessage(message, defaultLimits)) {
      this.counts.set(frame.type, (this.counts.get(frame.type) ?? 0) + 1);
      const fault = this.frame(from, frame);
      if (fault !== undefined)
        this.report(
          `${from} sends ${frame.type}${"channel" in frame ? ` on ${frame.channel}` : ""}: ${fault}`,
        );
    }
  }

  private frame(from: Side, frame: Frame): string | undefined {
    if (frame.type === "hello") {
      if (this.hellos[from] !== undefined) return "a second HELLO";
      this.hellos[from] = frame;
      this.granted[other(from)] = frame.channelsMax;
      return undefined;
    }
    if (frame.type === "goaway") {
      this.goneAway[from] = true;
      return frame.code >= 64 && frame.code !== wireCodes.HELLO_TIMEOUT
        ? `a violation, code ${frame.code}`
        : undefined;
    }
    if (this.hellos[from] === undefined) return "before its own HELLO";
    if (this.hellos[other(from)] === undefined) return "before the other's HELLO";
    if (frame.type === "open") return this.open(from, frame);
    if (frame.type === "grant") return this.grant(from, frame.channels);
    if (!("channel" in frame)) return undefined;
    const channel = this.channels.get(frame.channel);
    if (channel === undefined) return "never opened";
    return this.onChannel(from, frame, channel);
  }

  /** No more than the opener has used: slots that it knows nothing of cannot be free again. */
  private grant(from: Side, channels: number): string | undefined {
    const to = other(from);
    this.granted[to] += channels;
    if (channels === 0) return "nothing";
    const left = this.granted[to] - this.opened[to];
    return left > (this.hellos[from]?.channelsMax ?? 0) ? `${channels} when ${left} are left` : undefined;
  }

  private open(from: Side, frame: Frame & { type: "open" }): string | undefined {
    const { channel: id, path, kind, end } = frame;
    if (this.goneAway[from]) return "after its own GOAWAY";
    if ((id % 2 === 1) !== (from === "left")) return "the other's parity";
    if (id <= this.last[from]) return `not above ${this.last[from]}`;
    this.last[from] = id;
    this.opened[from] += 1;
    const peer = this.hellos[other(from)];
    if (this.opened[from] > this.granted[from]) return "without a grant";
    if (frame.headers.length > (peer?.headersMax ?? 0)) return `${frame.headers.length} fields`;
    const lane = (side: Side): Lane => ({
      interims: 0,
      bytes: 0,
      grantedBytes: this.hellos[other(side)]?.windowBytes ?? 0,
      headed: side === from,
      ended: side === from && end,
      reset: false,
    });
    const lanes = { left: lane("left"), right: lane("right") };
    this.channels.set(id, { opener: from, path, socket: kind === 1, lanes });
    return undefined;
  }

  private onChannel(from: Side, frame: Frame & { channel: number }, channel: Watched): string | undefined {
    const lane = channel.lanes[from];
    const back = channel.lanes[other(from)];
    if (lane.reset) return "after its own RESET";
    if (frame.type === "reset") {
      lane.reset = true;
      return frame.code > wireCodes.DRAINING ? `code ${frame.code}` : undefined;
    }
    if (frame.type === "credit") {
      back.grantedBytes += frame.bytes;
      if (frame.bytes === 0 || back.grantedBytes - back.bytes > 0x7fff_ffff) return `${frame.bytes} bytes`;
      return undefined;
    }
    if (lane.ended) return "after its own END";
    if (frame.type === "head") return this.head(from, frame, channel, lane);
    if (!lane.headed) return "before HEAD";
    if (frame.type === "end") {
      lane.ended = true;
      return channel.socket && frame.trailers.length > 0 ? "trailers on a socket" : undefined;
    }
    return frame.type === "data" ? this.data(from, frame, lane) : undefined;
  }

  private head(
    from: Side,
    frame: Frame & { type: "head" },
    channel: Watched,
    lane: Lane,
  ): string | undefined {
    if (channel.opener === from) return "on its own channel";
    if (lane.headed) return "a second one";
    if (frame.status === 101 && !channel.socket) return "101 on a request";
    const peer = this.hellos[other(from)];
    if (frame.headers.length > (peer?.headersMax ?? 0)) return `${frame.headers.length} fields`;
    if (frame.status < 200 && frame.status !== 101) {
      lane.interims += 1;
      if (lane.interims > (peer?.interimHeadsMax ?? 0)) return `the ${lane.interims}th interim one`;
      return frame.end ? "an interim head that ends" : undefined;
    }
    lane.headed = true;
    lane.ended = frame.end;
    return undefined;
  }

  private data(from: Side, { bytes, end }: Frame & { type: "data" }, lane: Lane): string | undefined {
    lane.bytes += bytes.byteLength;
    lane.ended = end;
    if (bytes.byteLength === 0 && !end) return "nothing in it";
    if (bytes.byteLength > (this.hellos[other(from)]?.dataBytesMax ?? 0)) return `${bytes.byteLength} bytes`;
    return lane.bytes > lane.grantedBytes ? `${lane.bytes} of ${lane.grantedBytes} granted` : undefined;
  }
}
