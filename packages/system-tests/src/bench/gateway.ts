/** Process: the HTTP gateway. One front; behind it the local server itself, a tunnel, HTTP/2 over the same WebSocket, or TCP. */
import { createServer, type Server } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { acceptTunnel, type Tunnel, webSocketServerOptions } from "revdial";
import { type Dispatching, httpFront } from "revdial/http";
import { Pool } from "undici";
import { type WebSocket, WebSocketServer } from "ws";
import { h2Dispatcher } from "./h2.ts";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

interface Ports {
  /** Where clients ask. */
  front: number;
  /** Where the agent dials. */
  tunnel: number;
}

const ended = Promise.withResolvers<number>();
let tunnel: Tunnel | undefined;

function frontOf(dispatcher: () => Dispatching): Server {
  const late: Dispatching = { dispatch: (options, handler) => dispatcher().dispatch(options, handler) };
  const front = httpFront(late, {
    onError(error, { socket }) {
      // A client that has what it wanted goes; anything else spoils what is measured.
      if (!socket.destroyed) process.stderr.write(`${error.stack}\n`);
    },
  });
  const server = createServer(front.request);
  server.keepAliveTimeout = 600_000;
  return server;
}

async function behind(accept: (webSocket: WebSocket) => Dispatching): Promise<Ports> {
  let dispatcher: Dispatching | undefined;
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  const tunnels = createServer();
  tunnels.on("upgrade", (request, socket, head) => {
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      dispatcher = accept(webSocket);
    });
  });
  const server = frontOf(() => dispatcher as Dispatching);
  return { front: await listen(server), tunnel: await listen(tunnels) };
}

serveCalls({
  /** The same gateway without a tunnel. */
  direct: async ({ origin }: { origin: number }) => {
    const pool = new Pool(`http://127.0.0.1:${origin}`, {
      connections: 128,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    return { front: await listen(frontOf(() => pool)), tunnel: 0 };
  },
  tunnel: () =>
    behind((webSocket) => {
      tunnel = acceptTunnel(webSocket, { agent: "bench-gateway" });
      void tunnel.closed.then(() => ended.resolve(Date.now()));
      return tunnel.dispatcher("origin");
    }),
  h2: () => behind(h2Dispatcher),
  /** A pipe: what the path itself can do. */
  tcp: async ({ port }: { port: number }) => {
    const server = createTcpServer({ noDelay: true }, (near) => {
      const far = connect({ port, host: "127.0.0.1", noDelay: true });
      near.pipe(far).pipe(near);
      near.on("error", () => far.destroy());
      far.on("error", () => near.destroy());
    });
    return { front: await listen(server), tunnel: 0 };
  },
  /** When the tunnel ended, on the clock of this machine. */
  ended: () => ended.promise,
  /** The last round trip, or nothing when the tunnel is gone. */
  rttMs: () => tunnel?.rttMs,
});
