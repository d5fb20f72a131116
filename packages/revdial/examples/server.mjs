// A server that reaches hosts behind NAT: each agent that dials in appears as http://127.0.0.1:PORT/<name>/...
import { createServer } from "node:http";
import { acceptTunnel, webSocketServerOptions } from "revdial";
import { httpFront } from "revdial/http";
import { WebSocketServer } from "ws";

const port = Number(process.argv[2] ?? 8090);
const token = process.env.TOKEN;
if (!Number.isInteger(port) || port < 0 || port > 65_535 || !token) {
  console.error("usage: TOKEN=secret node server.mjs [port]");
  process.exit(2);
}

/** By the names agents give themselves. */
const fronts = new Map();
const tunnels = new Set();
const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });

/** The front of the agent that the path names, and the path without it. */
function route(request) {
  const [, name = "", rest = ""] = /^(?:https?:\/\/[^/?]+)?\/([^/?]+)(.*)$/i.exec(request.url ?? "") ?? [];
  const front = fronts.get(name);
  if (front) request.url = rest.startsWith("/") ? rest : `/${rest}`;
  return front;
}

// Uploads may take as long as they need; the default of Node is 5 minutes for a request.
const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, (request, response) => {
  const front = route(request);
  if (front) return front.request(request, response);
  response.writeHead(503, { "content-type": "text/plain" }).end("no such agent is connected\n");
});

server.on("upgrade", (request, socket, head) => {
  // Node has let go of the connection: without a listener an error of it would end the process.
  socket.on("error", () => socket.destroy());
  const name = /^\/connect\/([a-z0-9-]{1,32})$/.exec(request.url ?? "")?.[1];
  if (name === undefined) {
    const front = route(request);
    if (front) return front.upgrade(request, socket, head);
    return socket.end("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }
  const known = request.headers.authorization === `Bearer ${token}` && request.headers.origin === undefined;
  if (!known)
    return socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  upgrades.handleUpgrade(request, socket, head, (webSocket) => {
    const tunnel = acceptTunnel(webSocket, { agent: "example-server/1" });
    // No `deadlineMs`: event streams may last.
    const front = httpFront(tunnel.dispatcher("web"));
    fronts.set(name, front);
    tunnels.add(tunnel);
    console.log(`${name} is connected`);
    tunnel.closed.then(({ code }) => {
      tunnels.delete(tunnel);
      // Its successor may have come before it was known to be gone.
      if (fronts.get(name) === front) fronts.delete(name);
      console.log(`${name} is gone: ${code}`);
    });
  });
});

process.once("SIGINT", async () => {
  server.close();
  await Promise.all([...tunnels].map((tunnel) => tunnel.close({ retryAfterMs: 1000 })));
  server.closeAllConnections();
});

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen(port, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
