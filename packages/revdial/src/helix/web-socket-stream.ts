/**
 * A data connection as a byte stream, for both roles: the bytes of binary messages, whose borders mean nothing. There is no
 * half-close: the end of either direction is the end of both, however the WebSocket ends. The other file that knows `ws`.
 */
import { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { RevdialError } from "../errors.ts";
import { mayMaskWithZero, PatientWebSocket } from "../websocket.ts";

export type { WebSocket } from "ws";

type Done = (error?: Error | null) => void;

/** Of one message, either way. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
/** A peer that does not answer a close in this time is cut off. */
const CLOSE_TIMEOUT_MS = 1000;

/**
 * For `ws.WebSocketServer`, beside its way to listen: control and data connections of the original protocol. What a peer says
 * before anybody listens waits.
 */
export const helixWebSocketServerOptions = {
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES_MAX,
  clientTracking: false,
  WebSocket: PatientWebSocket as typeof WebSocket,
  closeTimeout: CLOSE_TIMEOUT_MS,
  /** The original knows none, and would not know what to do with one. */
  handleProtocols: (): false => false,
} as const;

export interface HelixSocketOptions {
  headers: Readonly<Record<string, string>>;
  ca?: string | undefined;
  insecure?: boolean;
}

/** A WebSocket to a server of the original protocol. Error: ARGUMENT, for a URL or a header that cannot be used. */
export function openHelixSocket(target: URL, options: HelixSocketOptions): WebSocket {
  const { headers, ca, insecure = false } = options;
  try {
    return new WebSocket(target, {
      headers,
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
      followRedirects: false,
      rejectUnauthorized: !insecure,
      ...{ closeTimeout: CLOSE_TIMEOUT_MS },
      ...(ca === undefined ? {} : { ca }),
      ...(mayMaskWithZero(target) ? { generateMask: (mask: Buffer) => void mask.fill(0) } : {}),
    });
  } catch (cause) {
    throw new RevdialError("ARGUMENT", "the URL or a header cannot be used for a WebSocket", { cause });
  }
}

/** What is wrong with what a peer said on a data connection. */
export class DataError extends Error {
  override readonly name = "DataError";
  readonly code: "TEXT_FRAME" | "MALFORMED" | "CLOSED";

  constructor(code: DataError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/**
 * It may exist before its WebSocket does, as a `net.Socket` may before it is connected: `pending` and `connecting` say how far it is,
 * and "connect" that it can be used. What is written before that waits.
 */
export class WebSocketStream extends Duplex {
  /** Not usable yet. */
  pending = true;
  /** Somebody has been asked for it; false before, when it can be given up without anybody knowing. */
  connecting = false;
  private readonly messageBytesMax: number;
  private webSocket: WebSocket | undefined;
  /** What waits for the WebSocket: the one write that a stream does at a time. */
  private early: (() => void) | undefined;
  private written: Done | undefined;
  private paused = false;
  private gone = false;

  /** `messageBytesMax`: of what is sent; longer writes become several messages. */
  constructor(messageBytesMax: number) {
    super({ allowHalfOpen: false });
    this.messageBytesMax = messageBytesMax;
  }

  /** Its WebSocket, which is open unless the peer has left already. Called once, in the turn in which that was upgraded, unless it is patient. */
  attach(webSocket: WebSocket): void {
    // An error is followed by a close. One that is the peer's mistake must not pass for the end of a body.
    webSocket.on("error", (cause) =>
      this.broken("MALFORMED", "the peer broke the WebSocket protocol", cause),
    );
    if (this.destroyed) return webSocket.terminate();
    this.webSocket = webSocket;
    // Nothing can be sent on it: that is no end of anything.
    if (webSocket.readyState !== WebSocket.OPEN) {
      this.destroy(new DataError("CLOSED", "the data connection was closed before its first use"));
      return;
    }
    this.pending = false;
    this.connecting = false;
    webSocket.binaryType = "fragments";
    webSocket.on("close", () => this.onClosed());
    webSocket.on("message", this.onMessage);
    this.emit("connect");
    this.early?.();
    this.early = undefined;
    if (this.writableFinished) webSocket.close(1000);
  }

  private readonly onMessage = (data: unknown, isBinary: boolean): void => {
    if (this.destroyed) return;
    if (!isBinary) return this.broken("TEXT_FRAME", "a text frame on a data connection");
    let room = true;
    for (const fragment of data as Buffer[]) room = this.push(fragment);
    if (room || this.gone) return;
    this.paused = true;
    this.webSocket?.pause();
  };

  private broken(code: DataError["code"], message: string, cause?: unknown): void {
    if (code === "TEXT_FRAME") this.webSocket?.close(1003, "binary frames only");
    this.destroy(new DataError(code, message, cause));
  }

  private onClosed(): void {
    if (this.gone) return;
    this.gone = true;
    if (!this.destroyed) this.push(null);
    this.flushed();
  }

  override _read(): void {
    if (!this.paused) return;
    this.paused = false;
    this.webSocket?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.sendAll([chunk], done);
  }

  override _writev(writes: { chunk: Buffer }[], done: Done): void {
    const chunks = writes.map(({ chunk }) => chunk);
    let bytes = 0;
    for (const { byteLength } of chunks) bytes += byteLength;
    this.sendAll(bytes <= this.messageBytesMax ? [Buffer.concat(chunks, bytes)] : chunks, done);
  }

  private sendAll(chunks: readonly Buffer[], done: Done): void {
    this.written = done;
    if (this.webSocket === undefined) {
      this.early = () => this.sendNow(chunks);
      return;
    }
    this.sendNow(chunks);
  }

  /** All that is left of a WebSocket that has closed is what it said: what is written is lost, as it would be on its way. */
  private sendNow(chunks: readonly Buffer[]): void {
    const { webSocket, messageBytesMax } = this;
    if (webSocket?.readyState !== WebSocket.OPEN) return void process.nextTick(this.flushed);
    const only = chunks.length === 1 ? (chunks[0] as Buffer) : undefined;
    if (only !== undefined && only.byteLength <= messageBytesMax) return webSocket.send(only, this.flushed);
    const pieces = chunks.flatMap((chunk) => cut(chunk, messageBytesMax));
    const raw = rawOf(webSocket);
    raw?.cork();
    for (const [index, piece] of pieces.entries())
      webSocket.send(piece, index === pieces.length - 1 ? this.flushed : undefined);
    raw?.uncork();
  }

  private readonly flushed = (): void => {
    const done = this.written;
    this.written = undefined;
    done?.();
  };

  override _final(done: Done): void {
    this.webSocket?.close(1000);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const { webSocket } = this;
    this.early = undefined;
    // One that has been told why, or has ended in order, is given the time to take its leave.
    if (webSocket?.readyState === WebSocket.OPEN) webSocket.terminate();
    else webSocket?.resume();
    done(error);
  }

  /** As of a `net.Socket`: whether it keeps the process alive. */
  ref(): this {
    return this.keepAlive("ref");
  }

  unref(): this {
    return this.keepAlive("unref");
  }

  private keepAlive(how: "ref" | "unref"): this {
    if (this.webSocket !== undefined) rawOf(this.webSocket)?.[how]?.();
    return this;
  }
}

function cut(chunk: Buffer, bytesMax: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < chunk.byteLength; at += bytesMax) pieces.push(chunk.subarray(at, at + bytesMax));
  return pieces;
}

type RawSocket = Duplex & { ref?(): unknown; unref?(): unknown };

/** `ws` has kept its socket under this name since its first version. */
function rawOf(webSocket: WebSocket): RawSocket | undefined {
  return (webSocket as unknown as { _socket?: RawSocket })._socket;
}
