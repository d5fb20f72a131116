/** Server-sent events (HTML Living Standard, "9.2.6 Interpreting an event stream") from pieces of text, with a bound on what one event may hold. Pure. */

export interface ServerSentEvent {
  /** `message` unless it says otherwise. */
  event: string;
  data: string;
  /** The last id that the stream has named so far; empty: none. */
  id: string;
}

export interface SseParser {
  /** What has become whole by this piece. Throws SseTooLarge. */
  push(text: string): ServerSentEvent[];
  /** Milliseconds the server wants to be left alone for after the stream has ended, if it said so. */
  retryMs(): number | undefined;
}

export class SseTooLarge extends Error {
  override readonly name = "SseTooLarge";
}

const CHARACTERS_MAX = 1024 * 1024;

export function createSseParser(charactersMax = CHARACTERS_MAX): SseParser {
  let rest = "";
  let isBegun = false;
  let event = "";
  let data: string[] = [];
  let dataLength = 0;
  let id = "";
  let retryMs: number | undefined;

  function field(name: string, value: string): void {
    if (name === "event") event = value;
    else if (name === "data") {
      data.push(value);
      dataLength += value.length + 1;
      if (dataLength > charactersMax)
        throw new SseTooLarge(`an event has more than ${charactersMax} characters`);
    } else if (name === "id") {
      if (!value.includes("\0")) id = value;
    } else if (name === "retry" && /^[0-9]{1,9}$/.test(value)) retryMs = Number(value);
  }

  function line(text: string): ServerSentEvent | undefined {
    if (text === "") {
      const found = data.length === 0 ? undefined : { event: event || "message", data: data.join("\n"), id };
      event = "";
      data = [];
      dataLength = 0;
      return found;
    }
    const colon = text.indexOf(":");
    // A comment keeps the connection alive.
    if (colon === 0) return undefined;
    if (colon === -1) field(text, "");
    else field(text.slice(0, colon), text.slice(colon + 1).replace(/^ /, ""));
    return undefined;
  }

  return {
    retryMs: () => retryMs,
    push(text) {
      if (!isBegun && text !== "") {
        isBegun = true;
        text = text.replace(/^\ufeff/, "");
      }
      rest += text;
      // A carriage return at the end may be half of a line break.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      if (rest.length > charactersMax)
        throw new SseTooLarge(`a line has more than ${charactersMax} characters`);
      return lines.map(line).filter((one) => one !== undefined);
    },
  };
}
