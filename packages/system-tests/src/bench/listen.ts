/** A port for a server of the bench. */
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

/** The port of a server that listens on loopback. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1", 4096);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
