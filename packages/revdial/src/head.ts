/**
 * Heads: the compact list of header fields that OPEN, HEAD and END carry (SPEC §5). Everything that may not travel is
 * refused here, so that neither side can smuggle a request or a header past the other.
 */
import { RevdialError } from "./errors.ts";

/** Header fields in order; names in lower case. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** What a character may be part of, by its code: one look instead of a regular expression on the hot path. */
const charClasses = new Uint8Array(256);
const NAME = 1;
const TOKEN = 2;
const VALUE = 4;
const PATH = 8;
const SERVICE = 16;

function allow(characters: RegExp, mask: number): void {
  for (let code = 0; code < 256; code += 1)
    if (characters.test(String.fromCharCode(code))) charClasses[code] = (charClasses[code] as number) | mask;
}

// RFC 9110 §5.6.2 token, lower case only.
allow(/[!#$%&'*+\-.^_`|~0-9a-z]/, NAME);
allow(/[!#$%&'*+\-.^_`|~0-9A-Za-z]/, TOKEN);
// RFC 9110 §5.5 field-content: visible ASCII, space, tab and obs-text; no CR, LF, NUL.
allow(/[\x20-\x7e\t\x80-\xff]/, VALUE);
// Origin form only: a path, an optional query; no fragment, no white space, no controls, ASCII.
allow(/[\x21\x22\x24-\x7e]/, PATH);
allow(/[a-z0-9._-]/, SERVICE);

function consistsOf(text: string, mask: number): boolean {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code > 255 || ((charClasses[code] as number) & mask) === 0) return false;
  }
  return true;
}

/** Space and tab may stand inside a value, not at its ends. */
export function isBlankAt(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x20 || code === 0x09;
}

const protocolName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z/]{1,64}$/;
const traceparentText = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Fields that belong to one hop (RFC 9110 §7.6.1) or to the connection they came on. */
const hopByHop = new Set([
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const LENGTH_FIELD = "content-length";

/** Fields that never travel as such. The length of a body has a place of its own in its head. */
function isOfOneHop(name: string): boolean {
  return name === LENGTH_FIELD || hopByHop.has(name);
}

/** What is no text has no length either, and would be written as nothing. Error: ARGUMENT. */
function checkText(text: unknown, what: string): void {
  if (typeof text !== "string") throw new RevdialError("ARGUMENT", `${what} is no text`);
}

/**
 * What is left of an HTTP message's header fields once hop-by-hop fields and those named in `Connection` are gone. A
 * `content-length` is still there, in lower case, for `takeLength`, unless the coding of the transfer overrides it. Error:
 * ARGUMENT for what is no list of pairs of texts.
 */
export function travellingHeaders(headers: Iterable<readonly [string, string]>): [string, string][] {
  if (typeof headers?.[Symbol.iterator] !== "function")
    throw new RevdialError("ARGUMENT", "the headers are no list of pairs");
  const list: [string, string][] = [];
  let named: Set<string> | undefined;
  for (const pair of headers) {
    if (!Array.isArray(pair)) throw new RevdialError("ARGUMENT", "a header is no pair");
    const [rawName, value] = pair as [string, string];
    checkText(rawName, "a header's name");
    checkText(value, "a header's value");
    const name = rawName.toLowerCase();
    if (!hopByHop.has(name)) list.push(name === rawName ? (pair as [string, string]) : [name, value]);
    else if (name === "transfer-encoding") {
      named ??= new Set();
      named.add(LENGTH_FIELD); // RFC 9112 §6.3
    } else if (name === "connection") {
      named ??= new Set();
      for (const token of value.split(",")) named.add(token.trim().toLowerCase());
    }
  }
  return named === undefined ? list : list.filter(([name]) => !named.has(name));
}

/**
 * The trace context of a request: it has a field of its own in OPEN, and must not travel twice. Takes a valid one out of
 * `headers`; what is not of the W3C form stays there, a header like any other.
 */
export function takeTraceparent(headers: [string, string][]): string {
  const at = headers.findIndex(([name, value]) => name === "traceparent" && traceparentText.test(value));
  return at < 0 ? "" : (headers.splice(at, 1)[0] as [string, string])[1];
}

/**
 * Takes every `content-length` out of `headers`: the length they say, or undefined without any. Error: HEAD_INVALID when
 * they are no decimal numbers, or differ (RFC 9112 §6.3).
 */
export function takeLength(headers: [string, string][]): number | undefined {
  let length: number | undefined;
  for (let at = headers.length - 1; at >= 0; at -= 1) {
    const [name, value] = headers[at] as [string, string];
    if (name !== LENGTH_FIELD) continue;
    const said = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
    if (!Number.isSafeInteger(said) || (length !== undefined && length !== said))
      throw invalid("content-length is not one decimal number");
    length = said;
    headers.splice(at, 1);
  }
  return length;
}

/** What travels of trailers: a length comes too late there. Errors: those of `travellingHeaders` and `takeLength`. */
export function travellingTrailers(trailers: HeaderList): HeaderList {
  if (trailers.length === 0) return trailers;
  const fields = travellingHeaders(trailers);
  takeLength(fields);
  return fields;
}

/** The fields as HTTP has them: with the length that has travelled beside them. */
export function withLength(headers: HeaderList, length: number | undefined): HeaderList {
  return length === undefined ? headers : [...headers, [LENGTH_FIELD, String(length)]];
}

function invalid(detail: string): RevdialError {
  return new RevdialError("HEAD_INVALID", detail);
}

export function checkHeaders(headers: HeaderList, headersMax: number): void {
  if (headers.length > headersMax)
    throw new RevdialError("HEAD_TOO_LARGE", `more than ${headersMax} header fields`);
  for (const [name, value] of headers) checkField(name, value);
}

/** One field that travels. Errors: HEAD_INVALID, and ARGUMENT for what is no text. */
export function checkField(name: string, value: string): void {
  checkText(name, "a header's name");
  checkText(value, "a header's value");
  if (name === "" || !consistsOf(name, NAME)) throw invalid("a header name is not a lower-case token");
  if (name.length > 255) throw invalid("a header name is longer than 255 bytes");
  if (isOfOneHop(name)) throw invalid(`header ${name} does not travel`);
  if (value === "") return;
  if (!isFieldContent(value) || isBlankAt(value, 0) || isBlankAt(value, value.length - 1))
    throw invalid(`the value of header ${name} is not field-content`);
}

/** A name of a field in either case, or a method (RFC 9110 §5.6.2). */
export function isToken(text: string): boolean {
  return text !== "" && consistsOf(text, TOKEN);
}

/** Characters that a value may have anywhere (RFC 9110 §5.5), a reason phrase too; nothing is such a value as well. */
export function isFieldContent(text: string): boolean {
  return consistsOf(text, VALUE);
}

export function checkMethod(method: string): void {
  checkText(method, "the method");
  if (method.length > 32 || !isToken(method))
    throw invalid("the method is not a token of 1 to 32 characters");
}

export function checkService(service: string): void {
  checkText(service, "the service");
  const { length } = service;
  if (length === 0 || length > 63 || !consistsOf(service, SERVICE) || /^[._-]/.test(service))
    throw invalid("the service is not 1 to 63 of a-z 0-9 . _ -");
}

export function checkPath(path: string): void {
  checkText(path, "the path");
  if (path.charCodeAt(0) !== 0x2f || !consistsOf(path, PATH)) throw invalid("the path is not in origin form");
}

export function checkTraceparent(traceparent: string): void {
  checkText(traceparent, "traceparent");
  if (traceparent !== "" && !traceparentText.test(traceparent))
    throw invalid("traceparent is not of the W3C form");
}

/** `Upgrade`'s value for a socket (one protocol, RFC 9110 §7.8), nothing for a request. */
export function checkProtocol(kind: number, protocol: string): void {
  checkText(protocol, "the protocol");
  if (protocol === "") return;
  if (kind === 0 || !protocolName.test(protocol)) throw invalid("the protocol is not one token, or not here");
}

/**
 * A length that its head may have: a safe integer, and none where no body can follow (RFC 9110 §8.6). `status` is that of
 * the head; 200 for a request, 101 for a socket.
 */
export function checkLength(length: number | undefined, status: number): void {
  if (length === undefined) return;
  if (!Number.isSafeInteger(length) || length < 0) throw invalid("a length is no safe integer");
  if (status < 200 || status === 204) throw invalid("a head without a body says how long it is");
}

export function checkStatus(status: number): void {
  if (!Number.isInteger(status) || status < 100 || status > 599) {
    throw invalid(`status ${status} is not 100 to 599`);
  }
}
