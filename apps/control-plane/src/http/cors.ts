/** Pages of other origins: none, but those that the configuration names, with a bearer credential and never with a cookie. */
import type { RequestHandler } from "express";

const methods = "GET, HEAD, POST, PATCH, DELETE";
/** Not the one that goes with a cookie. */
const requestHeaders =
  "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id";
const responseHeaders =
  "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";
/** How long a browser need not ask again. */
const PREFLIGHT_SECONDS = 600;

export function cors(origins: readonly string[]): RequestHandler {
  return (request, response, next) => {
    if (origins.length === 0) return next();
    response.vary("Origin");
    const { origin } = request.headers;
    if (origin === undefined || !origins.includes(origin)) return next();
    response.set({
      "access-control-allow-origin": origin,
      "access-control-expose-headers": responseHeaders,
      "cross-origin-resource-policy": "cross-origin",
    });
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined)
      return next();
    response.set({
      "access-control-allow-methods": methods,
      "access-control-allow-headers": requestHeaders,
      "access-control-max-age": String(PREFLIGHT_SECONDS),
    });
    response.status(204).end();
  };
}
