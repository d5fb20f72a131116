/**
 * Heads: the compact list of header fields that OPEN, HEAD and END carry (SPEC §5). Everything that may not travel is
 * refused here, so that neither side can smuggle a request or a header past the other.
 */
import { RevdialError } from "./errors.ts";

/** Header fields in order; names in lower case. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

// RFC 9110 §5.6.2 token, lower case only.
const headerName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// RFC 9110 §5.5 field-content: visible ASCII, space, tab and obs-text; no CR, LF, NUL; no outer whitespace.
const headerValue = /^(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
const methodToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/;
const protocolName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z/]{1,64}$/;
const serviceName = /^[a-z0-9][a-z0-9._-]{0,62}$/;
// Origin form only: a path, an optional query; no fragment, no white space, no controls, ASCII.
const requestPath = /^\/[\x21\x22\x24-\x7e]*$/;
const traceparentText = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Fields that belong to one hop (RFC 9110 §7.6.1) or that frames say better; they never travel. */
const hopByHop = new Set([
  "connection",
  "content-length",
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

/** What is left of an HTTP message's header fields once hop-by-hop fields and those named in `Connection` are gone. */
export function travellingHeaders(headers: Iterable<readonly [string, string]>): [string, string][] {
  const list = [...headers].map(([name, value]): [string, string] => [name.toLowerCase(), value]);
  const named = new Set(
    list
      .filter(([name]) => name === "connection")
      .flatMap(([, value]) => value.split(",").map((token) => token.trim().toLowerCase())),
  );
  return list.filter(([name]) => !hopByHop.has(name) && !named.has(name));
}

function invalid(detail: string): RevdialError {
  return new RevdialError("HEAD_INVALID", detail);
}

export function checkHeaders(headers: HeaderList, headersMax: number): void {
  if (headers.length > headersMax)
    throw new RevdialError("HEAD_TOO_LARGE", `more than ${headersMax} header fields`);
  for (const [name, value] of headers) {
    if (!headerName.test(name)) throw invalid("a header name is not a lower-case token");
    if (name.length > 255) throw invalid("a header name is longer than 255 bytes");
    if (hopByHop.has(name)) throw invalid(`header ${name} does not travel`);
    if (!headerValue.test(value)) throw invalid(`the value of header ${name} is not field-content`);
  }
}

export function checkMethod(method: string): void {
  if (!methodToken.test(method)) throw invalid("the method is not a token of 1 to 32 characters");
}

export function checkService(service: string): void {
  if (!serviceName.test(service)) throw invalid("the service is not 1 to 63 of a-z 0-9 . _ -");
}

export function checkPath(path: string): void {
  if (!requestPath.test(path)) throw invalid("the path is not in origin form");
}

export function checkTraceparent(traceparent: string): void {
  if (traceparent !== "" && !traceparentText.test(traceparent))
    throw invalid("traceparent is not of the W3C form");
}

/** `Upgrade`'s value for a socket (one protocol, RFC 9110 §7.8), nothing for a request. */
export function checkProtocol(kind: number, protocol: string): void {
  if (protocol === "") return;
  if (kind === 0 || !protocolName.test(protocol)) throw invalid("the protocol is not one token, or not here");
}

export function checkStatus(status: number): void {
  if (!Number.isInteger(status) || status < 100 || status > 599) {
    throw invalid(`status ${status} is not 100 to 599`);
  }
}
