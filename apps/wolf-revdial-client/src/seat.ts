/**
 * The seat at Wolf's events, one per Wolf and host: of two subscribers the earlier one that leaves can crash Wolf, so a new
 * agent subscribes only after the old one has left. Who wants it is a Unix socket that listens under a number in a folder;
 * the lowest that lives has the seat. Why there is never a second one: ADR 0010.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { createServer, connect as netConnect, type Socket } from "node:net";
import path from "node:path";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./logger.ts";

export interface SeatOptions {
  /** Exists, and is that of one Wolf. At most SEAT_FOLDER_BYTES_MAX long. */
  folder: string;
  /** Those who want the seat of one Wolf have one name. */
  wolfId: string;
  clock: Clock;
  log: Log;
  /** Ends the waiting. */
  signal: AbortSignal;
}

export interface Seat {
  /** Resolves when it is ours, to whether somebody had it before. Pending for ever when we gave up before. */
  readonly taken: Promise<boolean>;
  /** A newer agent of this host waits for it. */
  readonly wanted: boolean;
  /** Leaves it to the next. */
  release(): void;
}

/** An agent with another name is at this Wolf already. */
export class OtherWolfId extends Error {
  override readonly name = "OtherWolfId";
  readonly wolfId: string;

  constructor(wolfId: string) {
    super(`an agent of this host serves the same Wolf as ${wolfId}`);
    this.wolfId = wolfId;
  }
}

/** Linux's sun_path, less its final zero byte and the longest name below. */
export const SEAT_FOLDER_BYTES_MAX = 107 - "/999999999-01234567".length;
/** Rivals that arrive in the same moment send each other back; one of them always gets through. */
const TRIES_MAX = 100;
/** Those before us say who they are, unless they hang. */
const HELLO_MS = 2000;
const LOOK_AGAIN_MS = 1000;
/** The kernel closes the sockets of a process that died one after the other; that to Wolf may be the last. */
const AFTERMATH_MS = 1000;
const FILE_LOOK_MS = 60_000;

/** Resolves when we are in the queue. Rejects with an OtherWolfId, or because the folder cannot be used. */
export async function takeSeat(options: SeatOptions): Promise<Seat> {
  const { folder, wolfId, clock, log, signal } = options;
  const left = new AbortController();
  const over = AbortSignal.any([signal, left.signal]);
  const place = await enter(folder, wolfId);
  const release = () => {
    left.abort();
    place.leave();
  };
  const before = contenders(folder)
    .filter((name) => isBefore(name, place.name))
    .map((name) => new Predecessor(path.join(folder, name), { clock, log, signal: over }));
  await Promise.race([Promise.all(before.map(({ met }) => met)), pause(HELLO_MS, clock, over)]);
  const other = before.map(({ wolfId: id }) => id).find((id) => id !== undefined && id !== wolfId);
  if (other !== undefined) {
    release();
    throw new OtherWolfId(other);
  }
  if (before.some(({ alive }) => alive)) log.info("waits for Wolf's events: an older agent has them");
  const { promise: taken, resolve } = Promise.withResolvers<boolean>();
  void Promise.all(before.map(({ gone }) => gone)).then(async (ends) => {
    if (ends.includes("died")) await pause(AFTERMATH_MS, clock, over);
    if (!over.aborted) resolve(before.length > 0);
  });
  void watchFile(path.join(folder, place.name), clock, log, over);
  return {
    taken,
    get wanted() {
      return place.waiting.size > 0;
    },
    release,
  };
}

/** Ours in the queue. */
interface Place {
  name: string;
  /** Those behind us. */
  waiting: ReadonlySet<Socket>;
  leave(): void;
}

/** Publishes a socket that listens already, under a number above all others, so that who comes later sees it. */
async function enter(folder: string, wolfId: string): Promise<Place> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const id = randomBytes(4).toString("hex");
    const draft = path.join(folder, `new-${id}`);
    const waiting = new Set<Socket>();
    const server = createServer((socket) => {
      waiting.add(socket);
      socket
        .on("error", () => undefined)
        .on("close", () => waiting.delete(socket))
        .resume()
        .unref()
        .write(`${wolfId}\n`);
    });
    server.listen(draft);
    await once(server, "listening");
    // Such as too many open files: who was not taken in looks again.
    server.on("error", () => undefined).unref();
    const name = `${1 + Math.max(0, ...contenders(folder).map(numberOf))}-${id}`;
    const leave = () => {
      // First the name, then the word to those who wait: they must not find it.
      rmSync(path.join(folder, name), { force: true });
      server.close();
      for (const socket of waiting) socket.destroy();
    };
    renameSync(draft, path.join(folder, name));
    // A rival with a higher name may have looked before we were there, and then does not wait for us.
    if (!contenders(folder).some((other) => isBefore(name, other))) return { name, waiting, leave };
    leave();
  }
  throw new Error(`no place in the queue after ${TRIES_MAX} tries`);
}

const contenders = (folder: string) =>
  readdirSync(folder).filter((name) => /^\d{1,9}-[0-9a-f]{8}$/.test(name));
const numberOf = (name: string) => Number(name.split("-")[0]);
const isBefore = (a: string, b: string) =>
  numberOf(a) < numberOf(b) || (numberOf(a) === numberOf(b) && a < b);

type Reached = Socket | "left" | "died" | "unknown";

/** One whose turn is before ours. */
class Predecessor {
  /** Who it says it is. */
  wolfId: string | undefined;
  /** It was reached. */
  alive = false;
  /** Resolves when it has said who it is, or is gone. */
  readonly met: Promise<void>;
  /** Resolves when it is gone for good: `died` when it left its name behind. */
  readonly gone: Promise<"left" | "died" | "unknown">;

  private readonly file: string;
  private readonly options: Pick<SeatOptions, "clock" | "log" | "signal">;

  constructor(file: string, options: Pick<SeatOptions, "clock" | "log" | "signal">) {
    this.file = file;
    this.options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.met = promise;
    this.gone = this.follow(resolve).finally(resolve);
  }

  private async follow(met: () => void): Promise<"left" | "died" | "unknown"> {
    const { clock, log, signal } = this.options;
    for (let looks = 0; !signal.aborted; looks += 1) {
      const reached = await reach(this.file, (code) => {
        if (looks === 0) log.warn({ code }, "an older agent's place cannot be looked at: waits");
      });
      if (reached === "died") rmSync(this.file, { force: true });
      if (reached === "died" || reached === "left") return reached;
      if (reached !== "unknown") await this.listen(reached, met);
      // The end of a connection alone does not say that who was there is gone.
      if (reached === "unknown" || looks > 0) await pause(LOOK_AGAIN_MS, clock, signal);
    }
    return "unknown";
  }

  /** Until the connection ends. */
  private async listen(socket: Socket, met: () => void): Promise<void> {
    this.alive = true;
    let text = "";
    socket.setEncoding("utf8").on("data", (more: string) => {
      if (this.wolfId !== undefined) return;
      text = (text + more).slice(0, 256);
      if (!text.includes("\n")) return;
      this.wolfId = text.split("\n")[0];
      met();
    });
    const { signal } = this.options;
    const leave = () => socket.destroy();
    signal.addEventListener("abort", leave, { once: true });
    // events.once would reject with the connection's error.
    if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
    signal.removeEventListener("abort", leave);
  }
}

/** A socket whose process is gone refuses for ever: no other can come up behind the same file. */
async function reach(file: string, onUnknown: (code: string | undefined) => void): Promise<Reached> {
  const socket = netConnect(file).unref();
  try {
    await once(socket, "connect");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return "left";
    if (code === "ECONNREFUSED") return "died";
    onUnknown(code);
    return "unknown";
  }
  return socket.on("error", () => undefined);
}

async function watchFile(file: string, clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(FILE_LOOK_MS, clock, signal);
    if (signal.aborted || existsSync(file)) continue;
    log.error(
      "the state directory was emptied: end this agent before another one of this host starts, which would not see it at Wolf's events",
    );
    return;
  }
}
