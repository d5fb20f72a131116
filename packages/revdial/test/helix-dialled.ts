/** For tests of the client of the original protocol: servers by hand and tunnels to them, which all end with their test. */
import { afterEach } from "@jest/globals";
import { dialHelix, type HelixDialOptions } from "../src/helix/dial.ts";
import type { RequestHandler, Tunnel } from "../src/index.ts";
import { type Control, HelixServer, type HelixServerOptions } from "./helix-server.ts";
import { collect } from "./support.ts";

export const TOKEN = "the-runner-token";
const servers: HelixServer[] = [];
const tunnels: Tunnel[] = [];

afterEach(async () => {
  const ended = tunnels.splice(0);
  for (const tunnel of ended) tunnel.destroy();
  await Promise.all(ended.map(({ closed }) => closed));
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

export async function serve(options: HelixServerOptions = {}): Promise<HelixServer> {
  const server = await new HelixServer(options).listen();
  servers.push(server);
  return server;
}

/** Says what was asked. */
export const echo: RequestHandler = async ({ method, path, body }) => ({
  status: 200,
  body: Buffer.concat([Buffer.from(`${method} ${path} `), await collect(body)]),
});

export async function dial(
  server: HelixServer,
  more: Partial<HelixDialOptions> = {},
  prefix = "",
): Promise<{ tunnel: Tunnel; control: Control }> {
  const url = `${server.url.replace(/^http/, "ws")}${prefix}/api/v1/revdial?runnerid=wolf-1`;
  const headers = { authorization: `Bearer ${TOKEN}` };
  const tunnel = await dialHelix(url, { service: "wolf", handler: echo, headers, ...more });
  tunnels.push(tunnel);
  return { tunnel, control: await server.control() };
}
