/**
 * A data connection that an agent of Helix brings because it was asked to: which dial it is for, and whether it may. Decided from
 * what this process knows, without the database: there may be one for every request.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { HelixExchange } from "revdial/helix";
import { ApiError } from "../../http/problem.ts";
import { tokenOf } from "../../http/web-cookie.ts";
import { bearerOf } from "../../identity/api-key.ts";
import { TUNNEL_PATH } from "../admission.ts";
import { checkWebSocket } from "../handshake.ts";

/** Agents dial either, by their version: the shorter one literally, or the one of the API that they make of it. */
const PATHS: ReadonlySet<string> = new Set(["/revdial", TUNNEL_PATH]);
const DIALER = "revdial.dialer";
const REQUEST = "revdial.req";

export interface PickUp {
  dialer: string;
  requestId: string | undefined;
}

/** In the words of Helix, which its agents' people know. */
export interface HelixRefusal {
  status: number;
  code: string;
  message: string;
  /** The dialer whose credential was shown. */
  of?: string;
}

export const unknownDialer: HelixRefusal = {
  status: 500,
  code: "INTERNAL_SERVER_ERROR",
  message: "unknown dialer",
};
const givenUp: HelixRefusal = { status: 410, code: "GONE", message: "the dial was given up" };

/** The one that it names. */
export const dialerOf = (request: IncomingMessage): string | undefined =>
  urlOf(request)?.searchParams.get(DIALER) ?? undefined;

export function isPickUp(request: IncomingMessage): boolean {
  if (request.headers["sec-websocket-protocol"] !== undefined) return false;
  const url = urlOf(request);
  return url !== undefined && PATHS.has(url.pathname) && Boolean(url.searchParams.get(DIALER));
}

/** The dial it is for, or a refusal; throws the problem that refuses it otherwise. */
export function decidePickUp(
  request: IncomingMessage,
  exchange: Pick<HelixExchange, "dialer" | "awaits">,
): PickUp | HelixRefusal {
  if (request.headers.origin !== undefined || tokenOf(request.headers) !== undefined)
    throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
  checkWebSocket(request);
  const { dialer, requestId } = readQuery(urlOf(request)?.searchParams ?? new URLSearchParams());
  const shown = bearerOf(request.headers.authorization);
  if (shown === undefined) throw new ApiError("unauthenticated", "Send the credential of the agent.");
  const known = exchange.dialer(dialer);
  if (known === undefined) return unknownDialer;
  if (!isSame(credentialOf(shown), known.credential))
    throw new ApiError("forbidden", "This connection was asked of somebody else.");
  return exchange.awaits(dialer, requestId) ? { dialer, requestId } : { ...givenUp, of: dialer };
}

/** What is kept of a token, to compare with. */
export function credentialOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function isSame(shown: string, known: string): boolean {
  const [left, right] = [Buffer.from(shown), Buffer.from(known)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function readQuery(query: URLSearchParams): PickUp {
  const wrong = [...query.keys()].some((name, at, names) => {
    return (name !== DIALER && name !== REQUEST) || names.indexOf(name) !== at;
  });
  if (wrong)
    throw new ApiError("invalid-request", `The query parameters are ${DIALER} and ${REQUEST}.`, {
      extras: { errors: [{ path: "query", message: "unknown or repeated parameter" }] },
    });
  return { dialer: query.get(DIALER) ?? "", requestId: query.get(REQUEST) ?? undefined };
}

function urlOf({ url = "" }: IncomingMessage): URL | undefined {
  return URL.parse(url, "http://control-plane") ?? undefined;
}
