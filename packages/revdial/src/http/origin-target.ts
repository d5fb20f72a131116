/** Where a forwarder's origin is, and what it says when it cannot get there. */
import { connect, isIPv6 } from "node:net";
import type { Duplex } from "node:stream";
import { argument } from "../checks.ts";
import { RevdialError } from "../errors.ts";

/** Where there is no address to connect to: connections that the program makes itself. */
export interface ForwardConnector {
  /** What `Host` says. */
  authority: string;
  /**
   * A new connection. It emits "connect" once it can be used, on a later turn, and everything else as a `net.Socket` does. Never
   * throws: what goes wrong is an error of the connection. How long it may take is for it to say.
   */
  connect(): ForwardConnection;
}

/** As far as they are there, these mean what they do on a `net.Socket`. */
export type ForwardConnection = Duplex & {
  readonly pending?: boolean;
  readonly connecting?: boolean;
  ref?(): unknown;
  unref?(): unknown;
};

export type ForwardTarget = { host: string; port: number } | { socketPath: string } | ForwardConnector;

/** Error: ARGUMENT. What is no target now never will be. */
export function checkTarget(target: unknown): void {
  if (typeof target !== "object" || target === null) throw argument("a forwarder needs a target");
  const { socketPath, host, port, connect: connector, authority: name } = target as Record<string, unknown>;
  const named = (value: unknown) => typeof value === "string" && value !== "" && !value.includes("\0");
  if (connector !== undefined) {
    if (typeof connector !== "function") throw argument("the target's connect is no function");
    // It becomes a line of a head.
    if (typeof name !== "string" || !/^[!-~]{1,255}$/.test(name))
      throw argument("the target's authority is no text of 1 to 255 visible characters");
  } else if (socketPath !== undefined) {
    if (!named(socketPath)) throw argument("the target's socketPath is no path");
  } else if (!named(host)) throw argument("the target has neither a host nor a socketPath");
  else if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535)
    throw argument("the target's port is no whole number from 1 to 65,535");
}

/** What `Host` says (RFC 9110 §7.2): an IPv6 address in brackets. */
export function authority(target: ForwardTarget): string {
  if ("connect" in target) return target.authority;
  if ("socketPath" in target) return "localhost";
  const { host, port } = target;
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** A new connection. `halfOpen`: each direction ends by itself, where the target can do that. */
export function connectTo(target: ForwardTarget, halfOpen: boolean): ForwardConnection {
  if ("connect" in target) return target.connect();
  const where =
    "socketPath" in target ? { path: target.socketPath } : { host: target.host, port: target.port };
  return connect({ ...where, noDelay: true, allowHalfOpen: halfOpen });
}

/** Nothing of the request has left this host: it may be sent again. */
export function unreachable(cause: unknown): RevdialError {
  const why = (cause as NodeJS.ErrnoException | undefined)?.code ?? "no answer";
  return new RevdialError("REFUSED", `the target cannot be reached (${why})`, { cause });
}
