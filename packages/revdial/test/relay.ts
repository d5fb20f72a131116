/** A TCP relay that can go dead in one direction or both while its sockets stay open, as a broken path does. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Up is from the dialler to the acceptor. */
export type Direction = "up" | "down";

export interface Relay {
  /** Where diallers are to dial. */
  url: string;
  /** From now on nothing passes this way, not even an end, on connections there are and on those to come. */
  swallow(direction: Direction): void;
  stop(): Promise<void>;
}

export async function relay(targetUrl: string): Promise<Relay> {
  const target = new URL(targetUrl);
  const dead = new Set<Direction>();
  const sockets = new Set<Socket>();
  const join = (from: Socket, to: Socket, direction: Direction) => {
    sockets.add(from);
    from.on("data", (bytes) => dead.has(direction) || to.write(bytes));
    from.on("error", () => undefined);
    from.on("close", () => {
      sockets.delete(from);
      if (!dead.has(direction)) to.destroy();
    });
  };
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: Number(target.port), host: target.hostname, noDelay: true });
    join(near, far, "up");
    join(far, near, "down");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const own = new URL(targetUrl);
  own.port = String((server.address() as AddressInfo).port);
  return {
    url: own.href,
    swallow: (direction) => void dead.add(direction),
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
