/** A control connection of the Go clients: what it says on its own, and how it takes what comes. */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock, Timer } from "revdial";
import { closePayload, encodeFrame, type Frame, FrameReader, opcodes } from "./frames.ts";
import type { Habits } from "./go-habits.ts";
import { type GoReader, goLineReader } from "./go-reader.ts";
import type { Upgraded } from "./go-upgrade.ts";

export interface GoControlOptions extends Habits {
  clock: Clock;
  /** The variant without WebSocket. */
  hijack?: boolean;
}

export interface GoControlListeners {
  onHeard: (frame: Frame) => void;
  /** One read of the socket: did it end with a frame? */
  onRead: (isWhole: boolean) => void;
  onLine: (line: string) => void;
  onPong: (payload: Buffer) => void;
  onEnd: (why: string, closeCode: number | undefined) => void;
}

/** One control connection. */
export class GoControl {
  readonly socket: Socket;
  private readonly options: GoControlOptions;
  private readonly listeners: GoControlListeners;
  private readonly frames = new FrameReader();
  private readonly reader: GoReader;
  private readonly timers = new Map<string, Timer>();
  private stalled = false;
  private ended = false;

  constructor({ socket }: Upgraded, options: GoControlOptions, listeners: GoControlListeners) {
    this.socket = socket;
    this.options = options;
    this.listeners = listeners;
    this.reader = goLineReader(
      {
        kind: options.hijack ? "lines" : options.reader,
        onPing: (payload) => this.send(opcodes.pong, payload),
        onPong: listeners.onPong,
        onEnd: (why, closeCode) => {
          if (closeCode !== undefined) this.send(opcodes.close, closePayload(closeCode));
          this.end(why, closeCode);
        },
      },
      (line) => {
        this.expectLine();
        listeners.onLine(line);
      },
    );
    socket.on("data", (bytes: Buffer) => this.arrived(bytes));
    socket.once("end", () => this.end("EOF")).once("close", () => this.end("EOF"));
  }

  get bytesLost(): number {
    return this.reader.bytesLost;
  }

  get bytesQueued(): number {
    return this.reader.bytesQueued;
  }

  start(early: Buffer): void {
    this.expectLine();
    if (!this.options.hijack) this.pingLater();
    if (early.length > 0) this.arrived(early);
  }

  stall(stalled: boolean): void {
    this.stalled = stalled;
    if (!stalled) this.reader.run();
  }

  sendLine(message: object): void {
    // Go escapes what HTML might take for its own.
    const text = JSON.stringify(message)
      .replaceAll("&", "\\u0026")
      .replaceAll("<", "\\u003c")
      .replaceAll(">", "\\u003e");
    if (this.options.hijack) this.socket.write(`${text}\n`);
    else this.send(opcodes.binary, Buffer.from(`${text}\n`));
  }

  end(why: string, closeCode?: number): void {
    if (this.ended) return;
    this.ended = true;
    for (const timer of this.timers.values()) timer.cancel();
    this.socket.destroySoon();
    this.listeners.onEnd(why, closeCode);
  }

  private send(opcode: number, payload?: Buffer): void {
    const mask = randomBytes(4);
    if (!this.ended) this.socket.write(encodeFrame({ opcode, mask, ...(payload && { payload }) }));
  }

  private arrived(bytes: Buffer): void {
    if (!this.options.hijack) for (const frame of this.frames.push(bytes)) this.listeners.onHeard(frame);
    this.reader.arrived(bytes);
    if (!this.stalled) this.reader.run();
    this.listeners.onRead(this.frames.atBoundary);
  }

  private expectLine(): void {
    const { readTimeoutMs } = this.options;
    if (readTimeoutMs > 0) this.setTimer("line", readTimeoutMs, () => this.end("i/o timeout"));
  }

  private pingLater(): void {
    const { pingMs } = this.options;
    if (pingMs === 0) return;
    this.setTimer("ping", pingMs, () => {
      this.send(opcodes.ping);
      this.pingLater();
    });
  }

  private setTimer(name: string, ms: number, run: () => void): void {
    this.timers.get(name)?.cancel();
    this.timers.set(name, this.options.clock.setTimer(ms, run));
  }
}
