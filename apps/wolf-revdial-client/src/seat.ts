/**
 * The seat at Wolf's events, one per wolf and host: of two subscribers the earlier one that leaves can crash Wolf, so a new
 * agent subscribes only after the old one has left. It is a Unix socket: who listens has the seat, who waits is connected,
 * and the kernel gives it free when its holder dies, whatever the way.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, connect as netConnect, type Server, type Socket } from "node:net";

export interface Seat {
  /** Resolves when it is ours. Pending for ever when we gave up before. */
  readonly taken: Promise<void>;
  /** A newer agent of this host waits for it. */
  readonly wanted: boolean;
  /** Leaves it to the next. */
  release(): void;
}

/** A socket file that is neither taken nor free after so many tries belongs to something else. */
const TRIES_MAX = 20;

/** Resolves when we have it or wait for it. Rejects when the path can be neither. */
export async function takeSeat(socketPath: string, signal: AbortSignal): Promise<Seat> {
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    waiting.add(socket);
    socket
      .on("error", () => undefined)
      .on("close", () => waiting.delete(socket))
      .resume();
  });
  const { promise: taken, resolve } = Promise.withResolvers<void>();
  let holder = await sitOrQueue(server, socketPath);
  let left = false;
  const queue = async () => {
    while (holder !== undefined) {
      const ended = holder.destroyed ? Promise.resolve() : once(holder, "close");
      await ended;
      if (left) return;
      holder = await sitOrQueue(server, socketPath);
    }
    if (left) return void server.close();
    server.unref();
    resolve();
  };
  // Who cannot get the seat any more goes without events rather than beside another.
  const queued = queue().catch(() => undefined);
  const release = () => {
    left = true;
    // First the file, then the word to those who wait: they must not find it.
    if (server.listening) server.close();
    for (const socket of waiting) socket.destroy();
    holder?.destroy();
  };
  signal.addEventListener("abort", () => holder?.destroy(), { once: true });
  if (holder === undefined) await queued;
  return {
    taken,
    get wanted() {
      return waiting.size > 0;
    },
    release,
  };
}

/** Undefined: we have it. Else the connection to who has it. */
async function sitOrQueue(server: Server, socketPath: string): Promise<Socket | undefined> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    if (await listens(server, socketPath)) return undefined;
    const holder = await reach(socketPath);
    if (holder !== undefined) return holder;
    // Its holder died without a word.
    rmSync(socketPath, { force: true });
  }
  throw new Error(`${socketPath} is neither free nor held`);
}

async function listens(server: Server, socketPath: string): Promise<boolean> {
  try {
    server.listen(socketPath);
    await once(server, "listening");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
}

async function reach(socketPath: string): Promise<Socket | undefined> {
  const socket = netConnect(socketPath);
  try {
    await once(socket, "connect");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ECONNREFUSED" || code === "ENOENT") return undefined;
    throw error;
  }
  return socket
    .on("error", () => undefined)
    .resume()
    .unref();
}
