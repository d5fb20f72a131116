/** The beginning of a refusal's body, for whoever has to find out why it came: bounded in bytes and in time. */
import type { Clock } from "./clock.ts";

const DETAIL_BYTES_MAX = 4096;
/** The status is known already, and somebody waits for it. */
const DETAIL_MS_MAX = 1000;

/** At most 4 KiB, and what has come within a second; `stop` is called then, and has to end the body. */
export async function readDetail(
  body: AsyncIterable<Uint8Array>,
  stop: () => void,
  clock: Clock,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const timer = clock.setTimer(DETAIL_MS_MAX, stop);
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes >= DETAIL_BYTES_MAX) break;
    }
  } catch {
    // A body cut short says nothing more than its status already does.
  }
  timer.cancel();
  return Buffer.concat(chunks).subarray(0, DETAIL_BYTES_MAX).toString("utf8");
}
