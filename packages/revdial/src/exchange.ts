/** One exchange as the tunnel keeps it while it lives, and what a request or response must look like to start one. */

import type { IncomingBody } from "./body.ts";
import type { BodySource } from "./body-source.ts";
import { RevdialError } from "./errors.ts";
import type { OpenHead } from "./frame.ts";
import { travellingHeaders } from "./head.ts";
import type { Body, RequestHandler, TunnelRequest, TunnelResponse } from "./tunnel.ts";

const DEADLINE_MS_MAX = 0xffff_ffff;

/** One live exchange. */
export interface Exchange {
  body: IncomingBody;
  over: boolean;
  /** A caller that waits for the response head. */
  head?: { resolve(response: TunnelResponse): void; reject(error: RevdialError): void } | undefined;
  /** Our handler's request. */
  abort?: AbortController;
  /** What we send, while we send it. */
  source?: BodySource;
  /** Stops listening to the caller's signal. */
  release?: () => void;
  /** Why we end it ourselves, for the error's `cause`. */
  cause?: unknown;
}

export function isEmpty(body: Body | undefined): boolean {
  return body === undefined || (body instanceof Uint8Array && body.byteLength === 0);
}

/** Errors, not sent: DEADLINE, ARGUMENT. */
export function openHead(request: TunnelRequest): OpenHead {
  const { service, method, path, headers = [], deadlineMs, traceparent = "" } = request;
  if (Number.isNaN(deadlineMs)) throw new RevdialError("ARGUMENT", "deadlineMs is not a number");
  if (deadlineMs !== undefined && deadlineMs <= 0)
    throw new RevdialError("DEADLINE", "the deadline has passed");
  return {
    kind: 0,
    service,
    method,
    path,
    deadlineMs: deadlineMs === undefined ? 0 : Math.min(DEADLINE_MS_MAX, Math.ceil(deadlineMs)),
    traceparent,
    headers: travellingHeaders(headers),
  };
}

export const nothingServed: RequestHandler = () => {
  throw new RevdialError("SERVICE_UNKNOWN", "nothing is served here");
};

/** A reporter that throws must not take the process with it. */
export function guarded(report: (error: unknown) => void): (error: unknown) => void {
  return (error) => {
    try {
      report(error);
    } catch (fault) {
      warn(fault);
    }
  };
}

export function warn(error: unknown): void {
  process.emitWarning(
    error instanceof Error ? (error.stack ?? error.message) : String(error),
    "RevdialWarning",
  );
}
