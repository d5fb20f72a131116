/** What both ways to dial share: their options, and how they report that it failed. */
import type { IncomingMessage } from "node:http";
import type { Clock } from "./clock.ts";
import { readDetail } from "./detail.ts";
import { RevdialError } from "./errors.ts";
import type { Transport } from "./transport.ts";
import type { RequestHandler, TunnelOptions } from "./tunnel.ts";

const RETRY_AFTER_MS_MAX = 86_400_000;

/** Told by a way to dial how it went; `opened` before anything was read, so that nothing is lost. */
export interface Connecting {
  opened(transport: Transport): void;
  failed(error: RevdialError): void;
  /** Refused for good, though why is still being read: neither time nor the connection's end changes that. */
  refused(refusal: Promise<RevdialError>): void;
}

export interface DialOptions extends TunnelOptions {
  /**
   * Serves from the first moment: requests may come in the same bytes as the peer's HELLO, before the dialler is told. Default: none
   * until `serve` is called.
   */
  handler?: RequestHandler;
  /**
   * Sent with the upgrade request and over HTTP with every request, such as `authorization`. A function is asked anew for each
   * way that is tried, "auto" tries two, and for each dial of a set, for what may be used once only. The dial rejects with what it
   * throws, and waits for it as long as `signal` lets it: that is no part of `handshakeTimeoutMs`. Default: none.
   */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Gives up dialling; a tunnel that is up is not ended by it. Default: none. */
  signal?: AbortSignal;
  /** PEM certificates to trust instead of others. Default: those that Node trusts. */
  ca?: string;
  /** Accept any certificate. Default false. */
  insecure?: boolean;
  /**
   * Time for TCP, TLS, upgrade and HELLO together; the body of a refusal may take a second more. Default 10,000 ms, from 1 to
   * 2,147,483,647.
   */
  handshakeTimeoutMs?: number;
  /** Over what: "auto" tries the WebSocket first and HTTP when an intermediary is in its way. Default "websocket". */
  transport?: "auto" | "websocket" | "http";
  /**
   * Within `handshakeTimeoutMs`, what "auto" gives the WebSocket, HELLO and a round trip included. Default 5,000 ms, from 1 to
   * 2,147,483,647.
   */
  upgradeTimeoutMs?: number;
  /**
   * Told the header fields of the answer that opens the tunnel, before it is up: what a server says of itself. Of each way that is
   * tried and answered. Default: nobody.
   */
  onAnswer?: (headers: Readonly<Record<string, string | readonly string[] | undefined>>) => void;
  /** Told why "auto" goes on over HTTP. Default: nobody. */
  onFallback?: (error: RevdialError) => void;
  /** Mask with a zero key. Default: where SPEC §2.3 allows it, inside TLS and on loopback. */
  zeroMask?: boolean;
}

/** For one way that is tried: its headers are there. */
export type WayOptions = Omit<DialOptions, "headers"> & { headers?: Record<string, string> };

/** Node's error for several addresses tried has no message of its own. */
export function networkReason(cause: Error): string {
  if (cause instanceof AggregateError && cause.message === "") {
    return cause.errors.map((error) => (error instanceof Error ? error.message : String(error))).join("; ");
  }
  return cause.message;
}

export async function refusal(response: IncomingMessage, what: string, clock: Clock): Promise<RevdialError> {
  const status = response.statusCode ?? 0;
  const retryAfterMs = readRetryAfter(response);
  const detail = await readDetail(response, () => response.destroy(), clock);
  return new RevdialError("DIAL_REFUSED", `the ${what} was answered with status ${status}`, {
    status,
    detail,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** RFC 9110 §10.2.3: seconds, or a date, which is measured against the server's own `Date`. */
function readRetryAfter(response: IncomingMessage): number | undefined {
  const value = response.headers["retry-after"];
  if (value === undefined) return undefined;
  const ms = /^\d{1,10}$/.test(value)
    ? Number(value) * 1000
    : Date.parse(value) - Date.parse(response.headers.date ?? "");
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, RETRY_AFTER_MS_MAX) : undefined;
}
