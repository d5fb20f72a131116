/** A message in as many fragments as are worth it: what a receiver need not copy is one of its own (SPEC §2.2). */

/** From here on a fragment of its own costs less than copying its bytes. */
const FRAGMENT_BYTES_MIN = 8 * 1024;

/** Small parts share a fragment; a large one is a fragment of its own, sent as it is. */
export function fragmentsOf(parts: readonly Uint8Array[]): Uint8Array[] {
  if (parts.length === 1) return [parts[0] as Uint8Array];
  const fragments: Uint8Array[] = [];
  let begin = 0;
  for (const [index, part] of parts.entries()) {
    if (part.byteLength < FRAGMENT_BYTES_MIN) continue;
    if (index > begin) fragments.push(Buffer.concat(parts.slice(begin, index)));
    fragments.push(part);
    begin = index + 1;
  }
  if (begin < parts.length) fragments.push(Buffer.concat(parts.slice(begin)));
  return fragments;
}
