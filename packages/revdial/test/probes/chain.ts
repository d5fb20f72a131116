/** The whole way of a request on loopback: client, front, tunnel over a WebSocket, forwarder, origin. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestOptions, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { forwardTo, type HttpFrontOptions, httpFront } from "../../src/http/index.ts";
import { dialTunnel, type Tunnel } from "../../src/index.ts";
import { gateway, stopServer } from "../gateway.ts";
import { signal } from "../support.ts";

export interface Chain {
  /** Where clients ask. */
  port: number;
  origin: Server;
  stop(): Promise<void>;
}

export async function listenLocally(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** `origin` is a server that does not listen yet. */
export async function chain(origin: Server, options: HttpFrontOptions = {}): Promise<Chain> {
  const accepted = signal<Tunnel>();
  const onHandlerError = () => undefined;
  const relay = await gateway(accepted.give, { onHandlerError });
  const agent = await dialTunnel(relay.url, { onHandlerError });
  const tunnel = await accepted.seen;
  agent.serve(forwardTo({ host: "127.0.0.1", port: await listenLocally(origin) }));
  const { request: answer, upgrade } = httpFront(tunnel.dispatcher("web"), options);
  const front = createServer(answer).on("checkContinue", answer).on("upgrade", upgrade);
  const port = await listenLocally(front);
  return {
    port,
    origin,
    async stop() {
      agent.destroy();
      tunnel.destroy();
      await Promise.all([agent.closed, tunnel.closed]);
      await stopServer(front);
      await stopServer(relay.server);
      if (origin.listening) await stopServer(origin);
    },
  };
}

/** One request with a connection of its own; what it sends is the caller's to write. */
export function ask(port: number, options: RequestOptions = {}) {
  const sent = request({ host: "127.0.0.1", port, agent: false, ...options });
  const response = once(sent, "response").then(([message]) => message as IncomingMessage);
  return { sent, response };
}
