/** Processes for the weight of an idle tunnel: one that holds many, and the other that dials them. */
import { createServer } from "node:http";
import { acceptTunnel, dialTunnel, type Tunnel, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const tunnels: Tunnel[] = [];
const DIALS_AT_ONCE = 50;

serveCalls({
  hold: async () => {
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    const server = createServer();
    server.on("upgrade", (request, socket, head) => {
      upgrades.handleUpgrade(request, socket, head, (webSocket) => {
        tunnels.push(acceptTunnel(webSocket, { agent: "bench-replica" }));
      });
    });
    return listen(server);
  },
  dial: async ({ port, count }: { port: number; count: number }) => {
    for (let left = count; left > 0; left -= DIALS_AT_ONCE) {
      const dials = Array.from({ length: Math.min(left, DIALS_AT_ONCE) }, () =>
        dialTunnel(`ws://127.0.0.1:${port}/`, { agent: "bench-agent" }),
      );
      tunnels.push(...(await Promise.all(dials)));
    }
  },
  /** After collecting garbage (`--expose-gc`). */
  rss: async () => {
    for (let i = 0; i < 3; i += 1) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return process.memoryUsage.rss();
  },
  live: () => tunnels.filter((tunnel) => tunnel.rttMs !== undefined && !tunnel.draining).length,
});
