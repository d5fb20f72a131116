/** A data connection as Helix's control plane has it: bytes in binary messages, the end by a TCP close without a close frame. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { encodeFrame, type Frame, FrameReader, opcodes } from "./frames.ts";

export class HelixData extends Duplex {
  private readonly socket: Socket;
  private readonly reader = new FrameReader();
  /** Frames as they came. */
  readonly frames: Frame[] = [];

  constructor(socket: Socket, early: Buffer) {
    super({ allowHalfOpen: false });
    this.socket = socket;
    this.on("error", () => undefined);
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => this.arrived(bytes));
    socket.once("close", () => {
      this.push(null);
      // What had come is read first.
      if (this.readableLength === 0) this.destroy();
    });
    if (early.length > 0) this.arrived(early);
  }

  private arrived(bytes: Buffer): void {
    for (const frame of this.reader.push(bytes)) {
      this.frames.push(frame);
      const { opcode, payload, masked } = frame;
      if (opcode === opcodes.text || !masked) this.destroy(new Error("a bad message on data"));
      else if (opcode === opcodes.close) this.socket.end();
      else if (opcode === opcodes.ping) this.socket.write(encodeFrame({ opcode: opcodes.pong, payload }));
      else if (opcode !== opcodes.pong && payload.length > 0 && !this.push(payload)) this.socket.pause();
    }
  }

  /** Bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(encodeFrame({ opcode: opcodes.binary, payload: bytes }), done);
  }

  override _final(done: () => void): void {
    this.socket.destroySoon();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroySoon();
    done(error);
  }
}
