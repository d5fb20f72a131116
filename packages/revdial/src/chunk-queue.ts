/**
 * Body bytes that wait, oldest first. Large chunks are kept as they are; small ones are copied together, because each
 * alone would cost more memory and time than its bytes, and a peer decides how small they are and what they are cut from.
 */

/** From here on a chunk of its own costs less than copying its bytes. */
const LARGE_CHUNK_BYTES = 1024;
/** Small chunks are copied into pages, which are no larger than all that waits: what is held follows what is counted. */
const PAGE_BYTES_MIN = 64;
const PAGE_BYTES_MAX = 8 * 1024;
/** A chunk keeps all the memory alive that it is a view into: one that is a smaller part of it is copied. */
const PINNED_SHARE_MAX = 4;

export class ChunkQueue {
  byteLength = 0;
  private chunks: Uint8Array[] = [];
  /** The page that small chunks go to, and how much of it is used. It outlives a large chunk in between. */
  private page: Uint8Array | undefined;
  private pageUsed = 0;
  /** The last chunk ends where the page's free part begins. */
  private growing = false;

  /** Chunks that wait: few, however many were pushed. */
  get length(): number {
    return this.chunks.length;
  }

  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.byteLength += bytes.byteLength;
    if (bytes.byteLength < LARGE_CHUNK_BYTES && this.chunks.length > 0) return this.append(bytes);
    this.chunks.push(
      bytes.buffer.byteLength > PINNED_SHARE_MAX * bytes.byteLength ? new Uint8Array(bytes) : bytes,
    );
    this.growing = false;
  }

  private append(bytes: Uint8Array): void {
    for (let rest = bytes; ; ) {
      if (this.page === undefined || this.pageUsed === this.page.byteLength) {
        this.page = new Uint8Array(Math.min(PAGE_BYTES_MAX, Math.max(PAGE_BYTES_MIN, this.byteLength)));
        this.pageUsed = 0;
        this.growing = false;
      }
      const room = this.page.byteLength - this.pageUsed;
      if (rest.byteLength <= room) return this.extend(this.page, rest);
      this.extend(this.page, rest.subarray(0, room));
      rest = rest.subarray(room);
    }
  }

  private extend(page: Uint8Array, part: Uint8Array): void {
    page.set(part, this.pageUsed);
    const start = this.growing ? (this.chunks.pop() as Uint8Array).byteOffset : this.pageUsed;
    this.pageUsed += part.byteLength;
    this.chunks.push(page.subarray(start, this.pageUsed));
    this.growing = true;
  }

  /** The oldest chunk, or its first `bytesMax`; undefined when nothing waits. What was given out is never written again. */
  take(bytesMax = Number.POSITIVE_INFINITY): Uint8Array | undefined {
    const first = this.chunks[0];
    if (first === undefined) return undefined;
    const taken = first.byteLength <= bytesMax ? first : first.subarray(0, bytesMax);
    this.byteLength -= taken.byteLength;
    if (taken === first) {
      this.chunks.shift();
      if (this.chunks.length === 0) this.page = undefined;
    } else this.chunks[0] = first.subarray(bytesMax);
    return taken;
  }

  clear(): void {
    this.chunks = [];
    this.byteLength = 0;
    this.page = undefined;
  }
}
