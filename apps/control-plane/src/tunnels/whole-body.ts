/** A body that is wanted whole, in bounded memory whatever pieces it comes in: somebody else decides how large those are. */

/** A piece costs that besides its bytes, in time and memory. */
const PIECE_BYTES = 64;
const FIRST_BYTES = 16 * 1024;

export class WholeBody {
  private readonly bytesMax: number;
  private buffer = Buffer.alloc(0);
  private used = 0;
  private pieces = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Bytes that have come. */
  get size(): number {
    return this.used;
  }

  /** False: it is too large, or comes in too many pieces; nothing of it is kept then. */
  add(piece: Uint8Array): boolean {
    this.pieces += 1;
    const size = this.used + piece.byteLength;
    if (size > this.bytesMax || this.pieces * PIECE_BYTES > this.bytesMax + FIRST_BYTES) {
      this.buffer = Buffer.alloc(0);
      this.used = size;
      return false;
    }
    if (size > this.buffer.length) this.grow(size);
    this.buffer.set(piece, this.used);
    this.used = size;
    return true;
  }

  bytes(): Buffer {
    return this.buffer.subarray(0, this.used);
  }

  private grow(size: number): void {
    const larger = Buffer.alloc(Math.min(this.bytesMax, Math.max(size, 2 * this.buffer.length, FIRST_BYTES)));
    larger.set(this.bytes());
    this.buffer = larger;
  }
}
