/** A real HTTP server that upgrades to tunnels, for tests. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { acceptTunnel, type Tunnel, type TunnelOptions, webSocketServerOptions } from "../src/index.ts";

export async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1/revdial?runnerid=wolf-1`;
}

export async function stopServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

export async function gateway(
  accepted: (tunnel: Tunnel) => void,
  options: TunnelOptions = {},
): Promise<{ url: string; server: Server }> {
  const server = createServer();
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => accepted(acceptTunnel(webSocket, options))),
  );
  return { url: await listen(server), server };
}
