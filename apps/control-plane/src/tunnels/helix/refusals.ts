/** What a stand-in does not pass on: answered and logged as an agent of ours does on its host. */
import { randomUUID } from "node:crypto";
import { refusedHeader, type UpstreamError, upstreamStatus } from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse } from "revdial";
import type { Log } from "../../logger.ts";

export interface Refusal {
  status: number;
  code: string;
  detail: string;
  title?: string;
}

const LOGGED_PATH_CHARACTERS_MAX = 200;

export function refuse(log: Log, request: IncomingRequest, refusal: Refusal): OutgoingResponse {
  const { status, code, detail, title = "Refused" } = refusal;
  const requestId = requestIdOf(request);
  const { service, method, path } = request;
  const about = { request_id: requestId, service, method, path: path.slice(0, LOGGED_PATH_CHARACTERS_MAX) };
  // Callers give up: nothing was refused, and nobody reads the answer.
  if (code === "cancelled") log.debug(about, "the caller gave up");
  else log.warn({ ...about, code, detail }, "refused");
  const problem = { type: `/problems/${code}`, title, status, detail, instance: requestId, code };
  return {
    status,
    headers: [
      ["content-type", "application/problem+json"],
      ["x-request-id", requestId],
      [refusedHeader, code],
    ],
    body: Buffer.from(JSON.stringify(problem)),
  };
}

export function upstreamRefusal({ code, message }: UpstreamError): Refusal {
  return { status: upstreamStatus[code], code, detail: `${message}.` };
}

export const serviceUnknown: Refusal = {
  status: 404,
  code: "service-unknown",
  detail: "This agent does not serve that.",
};

export function headerOf({ headers }: IncomingRequest, name: string): string | undefined {
  return headers.find(([field]) => field.toLowerCase() === name)?.[1];
}

function requestIdOf(request: IncomingRequest): string {
  const given = headerOf(request, "x-request-id");
  return given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
}
