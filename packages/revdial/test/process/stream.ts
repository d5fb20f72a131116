/** A long body that both ends can make, so that its reader knows every byte of it. */
import { createHash } from "node:crypto";

const CHUNK_BYTES = 64 * 1024;
/** The body repeats this: large enough that a lost or doubled chunk shifts everything behind it. */
const pattern = ((): Uint8Array => {
  const bytes = new Uint8Array(CHUNK_BYTES + 251);
  for (let at = 0; at < bytes.byteLength; at += 1) bytes[at] = (at * 167) % 251;
  return bytes;
})();

function chunkAt(at: number, bytes: number): Uint8Array {
  const start = at % 251;
  return pattern.subarray(start, start + bytes);
}

export async function* stream(total: number, given: { bytes: number }): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < total; at += CHUNK_BYTES) {
    const bytes = Math.min(CHUNK_BYTES, total - at);
    given.bytes += bytes;
    yield chunkAt(at, bytes);
  }
}

/** The sum of a whole stream. */
export function streamHash(total: number): string {
  const hash = createHash("sha256");
  for (let at = 0; at < total; at += CHUNK_BYTES) hash.update(chunkAt(at, Math.min(CHUNK_BYTES, total - at)));
  return hash.digest("hex");
}
