/** What one stream of server-sent events has told, chunk by chunk: events have an id, and nothing else has (beats, greetings). */

const EVENT = Buffer.from("\nid: ");
const MISSED = Buffer.from("\nevent: missed\n");
/** As many bytes as a needle that is not whole can have. */
const TAIL_BYTES = MISSED.length - 1;

export class EventCount {
  events = 0;
  missed = 0;
  // A stream begins with the beginning of a line.
  private tail: Buffer = Buffer.from("\n");

  take(chunk: Buffer): void {
    // Only what straddles two chunks is put together: a chunk is up to 64 KiB, and there are a thousand readers.
    const seam = Buffer.concat([this.tail, chunk.subarray(0, TAIL_BYTES)]);
    this.events += straddling(EVENT, seam, this.tail.length) + countOf(EVENT, chunk);
    this.missed += straddling(MISSED, seam, this.tail.length) + countOf(MISSED, chunk);
    const end = chunk.length < TAIL_BYTES ? Buffer.concat([this.tail, chunk]) : chunk;
    this.tail = Buffer.from(end.subarray(-TAIL_BYTES));
  }
}

function countOf(needle: Buffer, bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) count += 1;
  return count;
}

/** Those that begin before the seam and end behind it. */
function straddling(needle: Buffer, bytes: Buffer, seam: number): number {
  let count = 0;
  for (let at = bytes.indexOf(needle); at >= 0 && at < seam; at = bytes.indexOf(needle, at + 1))
    if (at + needle.length > seam) count += 1;
  return count;
}

/** Events that did not arrive. Throws where more were told than were due: then something else was counted, which hides what is lost. */
export function lostOf({ due, received, missed }: { due: number; received: number; missed: number }): number {
  if (received > due) throw new Error(`${received} events were told of ${due} that were due`);
  return due - received + missed;
}
