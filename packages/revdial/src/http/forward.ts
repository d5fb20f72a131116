/**
 * The other end of a front: a handler that passes what comes through a tunnel on to an HTTP server, a TCP port or a Unix
 * socket of this host. A server that cannot be reached, hangs or breaks off costs its own exchange and nothing else.
 */
import { Agent } from "node:http";
import { connect } from "node:net";
import type { IncomingRequest, Reply, RequestHandler } from "../tunnel.ts";
import type { Dispatching } from "./dispatching.ts";
import { dispatched } from "./forward-dispatched.ts";
import { type ForwardTarget, NodeExchange, unreachable, type Way } from "./forward-exchange.ts";
import { joinSockets } from "./join.ts";

export interface ForwardOptions {
  /**
   * Sends ordinary requests, such as an undici `Pool` for the same target: faster than `node:http`, but without the trailers of
   * a request, which undici cannot send. Upgrades and requests that expect 100-continue go by `node:http` all the same.
   */
  dispatcher?: Dispatching;
  /** Milliseconds until the target has taken the connection. Default 5,000. */
  connectTimeoutMs?: number;
  /** Connections kept open for later requests (`node:http`). Default 64. */
  idleConnectionsMax?: number;
}

/**
 * Forwards requests as HTTP, upgrades as upgrades, and plain byte streams as TCP. A request without a body whose method may be
 * repeated is sent once more when the kept connection that took it has died unanswered.
 */
export function forwardTo(target: ForwardTarget, options: ForwardOptions = {}): RequestHandler {
  const { dispatcher, connectTimeoutMs = 5000, idleConnectionsMax = 64 } = options;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: idleConnectionsMax, scheduling: "lifo" });
  const way: Way = { target, agent, connectTimeoutMs };
  return (request, reply) => {
    if (request.upgrade === "") return forwardStream(way, reply);
    // Its answer would be a stream that nobody asked for; undici and node:http have no way to give it.
    if (request.method === "CONNECT") return { status: 501 };
    if (request.upgrade !== undefined) return new NodeExchange(way, request, reply).done;
    if (dispatcher && !expectsContinue(request)) return dispatched(dispatcher, way, request, reply);
    return new NodeExchange(way, request, reply).done;
  };
}

const expectsContinue = ({ headers }: IncomingRequest) => headers.some(([name]) => name === "expect");

function forwardStream({ target, connectTimeoutMs }: Way, reply: Reply): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ ...pathOrPort(target), allowHalfOpen: true, noDelay: true });
  const refused = (error: Error) => reject(unreachable(error));
  socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error("connect timeout")));
  // In order each direction ends by itself: the target may still be reading what came last.
  reply.onClose((error) => {
    if (error) socket.destroy();
  });
  // Given up before the target has taken it: a socket that is destroyed without an error says no more than this.
  socket.once("error", refused).once("close", resolve);
  socket.once("connect", () => {
    socket.setTimeout(0).off("close", resolve);
    try {
      joinSockets(reply.accept(), socket).then(resolve, reject);
    } catch (error) {
      socket.destroy();
      reject(error);
    }
    socket.off("error", refused);
  });
  return promise;
}

function pathOrPort(target: ForwardTarget): { path: string } | { host: string; port: number } {
  return "socketPath" in target ? { path: target.socketPath } : target;
}
