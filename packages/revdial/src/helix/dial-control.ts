/**
 * The client's end of a control connection: lines in, lines out, pings. Silence is measured in lines, since a server whose loop hangs
 * answers pings; anything that is no line ends it.
 */
import type { Clock, Timer } from "../clock.ts";
import { type ControlLine, encodeLine, LINE_BYTES_MAX, LineDecoder } from "./lines.ts";
import type { WebSocket } from "./web-socket-stream.ts";

export interface ClientControlOptions {
  clock: Clock;
  /** Without a line for so long, the server is dead. */
  readTimeoutMs: number;
  pingMs: number;
}

export interface ClientControlEvents {
  line(line: ControlLine): void;
  /** Once, and not after `leave` or `terminate`; without a code when the end was ours. */
  closed(reason: string, code?: number): void;
}

/** A server that does not read: what it is told is short, and this is a thousand of it. */
const QUEUED_BYTES_MAX = 256 * 1024;
const GOING_AWAY = 1001;
const PROTOCOL_ERROR = 1002;
const NOT_BINARY = 1003;
const TOO_LARGE = 1009;

export class ClientControl {
  rttMs: number | undefined;
  /** Nothing is heard or said any more. */
  over = false;
  private readonly socket: WebSocket;
  private readonly options: ClientControlOptions;
  private readonly events: ClientControlEvents;
  private readonly decoder = new LineDecoder();
  private heardAt: number;
  private silence: Timer;
  private nextPing: Timer | undefined;
  private pings = 0;
  private pingedAt = 0;

  /** Of a socket that is open, in the turn in which it was opened. */
  constructor(socket: WebSocket, options: ClientControlOptions, events: ClientControlEvents) {
    this.socket = socket;
    this.options = options;
    this.events = events;
    this.heardAt = options.clock.now();
    this.silence = options.clock.setTimer(options.readTimeoutMs, this.listen);
    // The pieces of a message: together they would be copied, and nothing is to be known of all of them.
    socket.binaryType = "fragments";
    socket.on("message", (data, isBinary) => this.heard(data as Buffer[], isBinary));
    socket.on("pong", (data) => this.answered(data.toString()));
    socket.on("error", (error) => this.ended(`the control connection broke: ${error.message}`));
    socket.on("close", (code) => this.ended(`the control connection was closed with code ${code}`, code));
    this.ping();
  }

  /** One message, one write; false when it is too long to be read at the other end, and was not sent. */
  send(line: ControlLine): boolean {
    if (this.over) return false;
    const text = encodeLine(line);
    const bytes = Buffer.from(text);
    if (bytes.byteLength > LINE_BYTES_MAX) return false;
    if (this.socket.bufferedAmount > QUEUED_BYTES_MAX) {
      this.socket.terminate();
      this.ended("the server does not read what it is told");
      return false;
    }
    this.socket.send(bytes, { binary: true });
    return true;
  }

  /** In order; resolves when the connection is gone, which the socket bounds. */
  leave(): Promise<void> {
    const { socket } = this;
    const gone = new Promise<void>((resolve) => {
      if (socket.readyState === socket.CLOSED) resolve();
      else socket.once("close", () => resolve());
    });
    this.stop();
    socket.close(GOING_AWAY);
    return gone;
  }

  terminate(): void {
    this.stop();
    this.socket.terminate();
  }

  private heard(fragments: readonly Buffer[], isBinary: boolean): void {
    if (this.over) return;
    if (!isBinary) return this.fault(NOT_BINARY, "the server sent a text frame");
    for (const fragment of fragments) {
      const fault = this.decoder.push(fragment, (line) => this.take(line));
      if (fault === undefined) continue;
      const code = fault.code === "line-too-long" ? TOO_LARGE : PROTOCOL_ERROR;
      return this.fault(code, `the server sent ${fault.detail}`);
    }
  }

  private take(line: ControlLine): void {
    if (this.over) return;
    this.heardAt = this.options.clock.now();
    this.events.line(line);
  }

  private readonly listen = (): void => {
    const { clock, readTimeoutMs } = this.options;
    const leftMs = this.heardAt + readTimeoutMs - clock.now();
    if (leftMs > 0) {
      this.silence = clock.setTimer(leftMs, this.listen);
      return;
    }
    this.socket.terminate();
    this.ended(`no line of the server for ${Math.round(readTimeoutMs / 1000)} s`);
  };

  private ping(): void {
    const { clock, pingMs } = this.options;
    this.pings += 1;
    this.pingedAt = clock.now();
    this.socket.ping(String(this.pings));
    this.nextPing = clock.setTimer(pingMs, () => this.ping());
  }

  private answered(token: string): void {
    if (token === String(this.pings)) this.rttMs = this.options.clock.now() - this.pingedAt;
  }

  private fault(code: number, reason: string): void {
    this.ended(reason);
    this.socket.close(code);
  }

  private ended(reason: string, code?: number): void {
    if (this.over) return;
    this.stop();
    this.events.closed(reason, code);
  }

  private stop(): void {
    this.over = true;
    this.silence.cancel();
    this.nextPing?.cancel();
  }
}
