/** Wolf's event stream: bounded parsing of server-sent events, names, and what has to be removed before an event leaves the host. */

export const wolfEventPrefix = "wolf::core::events::";

export interface WolfEvent {
  /** As Wolf names it, prefix included. */
  event: string;
  data: Record<string, unknown>;
}

export type StreamItem = { event: string; data: string } | { comment: string };

export class EventStreamError extends Error {
  override readonly name = "EventStreamError";
}

const EVENT_BYTES_MAX = 256 * 1024;

/**
 * Events and comments of a `text/event-stream` (HTML Standard, "Server-sent events"), wherever its bytes are cut.
 * Throws EventStreamError when a line, or the data of one event, is larger than `eventBytesMax` (default 256 KiB).
 */
export async function* parseEventStream(
  chunks: AsyncIterable<Uint8Array>,
  options: { eventBytesMax?: number } = {},
): AsyncGenerator<StreamItem> {
  const eventBytesMax = options.eventBytesMax ?? EVENT_BYTES_MAX;
  let event = "";
  let data: string[] = [];
  let dataBytes = 0;
  for await (const { line, bytes } of linesOf(chunks, eventBytesMax)) {
    if (line === "") {
      if (data.length > 0) yield { event: event === "" ? "message" : event, data: data.join("\n") };
      event = "";
      data = [];
      dataBytes = 0;
      continue;
    }
    const colon = line.indexOf(":");
    if (colon === 0) {
      yield { comment: line.slice(1) };
      continue;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "data") {
      data.push(value);
      dataBytes += bytes;
      if (dataBytes > eventBytesMax)
        throw new EventStreamError(`an event of more than ${eventBytesMax} bytes`);
    }
  }
}

const LF = 10;
const CR = 13;

/**
 * Lines ended by LF, CR or CRLF. Bytes are cut before they are decoded, since no byte of a longer UTF-8 sequence looks
 * like a line end; a CR ends its line at once and swallows the LF that may follow in a later chunk.
 */
async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<{ line: string; bytes: number }> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  let afterCr = false;
  let first = true;
  for await (const chunk of chunks) {
    let start = 0;
    for (let at = 0; at < chunk.byteLength; at += 1) {
      const byte = chunk[at];
      if (byte !== LF && byte !== CR) {
        afterCr = false;
        continue;
      }
      const lineFeedOfCrLf = byte === LF && afterCr;
      afterCr = byte === CR;
      if (!lineFeedOfCrLf) {
        bytes += at - start;
        if (bytes > lineBytesMax) throw new EventStreamError(`a line of more than ${lineBytesMax} bytes`);
        const text = decoder.decode(joined([...pieces, chunk.subarray(start, at)], bytes));
        yield { line: first && text.startsWith("\ufeff") ? text.slice(1) : text, bytes };
        first = false;
        pieces = [];
        bytes = 0;
      }
      start = at + 1;
    }
    bytes += chunk.byteLength - start;
    if (bytes > lineBytesMax) throw new EventStreamError(`a line of more than ${lineBytesMax} bytes`);
    if (start < chunk.byteLength) pieces.push(chunk.subarray(start));
  }
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const [only] = pieces;
  if (pieces.length === 1 && only) return only;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}

/** Fields that hold stream keys and PINs in clear (hazard H11). */
const secretFields = new Set([
  "pin",
  "aes_key",
  "aes_iv",
  "rtp_secret_payload",
  // The same, in pings.
  "payload",
  "pair_secret",
  "client_cert",
  "input_packet_hex",
]);
const DEPTH_MAX = 32;
const mayHold = new RegExp(`"(?:${[...secretFields].join("|")})"|\\\\u`, "i");

/** False when no name in the JSON can be a secret's: Wolf writes names plainly, and one may hide behind an escape. */
export const maySecret = (jsonText: string): boolean => mayHold.test(jsonText);

/** Any JSON without keys and PINs, at every depth; what nests deeper than 32 levels is cut off. */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX) return null;
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, depth + 1));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !secretFields.has(name.toLowerCase()))
      .map(([name, inner]) => [name, withoutSecrets(inner, depth + 1)]),
  );
}

/** The event without keys and PINs, at every depth. */
export function redactWolfEvent({ event, data }: WolfEvent): WolfEvent {
  return { event, data: withoutSecrets(data) as Record<string, unknown> };
}
