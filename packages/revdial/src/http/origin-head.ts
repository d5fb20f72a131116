/**
 * Heads of answers as RFC 9112 says them, and nothing that it merely tolerates: a text in latin1 goes in, a status, fields and
 * the place where the body ends come out. What two readers might take differently is refused.
 */
import { isBlankAt, isFieldContent, isToken } from "../head.ts";
import { isUndone } from "./fields.ts";

/** Fields of one head or of one trailer section. The tunnel takes fewer (`headersMax`), but some of these do not travel. */
export const ANSWER_FIELDS_MAX = 1024;
/** Milliseconds for which a connection may be kept unused when its origin does not say for how long. */
const KEEP_MS = 4000;
/** Before the time that the origin names: what is sent in its last second may meet a closed door. */
const KEEP_MARGIN_MS = 1000;
const KEEP_MS_MAX = 600_000;

/** Names in lower case. */
export type FieldList = [name: string, value: string][];

export interface AnswerHead {
  /** 100 to 599. */
  status: number;
  fields: FieldList;
  /** Bytes of the body; undefined when it is in chunks, or goes on until the connection ends. */
  length: number | undefined;
  chunked: boolean;
  /** Milliseconds for which the connection may be kept unused behind this answer; 0 for not at all. */
  keepMs: number;
  /** It names a protocol to switch to. */
  upgrade: boolean;
}

/** What an origin says is not HTTP/1.1, or more of it than we take. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";
  readonly code: "ANSWER_MALFORMED" | "ANSWER_TOO_LARGE" | "ANSWER_CUT";

  constructor(code: AnswerError["code"], detail: string) {
    super(`the target ${detail}`);
    this.code = code;
  }
}

export function malformed(detail: string): AnswerError {
  return new AnswerError("ANSWER_MALFORMED", detail);
}

const SPACE = 0x20;
const versionOf: ReadonlyMap<string, 0 | 1> = new Map([
  ["HTTP/1.0 ", 0],
  ["HTTP/1.1 ", 1],
]);

/**
 * `text` is the head without the empty line that ends it. Error: AnswerError.
 */
export function parseHead(text: string): AnswerHead {
  const lineEnd = text.indexOf("\r\n");
  const end = lineEnd < 0 ? text.length : lineEnd;
  const minor = versionOf.get(text.slice(0, 9));
  if (minor === undefined) throw malformed("does not speak HTTP/1.1");
  const status = statusAt(text, 9, end);
  const fields = lineEnd < 0 ? [] : parseFields(text, lineEnd + 2);
  return framed(minor, status, fields);
}

/** RFC 9112 §4. The blank before a reason that is not given may be missing too: servers do it, and it changes nothing. */
function statusAt(text: string, at: number, end: number): number {
  const digits = text.slice(at, at + 3);
  if (end < at + 3 || !/^[1-5]\d\d$/.test(digits)) throw malformed("gave a status that is not 100 to 599");
  if (end > at + 3 && (text.charCodeAt(at + 3) !== SPACE || !isFieldContent(text.slice(at + 4, end))))
    throw malformed("gave a status line that is none");
  return Number(digits);
}

/** RFC 9112 §5: lines that end with CR and LF, none of them folded. `from` is where the first begins. Error: AnswerError. */
export function parseFields(text: string, from: number): FieldList {
  const fields: FieldList = [];
  for (let at = from; at < text.length; ) {
    const lineEnd = text.indexOf("\r\n", at);
    const end = lineEnd < 0 ? text.length : lineEnd;
    const colon = text.indexOf(":", at);
    if (colon < 0 || colon > end) throw malformed("sent a field without a colon");
    const name = text.slice(at, colon);
    if (!isToken(name)) throw malformed("sent a field whose name is no token");
    const value = trimmed(text, colon + 1, end);
    if (!isFieldContent(value)) throw malformed("sent a field whose value is no field-content");
    if (fields.length === ANSWER_FIELDS_MAX)
      throw new AnswerError("ANSWER_TOO_LARGE", `sent more than ${ANSWER_FIELDS_MAX} fields`);
    fields.push([name.toLowerCase(), value]);
    at = end + 2;
  }
  return fields;
}

/** Trailers: what frames a message comes too late there (RFC 9110 §6.5.1), and readers differ about what to do. Error: AnswerError. */
export function parseTrailers(text: string, from: number): FieldList {
  const fields = parseFields(text, from);
  for (const [name] of fields)
    if (name === "content-length" || name === "transfer-encoding")
      throw malformed(`sent ${name} behind the body`);
  return fields;
}

function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlankAt(text, start)) start += 1;
  while (end > start && isBlankAt(text, end - 1)) end -= 1;
  return text.slice(start, end);
}

/** Where the body ends (RFC 9112 §6.3), and what becomes of the connection (§9.3). */
function framed(minor: 0 | 1, status: number, fields: FieldList): AnswerHead {
  let length: number | undefined;
  let coding: string | undefined;
  let connection = "";
  let keepMs = KEEP_MS;
  let upgrade = false;
  for (const [name, value] of fields) {
    if (name === "content-length") length = sameLength(length, value);
    else if (name === "transfer-encoding") coding = coding === undefined ? value : `${coding}, ${value}`;
    else if (name === "connection") connection += `${value},`;
    else if (name === "keep-alive") keepMs = hinted(value);
    else if (name === "upgrade") upgrade = true;
  }
  if (status < 200 && minor === 0) throw malformed("sent a head below 200 in HTTP/1.0"); // RFC 9110 §15.2
  // Nobody asked the origin for another one.
  if (coding !== undefined && !isUndone(coding)) throw malformed(`used the transfer coding ${coding}`);
  if (coding !== undefined && minor === 0) throw malformed("sent chunks in HTTP/1.0");
  if (coding !== undefined && length !== undefined) throw malformed("sent both a length and chunks");
  if (!isKept(minor, connection)) keepMs = 0;
  return { status, fields, length, chunked: coding !== undefined, keepMs, upgrade };
}

function sameLength(before: number | undefined, value: string): number {
  const length = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(length) || (before !== undefined && before !== length))
    throw malformed("sent a content-length that is not one decimal number");
  return length;
}

function hinted(value: string): number {
  const seconds = /(?:^|[,\s])timeout=(\d{1,9})(?:$|[,;\s])/i.exec(value)?.[1];
  if (seconds === undefined) return KEEP_MS;
  return Math.min(KEEP_MS_MAX, Math.max(0, Number(seconds) * 1000 - KEEP_MARGIN_MS));
}

function isKept(minor: 0 | 1, connection: string): boolean {
  if (connection === "") return minor === 1;
  const options = connection.toLowerCase().split(",");
  const says = (option: string) => options.some((one) => one.trim() === option);
  return !says("close") && (minor === 1 || says("keep-alive"));
}
