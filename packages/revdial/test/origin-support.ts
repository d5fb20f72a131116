/** For tests of how a forwarder asks: a pool with a clock of the test's, before an origin that the test plays byte by byte. */
import type { Server, Socket } from "node:net";
import { afterEach } from "@jest/globals";
import { forwardExchange } from "../src/http/origin-exchange.ts";
import { OriginPool, type OriginPoolOptions } from "../src/http/origin-pool.ts";
import type { IncomingRequest, Reply, Tunnel } from "../src/index.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { listenLocally } from "./probes/chain.ts";
import { rawOrigin, stopRawOrigin } from "./raw-http.ts";
import { collect } from "./support.ts";

export interface Asking {
  pool: OriginPool;
  clock: ManualClock;
  /** Asks the origin, and gives its status and body; rejects with what the tunnel says. */
  ask(path?: string, method?: string): Promise<string>;
  /** The asking end. */
  tunnel: Tunnel;
  /** What exchanges failed with. */
  failures: unknown[];
  /** The origin's ends of connections, in the order in which they came. */
  connections: Socket[];
  origin: Server;
  /** What the origin was asked, by method and path. */
  asked: string[];
}

const stops: (() => unknown)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** The number of the connection on which something was asked, from 0. */
export type OriginAnswer = (socket: Socket, head: string, connection: number) => void;
/** Stands between tunnel and forwarder. */
export type Between = (request: IncomingRequest, reply: Reply) => [IncomingRequest, Reply];

export async function asking(
  answer: OriginAnswer,
  options: Partial<OriginPoolOptions> = {},
  between: Between = (request, reply) => [request, reply],
): Promise<Asking> {
  const connections: Socket[] = [];
  const asked: string[] = [];
  const failures: unknown[] = [];
  const origin: Server = rawOrigin((socket, head) => {
    asked.push(head.slice(0, head.indexOf(" HTTP")));
    answer(socket, head, connections.indexOf(socket));
  });
  origin.on("connection", (socket) => connections.push(socket));
  const target = { host: "127.0.0.1", port: await listenLocally(origin) };
  const clock = new ManualClock();
  const pool = new OriginPool({ target, connectTimeoutMs: 5000, idleConnectionsMax: 64, clock, ...options });
  const { left, right } = tunnelPair({ left: { onHandlerError: (error) => void failures.push(error) } });
  left.serve((request, reply) => forwardExchange(pool, ...between(request, reply)));
  stops.push(
    () => stopRawOrigin(origin),
    () => left.destroy(),
  );
  return {
    pool,
    clock,
    tunnel: right,
    failures,
    connections,
    origin,
    asked,
    async ask(path = "/", method = "GET") {
      const { status, body } = await right.request({ service: "web", method, path });
      return `${status} ${(await collect(body)).toString("latin1")}`;
    },
  };
}
