/** The lines of a control connection: JSON objects of at most 4,096 bytes. Pure: bytes in, lines and faults out. */
import { bufferOf } from "../bytes.ts";

/** Of one line with its end, both ways: the original reads into a buffer of this size. */
export const LINE_BYTES_MAX = 4096;

const NEWLINE = 0x0a;

/** What is known of a line; other fields and other commands are for others. */
export interface ControlLine {
  command?: string;
  connPath?: string;
  err?: string;
}

/** What is wrong with what a peer sent; nothing behind it is looked at. */
export interface LineFault {
  code: "line-invalid" | "line-too-long";
  detail: string;
}

/** Written as the original's encoder does, whose readers may compare: `&`, `<` and `>` are escaped. */
export function encodeLine(line: ControlLine): string {
  return `${JSON.stringify(line).replace(/[&<>\u2028\u2029]/g, escaped)}\n`;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Lines from bytes that may be cut anywhere. */
export class LineDecoder {
  /** Made when a line first comes in pieces: to keep the pieces would keep what they are pieces of. */
  private held: Buffer | undefined;
  private heldBytes = 0;
  private fault: LineFault | undefined;

  /** Gives every line that is whole; what is wrong comes back, then and ever after. */
  push(bytes: Uint8Array, onLine: (line: ControlLine) => void): LineFault | undefined {
    for (let at = 0; at < bytes.byteLength && this.fault === undefined; ) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.byteLength : newline;
      // The end of the line counts, also where it is still to come.
      if (this.heldBytes + end - at >= LINE_BYTES_MAX) {
        this.fault = { code: "line-too-long", detail: `a line of more than ${LINE_BYTES_MAX} bytes` };
      } else if (newline < 0) this.hold(bytes.subarray(at));
      else this.parse(this.joined(bytes.subarray(at, end)), onLine);
      at = end + 1;
    }
    return this.fault;
  }

  private parse(text: string, onLine: (line: ControlLine) => void): void {
    const line = parseLine(text);
    if (typeof line === "string") this.fault = { code: "line-invalid", detail: line };
    else onLine(line);
  }

  private hold(bytes: Uint8Array): void {
    this.held ??= Buffer.alloc(LINE_BYTES_MAX);
    this.held.set(bytes, this.heldBytes);
    this.heldBytes += bytes.byteLength;
  }

  private joined(last: Uint8Array): string {
    if (this.held === undefined || this.heldBytes === 0) return bufferOf(last).toString();
    this.hold(last);
    const text = this.held.toString("utf8", 0, this.heldBytes);
    this.heldBytes = 0;
    return text;
  }
}

/** The line, or what is wrong with it. */
function parseLine(text: string): ControlLine | string {
  if (text.trim() === "") return "a blank line";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "a line that is no JSON";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "a line that is no object";
  const line: ControlLine = {};
  for (const name of ["command", "connPath", "err"] as const) {
    const field = (value as Record<string, unknown>)[name];
    if (field === undefined || field === null) continue;
    if (typeof field !== "string") return `a line whose ${name} is no text`;
    line[name] = field;
  }
  return line;
}

/** The number of the dial that a `connPath` names, or undefined: texts are never compared, they may be escaped. */
export function requestIdOf(connPath: string | undefined): string | undefined {
  const query = connPath?.indexOf("?") ?? -1;
  if (connPath === undefined || query < 0) return undefined;
  return new URLSearchParams(connPath.slice(query + 1)).get("revdial.req") ?? undefined;
}
