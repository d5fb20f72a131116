/**
 * What outlives one process of the agent on its host: the number of its last boot, in a folder per name of a wolf, and the
 * seat at Wolf's events, in a folder per Wolf; both for their owner alone.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { Clock } from "./clock.ts";
import type { Log } from "./logger.ts";
import { OtherWolfId, SEAT_FOLDER_BYTES_MAX, type Seat, takeSeat } from "./seat.ts";
import type { Target } from "./target.ts";

export interface HostState {
  /** Higher than that of every agent of this wolf before on this host. */
  incarnation: number;
  /** Undefined without a folder: then nothing is known of other agents on this host. */
  seat: Seat | undefined;
}

export interface HostStateOptions {
  folder: string;
  wolfId: string;
  /** The Wolf whose events they are, by whatever name. */
  wolf: Target;
  clock: Clock;
  log: Log;
  /** Milliseconds since 1970. */
  nowMs: number;
  /** Ends the waiting for the seat. */
  signal: AbortSignal;
}

/** The folder cannot be used; the message says why. */
export class StateFolderUnusable extends Error {
  override readonly name = "StateFolderUnusable";
}

/** Rejects with StateFolderUnusable, or with OtherWolfId when an agent with another name is at this Wolf. */
export async function openHostState(options: HostStateOptions): Promise<HostState> {
  const { folder, wolfId, wolf, nowMs, clock, log, signal } = options;
  const own = path.join(folder, wolfId);
  // No wolf's name begins with a dot.
  const seats = path.join(
    folder,
    `.seat-${createHash("sha256").update(placeOf(wolf)).digest("hex").slice(0, 10)}`,
  );
  try {
    const tooLong = Buffer.byteLength(seats) - SEAT_FOLDER_BYTES_MAX;
    if (tooLong > 0) throw new Error(`its path is ${tooLong} bytes too long for the Unix sockets in it`);
    for (const made of [own, seats]) {
      makeFolder(made);
      // The folder around may be everybody's, such as a volume of a pod.
      chmodSync(made, 0o700);
    }
    const incarnation = nextIncarnation(path.join(own, "incarnation"), nowMs);
    return { incarnation, seat: await takeSeat({ folder: seats, wolfId, clock, log, signal }) };
  } catch (cause) {
    if (cause instanceof OtherWolfId) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateFolderUnusable(`${folder} cannot be used: ${why}`, { cause });
  }
}

/** One Wolf under one name, also before its socket is there, and through links such as /var/run. */
function placeOf(wolf: Target): string {
  if (!("socketPath" in wolf)) {
    const loopback = /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(wolf.host);
    return `${loopback ? "localhost" : wolf.host.toLowerCase()}:${wolf.port}`;
  }
  let there = path.resolve(wolf.socketPath);
  let rest = "";
  while (!existsSync(there) && there !== "/") {
    rest = path.join(path.basename(there), rest);
    there = path.dirname(there);
  }
  return path.join(realpathSync(there), rest);
}

/** mkdirSync's own way through missing parents never ends below /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(path.dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // Another agent of this host was as quick.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** The time, unless the clock was set back: then one more than before. A file that was cut by a crash counts as none. */
function nextIncarnation(file: string, nowMs: number): number {
  let before = 0;
  try {
    const text = readFileSync(file, "utf8").trim();
    if (/^\d{1,15}$/.test(text)) before = Number(text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const incarnation = Math.max(nowMs, before + 1);
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${incarnation}\n`, { mode: 0o600 });
  renameSync(draft, file);
  return incarnation;
}
