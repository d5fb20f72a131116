import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { acceptTunnel, dialTunnel, tunnelFetch, webSocketServerOptions } from "../src/index.ts";

// The accepting side: authenticate, refuse any Origin, upgrade, ask.
const server = createServer();
const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
server.on("upgrade", (request, socket, head) => {
  socket.on("error", () => socket.destroy()); // Node leaves its errors to us.
  if (request.headers.origin !== undefined || request.headers.authorization !== "Bearer secret") {
    socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  upgrades.handleUpgrade(request, socket, head, async (webSocket) => {
    const tunnel = acceptTunnel(webSocket, { agent: "example-server/1" });
    const fetchHello = tunnelFetch(tunnel, "hello");
    const reply = await fetchHello("/greeting", { deadlineMs: 5000 });
    console.log(reply.status, await reply.text());
    await tunnel.close({ reason: "example over" });
    server.close();
  });
});

// The dialling side: serve what the other asks for.
server.listen(0, "127.0.0.1", async () => {
  const address = server.address();
  if (address === null || typeof address === "string") return;
  const tunnel = await dialTunnel(`ws://127.0.0.1:${address.port}/`, {
    headers: { authorization: "Bearer secret" },
  });
  tunnel.serve(async (request) => ({
    status: 200,
    headers: [["content-type", "text/plain"]],
    body: new TextEncoder().encode(`you asked ${request.service} for ${request.path}`),
  }));
  console.log(await tunnel.closed);
});
