/** A byte stream as tunnels and sets of them open one: a request whose answer is a socket. */
import { checkObject } from "./checks.ts";
import { socketOf } from "./request-end.ts";
import type { ConnectOptions, Tunnel } from "./tunnel.ts";

export async function connectOver(
  asked: Pick<Tunnel, "request">,
  service: string,
  options: ConnectOptions = {},
): ReturnType<Tunnel["connect"]> {
  checkObject(options);
  const { path = "/", protocol = "", ...more } = options;
  const method = protocol === "" ? "CONNECT" : "GET";
  return socketOf(await asked.request({ service, method, path, upgrade: protocol, ...more }));
}
