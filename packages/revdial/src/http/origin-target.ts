/** Where a forwarder's origin is, and what it says when it cannot get there. */
import { isIPv6 } from "node:net";
import { argument } from "../checks.ts";
import { RevdialError } from "../errors.ts";

export type ForwardTarget = { host: string; port: number } | { socketPath: string };

/** Error: ARGUMENT. What is no target now never will be. */
export function checkTarget(target: unknown): void {
  if (typeof target !== "object" || target === null) throw argument("a forwarder needs a target");
  const { socketPath, host, port } = target as Record<string, unknown>;
  const named = (value: unknown) => typeof value === "string" && value !== "" && !value.includes("\0");
  if (socketPath !== undefined) {
    if (!named(socketPath)) throw argument("the target's socketPath is no path");
  } else if (!named(host)) throw argument("the target has neither a host nor a socketPath");
  else if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535)
    throw argument("the target's port is no whole number from 1 to 65,535");
}

/** What `Host` says (RFC 9110 §7.2): an IPv6 address in brackets. */
export function authority(target: ForwardTarget): string {
  if ("socketPath" in target) return "localhost";
  const { host, port } = target;
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** The target as `net.connect` takes it. */
export function pathOrPort(target: ForwardTarget): { path: string } | { host: string; port: number } {
  return "socketPath" in target ? { path: target.socketPath } : { host: target.host, port: target.port };
}

/** Nothing of the request has left this host: it may be sent again. */
export function unreachable(cause: unknown): RevdialError {
  const why = (cause as NodeJS.ErrnoException | undefined)?.code ?? "no answer";
  return new RevdialError("REFUSED", `the target cannot be reached (${why})`, { cause });
}
