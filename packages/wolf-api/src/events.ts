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
 * Throws EventStreamError when one event is larger than `eventBytesMax` (default 256 KiB).
 */
export async function* parseEventStream(
  chunks: AsyncIterable<Uint8Array>,
  options: { eventBytesMax?: number } = {},
): AsyncGenerator<StreamItem> {
  const eventBytesMax = options.eventBytesMax ?? EVENT_BYTES_MAX;
  const decoder = new TextDecoder();
  let rest = "";
  let event = "";
  let data: string[] = [];
  let held = 0;
  let first = true;
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    if (first && rest !== "") {
      first = false;
      if (rest.startsWith("\ufeff")) rest = rest.slice(1);
    }
    for (;;) {
      const end = lineEnd(rest);
      if (end === undefined) break;
      const line = rest.slice(0, end.at);
      rest = rest.slice(end.next);
      if (line === "") {
        if (data.length > 0) yield { event: event === "" ? "message" : event, data: data.join("\n") };
        event = "";
        data = [];
        held = 0;
        continue;
      }
      held += line.length;
      if (held > eventBytesMax) throw new EventStreamError(`an event of more than ${eventBytesMax} bytes`);
      const colon = line.indexOf(":");
      if (colon === 0) {
        yield { comment: line.slice(1) };
        continue;
      }
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event = value;
      else if (field === "data") data.push(value);
    }
    if (rest.length > eventBytesMax) throw new EventStreamError(`a line of more than ${eventBytesMax} bytes`);
  }
}

/** Where the first line ends; a carriage return at the very end may be half of a CRLF and waits. */
function lineEnd(text: string): { at: number; next: number } | undefined {
  const at = text.search(/[\r\n]/);
  if (at < 0) return undefined;
  if (text[at] === "\n") return { at, next: at + 1 };
  if (at + 1 === text.length) return undefined;
  return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
}

/** Fields that hold stream keys and PINs in clear (hazard H11). */
const secretFields = new Set([
  "pin",
  "aes_key",
  "aes_iv",
  "rtp_secret_payload",
  "pair_secret",
  "client_cert",
  "input_packet_hex",
]);
const DEPTH_MAX = 32;

function withoutSecrets(value: unknown, depth: number): unknown {
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
  return { event, data: withoutSecrets(data, 0) as Record<string, unknown> };
}
