// A server that reaches hosts behind NAT: each agent that dials in appears as http://ADDRESS:PORT/<name>/...
import { createServer } from "node:http";
import { isIP } from "node:net";
import { acceptTunnel, webSocketServerOptions } from "revdial";
import { httpFront } from "revdial/http";
import { WebSocketServer } from "ws";

const port = Number(process.argv[2] ?? 8090);
const address = process.argv[3] ?? "127.0.0.1";
const token = process.env.TOKEN;
if (!Number.isInteger(port) || port < 0 || port > 65_535 || isIP(address) === 0 || !token) {
  console.error("usage: TOKEN=secret node server.mjs [port] [address to listen on]");
  process.exit(2);
}

/** The tunnel and its front, by the names agents give themselves. */
const agents = new Map();
const tunnels = new Set();
const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });

/** The front of the agent that the path names, and the path without it. */
function route(request) {
  const [, name = "", rest = ""] = /^(?:https?:\/\/[^/?]+)?\/([^/?]+)(.*)$/i.exec(request.url ?? "") ?? [];
  const front = agents.get(name)?.front;
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
    tunnels.add(tunnel);
    void tunnel.closed.then(() => tunnels.delete(tunnel));
    // Until it has answered it may be nobody, and one that works must not end for it.
    const connected = () => {
      // One agent of a name: an older one is told that it has been replaced, and finishes what is in flight.
      const older = agents.get(name)?.tunnel;
      agents.set(name, { front, tunnel });
      console.log(`${name} is connected`);
      void older?.close({ code: "REPLACED", reason: `another ${name} has connected` });
      void tunnel.closed.then(({ code }) => {
        // Its successor may have come before it was known to be gone.
        if (agents.get(name)?.tunnel === tunnel) agents.delete(name);
        console.log(`${name} is gone: ${code}`);
      });
    };
    tunnel.reached.then(connected, ({ code }) => console.log(`${name} did not connect: ${code}`));
  });
});

let draining = false;
process.on("SIGINT", async () => {
  if (draining) process.exit(1);
  draining = true;
  console.log(`draining ${tunnels.size} tunnels, Ctrl-C again ends`);
  server.close();
  await Promise.all([...tunnels].map((tunnel) => tunnel.close({ retryAfterMs: 1000 })));
  server.closeAllConnections();
});

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
const host = isIP(address) === 6 ? `[${address}]` : address;
server.listen(port, address, () => console.log(`listening on http://${host}:${server.address().port}`));
