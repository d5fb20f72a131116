/** Conditional requests (RFC 9110 section 13): an ETag is a hash of the representation, so it needs no bookkeeping. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { hasEtag, takesIfMatch } from "@wolfpack/api-contract";
import type { Step } from "./api.ts";
import { ApiError } from "./problem.ts";

export function etagOf(body: unknown): string {
  return `"${createHash("sha256").update(JSON.stringify(body)).digest("base64url").slice(0, 27)}"`;
}

/** GETs of one object: 304 without a body for whoever has this representation already. What a PATCH made of it has an ETag as well. */
export const conditionalReads: Step = async ({ operation, request }, next) => {
  const reply = await next();
  const reads = hasEtag(operation);
  if (reply.status !== 200 || !(reads || takesIfMatch(operation))) return reply;
  const etag = etagOf(reply.body);
  const headers = { ...reply.headers, etag };
  const asked = request.headers["if-none-match"];
  // Weak comparison (section 13.1.2).
  if (reads && asked !== undefined && lists(asked.replaceAll("W/", ""), etag))
    return { ...reply, status: 304, body: undefined, headers };
  return { ...reply, headers };
};

/**
 * For PATCH, with the object as a GET would show it: throws `precondition-failed` unless it is what the caller has seen. Whoever
 * changes it must then see to it that nobody else did meanwhile. Strong comparison (section 13.1.1).
 */
export function requireIfMatch(headers: IncomingHttpHeaders, body: unknown): void {
  const asked = headers["if-match"];
  if (asked !== undefined && !lists(asked, etagOf(body)))
    throw new ApiError("precondition-failed", "The object has changed: read it again.", {
      headers: { etag: etagOf(body) },
    });
}

/** Ours have no commas in them. */
function lists(field: string, etag: string): boolean {
  return field.trim() === "*" || field.split(",").some((tag) => tag.trim() === etag);
}
