import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { WebSocketServer } from "ws";
import { acceptTunnel, dialTunnel, tunnelFetch, webSocketServerOptions } from "../src/index.ts";

// The accepting side: who may come in (no browser does), and what it is asked.
const verifyClient = ({ req: { headers } }: { req: IncomingMessage }) =>
  headers.origin === undefined && headers.authorization === "Bearer secret";
const server = new WebSocketServer({ ...webSocketServerOptions, host: "127.0.0.1", port: 0, verifyClient });
server.on("connection", async (webSocket) => {
  const tunnel = acceptTunnel(webSocket);
  const reply = await tunnelFetch(tunnel, "hello")("/greeting", { deadlineMs: 5000 });
  console.log(reply.status, await reply.text());
  await tunnel.close({ reason: "example over" });
  server.close();
});
await once(server, "listening");

// The dialling side: serves what the other asks for.
const { port } = server.address() as { port: number };
const headers = { authorization: "Bearer secret" };
const tunnel = await dialTunnel(`ws://127.0.0.1:${port}/`, { headers });
tunnel.serve(({ service, path }) => ({ status: 200, body: Buffer.from(`you asked ${service} for ${path}`) }));
console.log(await tunnel.closed);
