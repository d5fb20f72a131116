/** One Wolf under one name on its host, whatever path leads to its socket and in whatever container. */
import { readlinkSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import type { Target } from "./target.ts";

/** As many as Linux follows (path_resolution(7)). */
const LINKS_MAX = 40;

/**
 * Of a Unix socket: the folder it lies in, which outlives Wolf's restarts and has one number in every mount namespace, and
 * its own name. Undefined while that folder is not there, or cannot be looked at: then no socket can be reached either.
 */
export function placeOf(wolf: Target): string | undefined {
  if (!("socketPath" in wolf)) {
    const loopback = /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(wolf.host);
    return `${loopback ? `localhost ${network()}` : wolf.host.toLowerCase()}:${wolf.port}`;
  }
  try {
    const file = linked(wolf.socketPath);
    const { dev, ino } = statSync(path.dirname(file), { bigint: true });
    return `${dev}:${ino}/${path.basename(file)}`;
  } catch {
    return undefined;
  }
}

/** Where a link leads, also before Wolf has made its socket there. */
function linked(file: string): string {
  let there = file;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    let to: string;
    try {
      to = readlinkSync(there);
    } catch {
      return there;
    }
    there = path.resolve(realpathSync(path.dirname(there)), to);
  }
  throw new Error(`${file} is a link through more than ${LINKS_MAX} links`);
}

/** Each network namespace has a loopback of its own. "" where there are none. */
function network(): string {
  try {
    return readlinkSync("/proc/self/ns/net");
  } catch {
    return "";
  }
}
