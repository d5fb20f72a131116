/**
 * What happens before the process has no file descriptor left: newcomers are refused, with a line in the log, and whoever has a
 * connection keeps it. Node alone takes them and drops them without a word, and then a file or the database cannot be opened.
 */
import { readFileSync } from "node:fs";
import type { Server } from "node:net";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";

/** Kept for the pool and listeners of the database, logs, files of the dashboard, and what Node itself has open. */
export const DESCRIPTORS_KEPT = 96;
/** However few there are. */
const CONNECTIONS_MIN = 16;
/** Between two lines about the same. */
const SAID_EVERY_MS = 10_000;

/** Of this process, from proc(5) `limits`; undefined where there is none, or no such file. */
export function descriptorsMax(read = () => readFileSync("/proc/self/limits", "latin1")): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)\s/m.exec(read()) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

export function limitConnections(
  server: Server,
  {
    clock,
    log,
    descriptors = descriptorsMax(),
  }: { clock: Clock; log: Log; descriptors?: number | undefined },
): void {
  if (descriptors === undefined) return;
  const connectionsMax = Math.max(CONNECTIONS_MIN, descriptors - DESCRIPTORS_KEPT);
  server.maxConnections = connectionsMax;
  let refused = 0;
  let quiet = false;
  function say(): void {
    log.error(
      { refused, connections_max: connectionsMax, descriptors_max: descriptors },
      "connections refused: no file descriptor is left for them; raise the limit of open files",
    );
    refused = 0;
    quiet = true;
    clock.setTimer(SAID_EVERY_MS, () => {
      quiet = false;
      if (refused > 0) say();
    });
  }
  server.on("drop", () => {
    refused += 1;
    if (!quiet) say();
  });
}
