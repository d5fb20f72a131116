/**
 * What Node's parser lets pass and two programs may read in two ways (RFC 9112 §3.2, RFC 9110 §5.3): of a field that may come once,
 * Node keeps the first and a proxy perhaps the last.
 */
import type { IncomingMessage } from "node:http";
import { ApiError } from "./problem.ts";

const once = new Set([
  "authorization",
  "content-type",
  "host",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "origin",
  "proxy-authorization",
  "sec-websocket-key",
  "sec-websocket-version",
  "x-request-id",
  "x-wolfpack-csrf",
]);

/** `uri-host [ ":" port ]` (RFC 9110 §7.2), without the percent-encoding and the punctuation that no host of ours has. */
const HOST = /^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::([0-9]{1,5}))?$/i;
const PORT_MAX = 65_535;
/** Browsers send twenty. Of more than 2,000 Node drops the rest, whatever it says. */
const FIELDS_MAX = 200;

/** Throws the problem of a request that is not read further. */
export function checkHead({ httpVersion, url = "", headers, rawHeaders }: IncomingMessage): void {
  if (httpVersion !== "1.1" && httpVersion !== "1.0") throw malformed("HTTP/1.1 is spoken here.");
  // Not an absolute URL, whose host would count instead of Host; no fragment, which stays with its client.
  if (!url.startsWith("/") || url.includes("#")) throw malformed("The target has to be a path.");
  const { host } = headers;
  if (host === undefined) {
    if (httpVersion === "1.1") throw malformed("Host is missing.");
  } else if (Number(HOST.exec(host)?.[1] ?? 0) > PORT_MAX || !HOST.test(host))
    throw malformed("Host is not valid.");
  if (rawHeaders.length > 2 * FIELDS_MAX)
    throw new ApiError("headers-too-large", `There are more than ${FIELDS_MAX} header fields.`);
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? "";
    if (!once.has(name)) continue;
    if (seen.has(name)) throw malformed(`The field ${name} came twice.`);
    seen.add(name);
  }
}

const malformed = (detail: string) => new ApiError("malformed-http", detail);
