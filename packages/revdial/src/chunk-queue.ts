/**
 * Body bytes that wait, oldest first. Large chunks are kept as they are; small ones are copied together, because each
 * alone would cost more memory and time than its bytes, and a peer decides how small they are and what they are cut from.
 */

const SMALL_CHUNK_BYTES = 1024;
const GATHER_BYTES = 8 * 1024;
/** A chunk keeps all the memory alive that it is a view into: one that is a smaller part of it is copied. */
const PINNED_SHARE_MAX = 4;

export class ChunkQueue {
  byteLength = 0;
  private chunks: Uint8Array[] = [];
  /** Memory behind the last chunk, when that is one of ours, and how much of it is used. */
  private gather: Uint8Array | undefined;
  private gatheredBytes = 0;

  /** Chunks that wait: few, however many were pushed. */
  get length(): number {
    return this.chunks.length;
  }

  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.byteLength += bytes.byteLength;
    if (bytes.byteLength < SMALL_CHUNK_BYTES && this.chunks.length > 0) return this.append(bytes);
    this.chunks.push(
      bytes.buffer.byteLength > PINNED_SHARE_MAX * bytes.byteLength ? new Uint8Array(bytes) : bytes,
    );
    this.gather = undefined;
  }

  private append(bytes: Uint8Array): void {
    const last = this.chunks.at(-1);
    const end = this.gatheredBytes + bytes.byteLength;
    if (this.gather === undefined || last === undefined || end > GATHER_BYTES) {
      this.gather = new Uint8Array(GATHER_BYTES);
      this.gather.set(bytes);
      this.gatheredBytes = bytes.byteLength;
      this.chunks.push(this.gather.subarray(0, bytes.byteLength));
      return;
    }
    this.gather.set(bytes, this.gatheredBytes);
    this.gatheredBytes = end;
    this.chunks[this.chunks.length - 1] = this.gather.subarray(last.byteOffset, end);
  }

  /** The oldest chunk, or its first `bytesMax`; undefined when nothing waits. What was given out is never written again. */
  take(bytesMax = Number.POSITIVE_INFINITY): Uint8Array | undefined {
    const first = this.chunks[0];
    if (first === undefined) return undefined;
    const taken = first.byteLength <= bytesMax ? first : first.subarray(0, bytesMax);
    this.byteLength -= taken.byteLength;
    if (taken === first) {
      this.chunks.shift();
      if (this.chunks.length === 0) this.gather = undefined;
    } else this.chunks[0] = first.subarray(bytesMax);
    return taken;
  }

  clear(): void {
    this.chunks = [];
    this.byteLength = 0;
    this.gather = undefined;
  }
}
