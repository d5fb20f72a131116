/** What is led into a command. */
import type { Input } from "./edges.ts";
import { UsageError } from "./errors.ts";

/** Everything, up to a bound. */
export async function readAll(input: Input, bytesMax: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw new UsageError(`${what} takes at most ${bytesMax} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
