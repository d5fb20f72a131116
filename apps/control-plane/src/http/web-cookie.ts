/** The dashboard's cookie, and what keeps pages of other origins from using it. */
import type { IncomingHttpHeaders } from "node:http";
import { CSRF_HEADER, WEB_SESSION_COOKIE } from "@wolfpack/api-contract";
import { ApiError } from "./problem.ts";

/** `__Host-`: browsers take it only over TLS (or from localhost), for this host alone and the whole of it. */
const attributes = "Path=/; HttpOnly; Secure; SameSite=Strict";

export const cookieOf = (token: string, maxAgeSeconds: number): string =>
  `${WEB_SESSION_COOKIE}=${token}; Max-Age=${maxAgeSeconds}; ${attributes}`;

/** The cookie's value; none when there are two, of which one is not ours. */
export function tokenOf({ cookie = "" }: IncomingHttpHeaders): string | undefined {
  const values = cookie.split(";").flatMap((pair) => {
    const [name = "", ...value] = pair.split("=");
    return name.trim() === WEB_SESSION_COOKIE ? [value.join("=").trim()] : [];
  });
  return values.length === 1 ? values[0] : undefined;
}

/** A cookie comes along with whatever page makes a browser send the request: only our own may. */
export function refuseForeignPages(method: string, headers: IncomingHttpHeaders, host: string): void {
  if (!isOwnOrigin(headers, host)) throw refused("The call came from another origin's page.");
  const changes = method !== "GET" && method !== "HEAD";
  if (changes && headers[CSRF_HEADER.toLowerCase()] !== "1")
    throw refused(`Send ${CSRF_HEADER}: 1 with the cookie.`);
}

/** No Origin is no foreign one: browsers leave it out of a page's reads of its own origin. */
function isOwnOrigin({ origin }: IncomingHttpHeaders, host: string): boolean {
  if (origin === undefined) return true;
  const url = URL.parse(origin);
  return url !== null && /^https?:$/.test(url.protocol) && url.host === host.toLowerCase();
}

const refused = (detail: string) => new ApiError("csrf-refused", detail).asDenied();
