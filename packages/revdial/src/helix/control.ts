/**
 * The control connection of one agent: lines both ways, a keep-alive line at its pace, and whether the peer is still there. How
 * many lines may wait to be read is not decided here, but by who announces dials.
 */
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import type { HelixFault } from "./accept.ts";
import { type ControlLine, encodeLine, LineDecoder } from "./lines.ts";
import type { WebSocket } from "./web-socket-stream.ts";

/** A peer that does not answer a close in this time is cut off. */
const CLOSE_HANDSHAKE_MS = 1000;
/** Pings whose answer is still taken. */
const PINGS_REMEMBERED_MAX = 8;
const keepAliveLine = encodeLine({ command: "keep-alive" });

/** Close codes for what a peer did wrong. */
const faultCodes: Readonly<Partial<Record<HelixFault["code"], number>>> = {
  "line-invalid": 1002,
  "empty-message": 1002,
  "text-frame": 1003,
  "line-too-long": 1009,
};

export interface ControlEvents {
  line(line: ControlLine): void;
  /** The peer broke the rules: `closed` follows. */
  fault(fault: HelixFault): void;
  /** There is somebody: a ping was answered, or this connection has none. */
  reached(): void;
  /** Once, whatever the way. */
  closed(reason: string): void;
}

export interface ControlTimes {
  clock: Clock;
  keepAliveMs: number;
  pingMs: number;
  readTimeoutMs: number;
}

/** What carries it. */
interface Wire {
  /** In one write. */
  send(line: string): void;
  /** Absent where there are no pings: then silence alone is no sign, and only dials that nobody answers are. */
  ping?: (payload: string) => void;
  /** What was sent has not left this process. */
  readonly stuck: boolean;
  close(code: number, reason: string): void;
  terminate(): void;
}

export class Control {
  /** Milliseconds of the last round trip of a ping. */
  rttMs: number | undefined;
  private readonly wire: Wire;
  private readonly times: ControlTimes;
  private readonly events: ControlEvents;
  private readonly decoder = new LineDecoder();
  /** When each was sent. */
  private readonly pings = new Map<string, number>();
  private pingsSent = 0;
  private startedAt = 0;
  private heardAt = 0;
  /** Since when a dial is not answered, and nothing was heard. */
  private unansweredAt: number | undefined;
  private stuck = false;
  private over = false;
  private keepAliveTimer: Timer | undefined;
  private pingTimer: Timer | undefined;
  private silenceTimer: Timer | undefined;
  private closeTimer: Timer | undefined;

  constructor(wire: Wire, times: ControlTimes, events: ControlEvents) {
    this.wire = wire;
    this.times = times;
    this.events = events;
  }

  /** Says the first line. */
  start(): void {
    this.startedAt = this.times.clock.now();
    this.heardAt = this.startedAt;
    this.keepAlive();
    if (this.wire.ping === undefined) return this.events.reached();
    this.ping();
    this.watch(this.times.readTimeoutMs);
  }

  send(line: string): void {
    if (!this.over && this.closeTimer === undefined) this.wire.send(line);
  }

  close(code: number, reason: string): void {
    if (this.over || this.closeTimer !== undefined) return;
    this.closeTimer = this.times.clock.setTimer(CLOSE_HANDSHAKE_MS, () => this.wire.terminate());
    this.wire.close(code, reason);
  }

  terminate(): void {
    this.wire.terminate();
    queueMicrotask(() => this.gone("terminated here"));
  }

  /** It has brought a connection, be it late. */
  brought(): void {
    this.unansweredAt = undefined;
  }

  /** Something of the peer has come. */
  heard(): void {
    this.heardAt = this.times.clock.now();
    this.unansweredAt = undefined;
  }

  /**
   * The time of a dial, of which the peer was told then, is over. Where there are no pings, two of them, one after the other, are the
   * end, when nothing was heard since the first: what is sent to a host that has vanished is too little to get stuck.
   */
  unanswered(toldAt: number): void {
    if (this.over || this.wire.ping !== undefined) return;
    if (this.unansweredAt === undefined) this.unansweredAt = this.times.clock.now();
    else if (toldAt >= this.unansweredAt) this.dead("the agent answers no dial any more");
  }

  read(bytes: Uint8Array): void {
    this.heard();
    const fault = this.decoder.push(bytes, (line) => {
      if (!this.over) this.events.line(line);
    });
    if (fault !== undefined) this.wrong(fault);
  }

  answered(payload: string): void {
    this.heard();
    const sentAt = this.pings.get(payload);
    if (sentAt === undefined || this.over) return;
    // It answers all before it, too.
    for (const [earlier, at] of this.pings) if (at <= sentAt) this.pings.delete(earlier);
    const first = this.rttMs === undefined;
    this.rttMs = this.heardAt - sentAt;
    if (first) this.events.reached();
  }

  /** The peer is told why, and is not listened to any more. */
  wrong(fault: HelixFault): void {
    if (this.over) return;
    this.events.fault(fault);
    this.close(faultCodes[fault.code] ?? 1002, fault.code);
    this.lost(`the agent sent ${fault.detail}`);
  }

  /** The connection is closed. */
  gone(reason: string): void {
    this.closeTimer?.cancel();
    this.lost(reason);
  }

  private lost(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.keepAliveTimer?.cancel();
    this.pingTimer?.cancel();
    this.silenceTimer?.cancel();
    this.events.closed(reason);
  }

  private keepAlive(): void {
    // What was said an interval ago has not even left: without pings nothing else would tell.
    const { stuck } = this.wire;
    if (stuck && this.stuck) return this.dead("the agent takes nothing any more");
    this.stuck = stuck;
    this.send(keepAliveLine);
    const { clock, keepAliveMs } = this.times;
    this.keepAliveTimer = clock.setTimer(keepAliveMs, () => this.keepAlive());
  }

  private ping(): void {
    const { clock, pingMs } = this.times;
    this.pingsSent += 1;
    const payload = String(this.pingsSent);
    this.pings.set(payload, clock.now());
    this.pings.delete(String(this.pingsSent - PINGS_REMEMBERED_MAX));
    this.wire.ping?.(payload);
    this.pingTimer = clock.setTimer(pingMs, () => this.ping());
  }

  /**
   * Dead is who has not been heard for so long, though he was asked: of a time in which this process stood still nothing follows. Until
   * a ping was answered nothing else counts: who says much and answers none would never be of use, nor go.
   */
  private watch(ms: number): void {
    const { clock, pingMs, readTimeoutMs } = this.times;
    this.silenceTimer = clock.setTimer(ms, () => {
      const now = clock.now();
      const [askedAt = now] = this.pings.values();
      const answerMs = Math.min(pingMs, readTimeoutMs - pingMs);
      const isReached = this.rttMs !== undefined;
      const heardAt = isReached ? this.heardAt : this.startedAt;
      const leftMs = Math.max(heardAt + readTimeoutMs - now, askedAt + answerMs - now);
      if (leftMs > 0) this.watch(leftMs);
      else
        this.dead(
          `${isReached ? "nothing heard of" : "no ping answered by"} the agent for ${readTimeoutMs} ms`,
        );
    });
  }

  private dead(reason: string): void {
    this.wire.terminate();
    this.gone(reason);
  }
}

/** Over a WebSocket: a line is one message of one frame. */
export function webSocketControl(webSocket: WebSocket, times: ControlTimes, events: ControlEvents): Control {
  const wire: Wire = {
    // Header and line leave in one write: `ws` sees to that.
    send: (line) => webSocket.send(line, { binary: true }),
    ping: (payload) => webSocket.ping(payload),
    stuck: false,
    close: (code, reason) => webSocket.close(code, reason),
    terminate: () => webSocket.terminate(),
  };
  const control = new Control(wire, times, events);
  webSocket.on("message", (data, isBinary) => {
    if (!isBinary) control.wrong({ code: "text-frame", detail: "a text frame on control" });
    else if ((data as Buffer).byteLength === 0)
      control.wrong({ code: "empty-message", detail: "a message without bytes" });
    else control.read(data as Buffer);
  });
  webSocket.on("ping", () => control.heard());
  webSocket.on("pong", (payload: Buffer) => control.answered(payload.toString("latin1")));
  webSocket.on("error", (error) => control.gone(error.message));
  webSocket.on("close", (code) => control.gone(`the control connection was closed with code ${code}`));
  if (webSocket.readyState === webSocket.CLOSED)
    queueMicrotask(() => control.gone("the control connection was closed"));
  return control;
}

/** Over a byte stream: lines and nothing else. */
export function streamControl(stream: Duplex, times: ControlTimes, events: ControlEvents): Control {
  const control = new Control(
    {
      send: (line) => void stream.write(line),
      get stuck() {
        return stream.writableLength > 0;
      },
      close: () => void stream.end(),
      terminate: () => void stream.destroy(),
    },
    times,
    events,
  );
  stream.on("data", (bytes: Buffer) => control.read(bytes));
  stream.on("error", (error) => control.gone(error.message));
  const closed = () => {
    stream.destroy();
    control.gone("the control connection was closed");
  };
  stream.on("end", closed).on("close", closed);
  if (stream.destroyed) queueMicrotask(closed);
  return control;
}
