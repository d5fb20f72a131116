/** A way to a server on which at some moment nothing arrives any more. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Way {
  url: string;
  /** From now on nothing arrives on either side, and nobody is told. */
  swallow(): void;
}

/** The target's URL through it. `closing` is given what ends it. */
export async function wayTo(
  target: string,
  closing: { push(close: () => Promise<unknown>): unknown },
): Promise<Way> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let isSwallowing = false;
  const server = createServer((near) => {
    const far = connect(Number(port || 5432), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (piece) => void (isSwallowing || to.write(piece)));
      from.on("error", () => undefined);
      from.on("close", () => void (isSwallowing || to.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const url = new URL(target);
  [url.hostname, url.port] = ["127.0.0.1", String((server.address() as AddressInfo).port)];
  return {
    url: url.href,
    swallow() {
      isSwallowing = true;
    },
  };
}
