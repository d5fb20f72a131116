/** A data connection of the Go clients: a TCP or Unix connection to the target, byte for byte, without half-close. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import type { Clock } from "revdial";
import { encodeFrame, opcodes } from "./frames.ts";
import { type GoReader, goDataReader, type ReaderKind } from "./go-reader.ts";
import type { Upgraded } from "./go-upgrade.ts";

export type GoTarget = { host: string; port: number } | { path: string };

export interface GoDataOptions {
  target: GoTarget;
  kind: ReaderKind;
  clock: Clock;
  onClosed: (bytesLost: number) => void;
}

const LOCAL_CONNECT_TIMEOUT_MS = 5000;
/** What one read of the target brings, and so a message. */
const MESSAGE_BYTES = 32 * 1024;
/** A frame is what the client's write buffer holds. */
const FRAME_BYTES = 4096;

/** One message of at most 32 KiB in frames of 4096 bytes. */
export function goFragments(message: Uint8Array, mask: () => Uint8Array = () => randomBytes(4)): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < message.byteLength; at += FRAME_BYTES) {
    frames.push(
      encodeFrame({
        opcode: at === 0 ? opcodes.binary : opcodes.continuation,
        payload: message.subarray(at, at + FRAME_BYTES),
        fin: at + FRAME_BYTES >= message.byteLength,
        mask: mask(),
      }),
    );
  }
  return frames;
}

export class GoDataConnection {
  private readonly socket: Socket;
  private readonly target: Socket;
  private readonly reader: GoReader;
  private readonly onClosed: (bytesLost: number) => void;
  private closed = false;

  /** The target is dialled only now: the control plane already has its connection. */
  constructor({ socket, early }: Upgraded, { target, kind, clock, onClosed }: GoDataOptions) {
    this.socket = socket;
    this.onClosed = onClosed;
    let isConnected = false;
    this.target = connect({ ...target, noDelay: true });
    this.reader = goDataReader(
      {
        kind,
        isReady: () => isConnected && !this.target.writableNeedDrain,
        onPing: (payload) => this.send(encodeFrame({ opcode: opcodes.pong, payload, mask: randomBytes(4) })),
        onEnd: () => this.close(),
      },
      (bytes) => this.target.write(bytes),
    );
    const timer = clock.setTimer(LOCAL_CONNECT_TIMEOUT_MS, () => this.close());
    this.target.once("connect", () => {
      timer.cancel();
      isConnected = true;
      this.pump();
    });
    this.target.on("drain", () => this.pump());
    this.target.on("data", (bytes: Buffer) => this.sendMessages(bytes));
    socket.on("drain", () => this.target.resume());
    socket.on("data", (bytes: Buffer) => {
      this.reader.arrived(bytes);
      this.pump();
    });
    // Either end of either is the end of both; what is still on its way is lost.
    for (const half of [socket, this.target]) {
      half.on("error", () => undefined);
      half.once("end", () => this.close()).once("close", () => this.close());
    }
    this.socket.once("close", () => timer.cancel());
    this.reader.arrived(early);
  }

  private pump(): void {
    this.reader.run();
    if (this.reader.bytesQueued > 0) this.socket.pause();
    else this.socket.resume();
  }

  private sendMessages(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += MESSAGE_BYTES)
      for (const frame of goFragments(bytes.subarray(at, at + MESSAGE_BYTES))) this.send(frame);
    if (this.socket.writableNeedDrain) this.target.pause();
  }

  private send(frame: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(frame);
  }

  /** What a broken peer would send. */
  sendRaw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** As the original closes: TCP, and no close frame before it. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    // What was written leaves before the end, as from a kernel's buffer.
    this.socket.destroySoon();
    this.target.destroySoon();
    this.onClosed(this.reader.bytesLost);
  }
}
