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

/** How what is written becomes messages; how much of one. */
export interface MessageSizes {
  /** Payload bytes of one. Longer writes become several, which leave together. */
  bytesMax: number;
  /**
   * Of the first so many behind what the peer said last, such as those of a request: smaller ones, each in a turn and a socket write of
   * its own, for peers that lose what of a message does not come in one read. Several writes share them where they wait for one another.
   */
  first?: { bytesMax: number; count: number };
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
  private readonly sizes: MessageSizes;
  /** First messages that are left. */
  private firstLeft: number;
  private webSocket: WebSocket | undefined;
  /** What waits for the WebSocket: the one write that a stream does at a time. */
  private early: (() => void) | undefined;
  private written: Done | undefined;
  private paused = false;
  private gone = false;

  constructor(sizes: MessageSizes) {
    super({ allowHalfOpen: false });
    this.sizes = sizes;
    this.firstLeft = sizes.first?.count ?? 0;
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
    this.firstLeft = this.sizes.first?.count ?? 0;
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
    const { bytesMax, first } = this.sizes;
    const together = Math.max(bytesMax, this.firstLeft * (first?.bytesMax ?? 0));
    this.sendAll(bytes <= together ? [Buffer.concat(chunks, bytes)] : chunks, done);
  }

  private sendAll(chunks: readonly Buffer[], done: Done): void {
    this.written = done;
    if (this.webSocket === undefined) {
      this.early = () => this.sendNow(chunks);
      return;
    }
    this.sendNow(chunks);
  }

  private sendNow(chunks: readonly Buffer[]): void {
    const alone = this.firstLeft;
    this.sendPieces(
      chunks.flatMap((chunk) => this.cut(chunk)),
      alone,
    );
  }

  /**
   * So many alone, each in a turn of its own, so that what stands between may read it alone too; the rest together. All that is left of a
   * WebSocket that has closed is what it said: what is written is lost, as it would be on its way.
   */
  private sendPieces(pieces: readonly Buffer[], alone: number): void {
    const { webSocket } = this;
    const [piece] = pieces;
    // Nor is an empty message sent, which would be the end to some.
    if (webSocket?.readyState !== WebSocket.OPEN || piece === undefined)
      return void process.nextTick(this.flushed);
    if (pieces.length === 1) return webSocket.send(piece, this.flushed);
    if (alone > 0) {
      webSocket.send(piece);
      setImmediate(() => this.sendPieces(pieces.slice(1), alone - 1));
      return;
    }
    const raw = rawOf(webSocket);
    raw?.cork();
    for (const [index, one] of pieces.entries())
      webSocket.send(one, index === pieces.length - 1 ? this.flushed : undefined);
    raw?.uncork();
  }

  /** Into messages, of which the first may be smaller than the rest. */
  private cut(chunk: Buffer): Buffer[] {
    const { bytesMax, first } = this.sizes;
    const pieces: Buffer[] = [];
    for (let at = 0; at < chunk.byteLength; ) {
      const end = at + (first !== undefined && this.firstLeft > 0 ? first.bytesMax : bytesMax);
      if (this.firstLeft > 0) this.firstLeft -= 1;
      pieces.push(chunk.subarray(at, end));
      at = end;
    }
    return pieces;
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

type RawSocket = Duplex & { ref?(): unknown; unref?(): unknown };

/** `ws` has kept its socket under this name since its first version. */
function rawOf(webSocket: WebSocket): RawSocket | undefined {
  return (webSocket as unknown as { _socket?: RawSocket })._socket;
}
