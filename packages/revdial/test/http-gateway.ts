/** A real HTTP server that accepts tunnels by WebSocket and by HTTP, for tests. */
import { createServer, type Server } from "node:http";
import { WebSocketServer } from "ws";
import {
  acceptTunnel,
  createHttpAcceptor,
  dialTunnel,
  type HttpAcceptor,
  type HttpAcceptorOptions,
  type Tunnel,
  type TunnelOptions,
  webSocketServerOptions,
} from "../src/index.ts";
import { listen, stopServer } from "./gateway.ts";

export interface HttpGateway {
  url: string;
  server: Server;
  acceptor: HttpAcceptor;
  /** In the order in which they were accepted. */
  tunnels: Tunnel[];
  stop(): Promise<void>;
}

export async function httpGateway(
  options: TunnelOptions = {},
  limits: HttpAcceptorOptions = {},
  onTunnel: (tunnel: Tunnel) => void = () => undefined,
): Promise<HttpGateway> {
  const acceptor = createHttpAcceptor(limits);
  const tunnels: Tunnel[] = [];
  const accepted = (tunnel: Tunnel) => {
    tunnels.push(tunnel);
    onTunnel(tunnel);
  };
  const server = createServer((request, response) => {
    if (request.headers["revdial-tunnel"] !== undefined) return acceptor.receive(request, response);
    if (acceptor.kindOf(request) === "open") {
      const tunnel = acceptor.open(request, response, options);
      if (tunnel) accepted(tunnel);
      return;
    }
    response.end("a page");
  });
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => accepted(acceptTunnel(webSocket, options))),
  );
  const url = await listen(server);
  return {
    url,
    server,
    acceptor,
    tunnels,
    async stop() {
      for (const tunnel of tunnels) tunnel.destroy();
      acceptor.close();
      await Promise.all(tunnels.map((tunnel) => tunnel.closed));
      await stopServer(server);
    },
  };
}

export type Carrier = "websocket" | "http";

export interface Joined {
  /** Dialled; in the product this is the agent. */
  agent: Tunnel;
  /** Accepted; in the product this is the control plane. */
  tunnel: Tunnel;
  stop(): Promise<void>;
}

/** Two tunnels joined over a real socket; `dialled` is for the dialling one alone. */
export async function joined(
  carrier: Carrier,
  options: TunnelOptions = {},
  dialled: TunnelOptions = {},
): Promise<Joined> {
  const gateway = await httpGateway(options);
  const agent = await dialTunnel(gateway.url, { ...options, ...dialled, transport: carrier });
  return {
    agent,
    tunnel: gateway.tunnels[0] as Tunnel,
    async stop() {
      agent.destroy();
      await agent.closed;
      await gateway.stop();
    },
  };
}
