/**
 * The other end of a front: a handler that passes what comes through a tunnel on to an HTTP server, a TCP port or a Unix
 * socket of this host. A server that cannot be reached, hangs or breaks off costs its own exchange and nothing else.
 */
import { type Bounds, checkNumbers, TIMER_MS_MAX } from "../bounds.ts";
import { checkObject } from "../checks.ts";
import { systemClock } from "../clock.ts";
import type { Reply, RequestHandler } from "../tunnel.ts";
import { joinSockets } from "./join.ts";
import { forwardExchange } from "./origin-exchange.ts";
import { OriginPool } from "./origin-pool.ts";
import { checkTarget, connectTo, type ForwardTarget, unreachable } from "./origin-target.ts";

export interface ForwardOptions {
  /**
   * Milliseconds until the target has taken the connection. Default 5,000, and for connections that the program makes itself the
   * largest, from 1 to 2,147,483,647.
   */
  connectTimeoutMs?: number;
  /** Connections kept open for later requests while nobody uses them. Default 64, from 0 to 65,536. */
  idleConnectionsMax?: number;
}

export const forwardBounds: Readonly<Record<keyof ForwardOptions, Bounds>> = {
  connectTimeoutMs: [1, TIMER_MS_MAX],
  idleConnectionsMax: [0, 65_536],
};

/**
 * Forwards requests as HTTP/1.1, upgrades as upgrades, and plain byte streams as they are. A request without a body whose method may be
 * repeated is sent once more when the kept connection that took it has died unanswered. Error: ARGUMENT.
 */
export function forwardTo(target: ForwardTarget, options: ForwardOptions = {}): RequestHandler {
  checkTarget(target);
  checkObject(options);
  checkNumbers(options, forwardBounds);
  const { connectTimeoutMs = "connect" in target ? TIMER_MS_MAX : 5000, idleConnectionsMax = 64 } = options;
  const pool = new OriginPool({ target, connectTimeoutMs, idleConnectionsMax });
  return (request, reply) => {
    if (request.upgrade === "") return forwardStream(target, connectTimeoutMs, reply);
    // Its answer would be a stream that nobody asked for.
    if (request.method === "CONNECT") return { status: 501 };
    return forwardExchange(pool, request, reply);
  };
}

function forwardStream(target: ForwardTarget, connectTimeoutMs: number, reply: Reply): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connectTo(target, true);
  const refused = (error: Error) => reject(unreachable(error));
  const timer = systemClock.setTimer(connectTimeoutMs, () => socket.destroy(new Error("connect timeout")));
  // In order each direction ends by itself: the target may still be reading what came last.
  reply.onClose((error) => {
    if (error) socket.destroy();
  });
  // Given up before the target has taken it: a socket that is destroyed without an error says no more than this.
  const over = () => {
    timer.cancel();
    resolve();
  };
  socket.once("error", refused).once("close", over);
  socket.once("connect", () => {
    timer.cancel();
    socket.off("close", over);
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
