/** What a process that serves a port has not closed, as the kernel tells it. */
import { readFileSync } from "node:fs";

/** proc(5), `net/tcp`: the peer has closed its end, the process here has not. */
const CLOSE_WAIT = "08";

/** Connections at this end of a port of this machine that only this end keeps. */
export function abandonedAt(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["tcp", "tcp6"]
    .flatMap((table) => readFileSync(`/proc/net/${table}`, "latin1").split("\n").slice(1))
    .map((row) => row.trim().split(/\s+/))
    .filter(([, address, , state]) => address?.endsWith(local) && state === CLOSE_WAIT).length;
}
