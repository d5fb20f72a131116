/**
 * What outlives one process of the agent on its host: the number of its last boot, in a folder per name of a wolf, and the
 * seat at Wolf's events, in a folder per Wolf; both for their owner alone.
 */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./logger.ts";
import { OtherWolfId, SEAT_FOLDER_BYTES_MAX, type Seat, takeSeat } from "./seat.ts";
import type { Target } from "./target.ts";
import { placeOf } from "./wolf-place.ts";

export interface HostState {
  /** Of this wolf, in the state directory. Undefined without one: then nothing can be kept. */
  folder?: string;
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
  /** Its disk is full: it may be used later, without another setting. */
  get passes(): boolean {
    return isFull(this.cause);
  }
}

const LOOK_AGAIN_MS = 1000;
const PLACE_LOOK_MS = 60_000;

/** Rejects with StateFolderUnusable, or with OtherWolfId when an agent with another name is at this Wolf. */
export async function openHostState(options: HostStateOptions): Promise<HostState> {
  const { folder, wolfId, wolf } = options;
  try {
    const tooLong = Buffer.byteLength(seatFolder(folder, "")) - SEAT_FOLDER_BYTES_MAX;
    if (tooLong > 0) throw new Error(`its path is ${tooLong} bytes too long for the Unix sockets in it`);
    const own = makeOwn(path.join(folder, wolfId));
    const incarnation = nextIncarnation(path.join(own, "incarnation"), options);
    const place = placeOf(wolf);
    const seat = place === undefined ? takeSeatLater(options) : await takeSeatAt(place, options);
    return { folder: own, incarnation, seat };
  } catch (cause) {
    if (cause instanceof OtherWolfId) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateFolderUnusable(`${folder} cannot be used: ${why}`, { cause });
  }
}

/** The folder of this wolf alone. Throws StateFolderUnusable. */
export function ownFolder(folder: string, wolfId: string): string {
  try {
    return makeOwn(path.join(folder, wolfId));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateFolderUnusable(`${folder} cannot be used: ${why}`, { cause });
  }
}

/** Wolf's folder is not there yet, and hence no socket: the seat is asked for once it is. */
function takeSeatLater(options: HostStateOptions): Seat {
  const { wolf, clock, log, signal } = options;
  const left = new AbortController();
  const over = AbortSignal.any([signal, left.signal]);
  const { promise: taken, resolve } = Promise.withResolvers<boolean>();
  let seat: Seat | undefined;
  let failures = 0;
  const look = async () => {
    await pause(LOOK_AGAIN_MS, clock, over);
    const place = over.aborted ? undefined : placeOf(wolf);
    if (place === undefined) return;
    try {
      seat = await takeSeatAt(place, options);
    } catch (err) {
      failures += 1;
      if (failures === 1) log.error({ err }, "stays away from Wolf's events, and tries again every second");
    }
  };
  const wait = async () => {
    while (seat === undefined && !over.aborted) await look();
    if (over.aborted) return seat?.release();
    if (seat !== undefined) resolve(await seat.taken);
  };
  log.warn({ wolf }, "the folder of Wolf's socket is not there: waits for it");
  void wait();
  return {
    taken,
    get wanted() {
      return seat?.wanted ?? false;
    },
    release() {
      left.abort();
      seat?.release();
    },
  };
}

async function takeSeatAt(place: string, options: HostStateOptions): Promise<Seat> {
  const { folder, wolfId, wolf, clock, log, signal } = options;
  const seats = seatFolder(folder, place);
  makeOwn(seats);
  const seat = await takeSeat({ folder: seats, wolfId, clock, log, signal });
  void watchPlace(place, { wolf, clock, log, signal });
  return seat;
}

async function watchPlace(
  place: string,
  { wolf, clock, log, signal }: Pick<HostStateOptions, "wolf" | "clock" | "log" | "signal">,
): Promise<void> {
  while (!signal.aborted) {
    await pause(PLACE_LOOK_MS, clock, signal);
    const found = signal.aborted ? undefined : placeOf(wolf);
    if (found === undefined || found === place) continue;
    log.error(
      "the folder of Wolf's socket was made anew: end this agent before another one of this host starts, which would not see it at Wolf's events",
    );
    return;
  }
}

// No wolf's name begins with a dot.
const seatFolder = (folder: string, place: string) =>
  path.join(folder, `.seat-${createHash("sha256").update(place).digest("hex").slice(0, 10)}`);

function makeOwn(folder: string): string {
  makeFolder(folder);
  // The folder around may be everybody's, such as a volume of a pod.
  chmodSync(folder, 0o700);
  return folder;
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
function nextIncarnation(file: string, { nowMs, log }: Pick<HostStateOptions, "nowMs" | "log">): number {
  let before = 0;
  try {
    const text = readFileSync(file, "utf8").trim();
    if (/^\d{1,15}$/.test(text)) before = Number(text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const incarnation = Math.max(nowMs, before + 1);
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, `${incarnation}\n`, { mode: 0o600 });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    if (!isFull(error)) throw error;
    // Who else would tell the fleet of the full disk? The next boot's time is a higher number too.
    log.warn({ file }, "the disk is full: the number of this boot is not kept");
  }
  return incarnation;
}

const isFull = (error: unknown) =>
  ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException)?.code ?? "");
