/** Process: a control plane's end of legacy tunnels, and who asks through them. */
import { createServer, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Tunnel } from "revdial";
import { createHelixExchange, helixWebSocketServerOptions } from "revdial/helix";
import { type WebSocket, WebSocketServer } from "ws";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const exchange = createHelixExchange();
const upgrades = new WebSocketServer({ ...helixWebSocketServerOptions, noServer: true });
const tunnel = Promise.withResolvers<Tunnel>();
let idleConnectionsMax: number | undefined;

function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const query = new URL(request.url ?? "/", "http://bench").searchParams;
  const dialerId = query.get("revdial.dialer");
  upgrades.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
    if (dialerId !== null) return exchange.pickUp(dialerId, query.get("revdial.req") ?? undefined, webSocket);
    const accepted = exchange.accept(webSocket, {
      credential: "bench",
      ...(idleConnectionsMax !== undefined && { idleConnectionsMax }),
    });
    accepted.ready.then(() => tunnel.resolve(accepted), tunnel.reject);
  });
}

/** Asked again as soon as it is answered, by so many at once. */
async function ask({ parallel, seconds }: { parallel: number; seconds: number }): Promise<number> {
  const asked = await tunnel.promise;
  const until = performance.now() + seconds * 1000;
  let answered = 0;
  const worker = async () => {
    while (performance.now() < until) {
      const { status, body } = await asked.request({ service: "wolf", method: "GET", path: "/small" });
      let bytes = 0;
      for await (const chunk of body) bytes += chunk.byteLength;
      if (status !== 200 || bytes === 0) throw new Error(`answered with ${status} and ${bytes} bytes`);
      answered += 1;
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: parallel }, worker));
  return (answered * 1000) / (performance.now() - startedAt);
}

serveCalls({
  listen: (connections: number | null) => {
    idleConnectionsMax = connections ?? undefined;
    return listen(createServer().on("upgrade", onUpgrade));
  },
  /** Requests per second. */
  ask,
  /** Data connections that are open. */
  connections: () => exchange.connections,
});
