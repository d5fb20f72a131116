/**
 * What outlives one process of the agent on its host: the number of its last boot, and the seat at Wolf's events. One
 * folder per wolf, for its owner alone.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Seat, takeSeat } from "./seat.ts";

export interface HostState {
  /** Higher than that of every agent of this wolf before on this host. */
  incarnation: number;
  /** Undefined without a folder: then nothing is known of other agents on this host. */
  seat: Seat | undefined;
}

export interface HostStateOptions {
  folder: string;
  wolfId: string;
  /** Milliseconds since 1970. */
  nowMs: number;
  /** Ends the waiting for the seat. */
  signal: AbortSignal;
}

/** The folder cannot be used; the message says why. */
export class StateFolderUnusable extends Error {
  override readonly name = "StateFolderUnusable";
}

/** Rejects with StateFolderUnusable. */
export async function openHostState(options: HostStateOptions): Promise<HostState> {
  const { folder, wolfId, nowMs, signal } = options;
  const own = path.join(folder, wolfId);
  try {
    mkdirSync(own, { recursive: true, mode: 0o700 });
    // The folder around may be everybody's, such as a volume of a pod.
    chmodSync(own, 0o700);
    const incarnation = nextIncarnation(path.join(own, "incarnation"), nowMs);
    return { incarnation, seat: await takeSeat(path.join(own, "events.sock"), signal) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateFolderUnusable(`${folder} cannot be used: ${why}`, { cause });
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
