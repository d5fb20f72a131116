/** One id per request, in the answer's `x-request-id`, in problems as `instance`, and in every log line. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

/** What a caller may choose: nothing that could forge a log line or a header. */
const TAME = /^[A-Za-z0-9._-]{1,64}$/;

/** The caller's own id when it is tame, else a fresh one; set on the answer. */
export function giveRequestId(request: IncomingMessage, response: ServerResponse): string {
  const asked = request.headers["x-request-id"];
  const id = typeof asked === "string" && TAME.test(asked) ? asked : randomUUID();
  response.setHeader("x-request-id", id);
  return id;
}

export function requestIdOf(response: ServerResponse): string {
  return String(response.getHeader("x-request-id") ?? "");
}
