/** Where a forwarder's origin is, and what it says when it cannot get there. */
import { RevdialError } from "../errors.ts";

export type ForwardTarget = { host: string; port: number } | { socketPath: string };

/** What `Host` says. */
export function authority(target: ForwardTarget): string {
  return "socketPath" in target ? "localhost" : `${target.host}:${target.port}`;
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
