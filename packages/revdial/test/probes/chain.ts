/** The whole way of a request on loopback: client, front, tunnel, forwarder, origin. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestOptions, request, Server } from "node:http";
import type { AddressInfo, Server as NetServer } from "node:net";
import { type ForwardTarget, forwardTo, type HttpFrontOptions, httpFront } from "../../src/http/index.ts";
import type { RequestHandler, Tunnel, TunnelLimits } from "../../src/index.ts";
import { stopServer } from "../gateway.ts";
import { type Carrier, joined } from "../http-gateway.ts";
import { stopRawOrigin } from "../raw-http.ts";
import { until } from "../support.ts";

export interface Way {
  carrier: Carrier;
}

/** By which tests probe. */
export const ways: [name: string, way: Way][] = [
  ["a WebSocket", { carrier: "websocket" }],
  ["HTTP", { carrier: "http" }],
];

export interface WayOptions extends HttpFrontOptions {
  way?: Way;
  /** The origin listens on this Unix socket instead of a port. */
  socketPath?: string | undefined;
  /** What is served besides the origin, which is "web". */
  services?: Record<string, RequestHandler>;
}

/** Of the forwarding end. */
export interface ChainOptions {
  limits?: Partial<TunnelLimits>;
}

export interface Chain<Origin extends NetServer = Server> {
  /** Where clients ask. */
  port: number;
  origin: Origin;
  /** The asking end. */
  tunnel: Tunnel;
  /** The forwarding end. */
  agent: Tunnel;
  /** What went wrong at either end. */
  handlerErrors: unknown[];
  /** Both ends have no channel left. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export async function listenLocally(server: NetServer): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** `origin` is a server that does not listen yet. */
export async function chain<Origin extends NetServer = Server>(
  origin: Origin,
  options: WayOptions = {},
  { limits = {} }: ChainOptions = {},
): Promise<Chain<Origin>> {
  const { way = { carrier: "websocket" }, socketPath, services = {}, ...frontOptions } = options;
  const handlerErrors: unknown[] = [];
  const onHandlerError = (error: unknown) => void handlerErrors.push(error);
  const { agent, tunnel, stop } = await joined(way.carrier, { onHandlerError }, { limits });
  const target = await targetOf(origin, socketPath);
  const web = forwardTo(target);
  agent.serve((incoming, reply) => (services[incoming.service] ?? web)(incoming, reply));
  const { request: answer, upgrade } = httpFront(tunnel.dispatcher("web"), frontOptions);
  const front = createServer(answer).on("checkContinue", answer).on("upgrade", upgrade);
  const port = await listenLocally(front);
  return {
    port,
    origin,
    tunnel,
    agent,
    handlerErrors,
    idle: () => until(() => tunnel.load === 0 && agent.load === 0),
    async stop() {
      await stop();
      await stopServer(front);
      if (!origin.listening) return;
      await (origin instanceof Server ? stopServer(origin) : stopRawOrigin(origin));
    },
  };
}

async function targetOf(origin: NetServer, socketPath: string | undefined): Promise<ForwardTarget> {
  if (socketPath === undefined) return { host: "127.0.0.1", port: await listenLocally(origin) };
  origin.listen(socketPath);
  await once(origin, "listening");
  return { socketPath };
}

/** One request with a connection of its own; what it sends is the caller's to write. */
export function ask(port: number, options: RequestOptions = {}) {
  const sent = request({ host: "127.0.0.1", port, agent: false, ...options });
  const response = once(sent, "response").then(([message]) => message as IncomingMessage);
  return { sent, response };
}
