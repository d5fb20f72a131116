/**
 * Where the server listens. Node takes one connection from a listening socket in each turn of its event loop, however many wait: while a
 * fleet comes back and turns are long, most of what an agent or a user waits for is that, unseen by us. So several sockets listen on the
 * one port, and the system spreads what comes.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, createServer, type Socket, type Server as SocketServer } from "node:net";
import { platform } from "node:os";

export interface Listening {
  port: number;
  /** No connection more; resolves when the last has ended. */
  close(): Promise<void>;
  /** Ends by force what is left, also what has become something else than HTTP. */
  cut(): void;
}

/** Connections that the system takes before we look; its own limit may be less. */
const BACKLOG = 4096;
const SOCKETS = 32;

export interface ListenOptions {
  /** 0: any. */
  port: number;
  host: string;
  /** Default 32, and 1 where the system spreads nothing. */
  sockets?: number;
}

/** `code` is Node's, such as EADDRINUSE. */
export class ListenError extends Error {
  readonly code: string | undefined;
  constructor(cause: NodeJS.ErrnoException) {
    super(cause.message, { cause });
    this.code = cause.code;
  }
}

/** Rejects with a ListenError. */
export const listenOn = (server: Server, options: ListenOptions): Promise<Listening> =>
  listenAll(server, options).catch((cause: NodeJS.ErrnoException) => {
    throw new ListenError(cause);
  });

async function listenAll(
  server: Server,
  { port, host, sockets = spreads ? SOCKETS : 1 }: ListenOptions,
): Promise<Listening> {
  if (sockets > 1 && port !== 0) await requireFree(port, host);
  const shared = { host, backlog: BACKLOG, reusePort: sockets > 1 };
  server.listen({ ...shared, port });
  await once(server, "listening");
  const { port: own } = server.address() as AddressInfo;
  const connections = limitAll(server);
  const others: SocketServer[] = [];
  const close = async () => {
    const closed = [server, ...others].map(
      (one) => new Promise<void>((resolve) => one.close(() => resolve())),
    );
    server.closeIdleConnections();
    await Promise.all(closed);
  };
  try {
    for (let at = 1; at < sockets; at += 1) {
      // As Node's HTTP server makes its own.
      const other = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
        server.emit("connection", socket),
      );
      others.push(other);
      other.listen({ ...shared, port: own });
      await once(other, "listening");
    }
  } catch (error) {
    await close();
    throw error;
  }
  const cut = () => {
    for (const socket of connections) socket.destroy();
  };
  return { port: own, close, cut };
}

/** What Linux does, and not every system. */
const spreads = platform() === "linux";

/** Sockets that share a port would share it with another process of ours, too: that is what a second start by mistake is. */
async function requireFree(port: number, host: string): Promise<void> {
  const probe = createServer();
  probe.listen({ port, host });
  await once(probe, "listening");
  await new Promise<void>((resolve) => probe.close(() => resolve()));
}

/**
 * Node counts the connections of each socket alone against `maxConnections`; all together are what there is room for. Nor does it know
 * those any more that were upgraded. Returns all there are.
 */
function limitAll(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.prependListener("connection", (socket: Socket) => {
    if (open.size >= (server.maxConnections ?? Number.POSITIVE_INFINITY)) {
      socket.destroy();
      server.emit("drop");
      return;
    }
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  return open;
}
