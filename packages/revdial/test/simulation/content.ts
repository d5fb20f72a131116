/**
 * What bodies are made of: every byte of every body follows from the exchange's number, the direction and the offset.
 * So a single chunk shows whether it belongs where it arrived, also in a body that is cut short later.
 */
import { seededRandom } from "../../src/testing/index.ts";

export type Direction = "up" | "down";

export const CONTENT_BYTES_MAX = 256 * 1024;
/** Prime, so that neighbouring exchanges begin far apart. */
const STRIDE_BYTES = 7919;

const pool = ((): Uint8Array => {
  const random = seededRandom(1);
  const once = Uint8Array.from({ length: CONTENT_BYTES_MAX }, () => Math.floor(random() * 256));
  return new Uint8Array(Buffer.concat([once, once]));
})();

/** `bytes` of a body from the offset `at`, at most CONTENT_BYTES_MAX. A view: nobody may write to it. */
export function content(id: number, direction: Direction, at: number, bytes: number): Uint8Array {
  const start = ((2 * id + (direction === "up" ? 0 : 1)) * STRIDE_BYTES + at) % CONTENT_BYTES_MAX;
  return pool.subarray(start, start + bytes);
}

/** Whether a chunk is what the body has at this offset. */
export function belongs(chunk: Uint8Array, id: number, direction: Direction, at: number): boolean {
  for (let done = 0; done < chunk.byteLength; done += CONTENT_BYTES_MAX) {
    const part = chunk.subarray(done, done + CONTENT_BYTES_MAX);
    if (Buffer.compare(part, content(id, direction, at + done, part.byteLength)) !== 0) return false;
  }
  return true;
}
