/** Requests that may be made a second time through another tunnel. */
import { RevdialError, type TunnelRequest } from "revdial";

/** All of it is still at hand, and somebody still waits for it. */
export function isRepeatable({ body, signal }: TunnelRequest): boolean {
  return (body === undefined || body instanceof Uint8Array) && signal?.aborted !== true;
}

/** Nothing of it has left. */
export function wasNotSent(error: unknown): error is RevdialError {
  return error instanceof RevdialError && error.sent === "not-sent";
}
