/** A byte stream as tunnels and sets of them open one: a request whose answer is a socket. */
import { checkObject } from "./checks.ts";
import type { Clock } from "./clock.ts";
import { beforeSending } from "./errors.ts";
import { socketOf } from "./request-end.ts";
import type { ConnectOptions, Tunnel } from "./tunnel.ts";

export async function connectOver(
  asked: Pick<Tunnel, "request">,
  clock: Clock,
  service: string,
  options: ConnectOptions = {},
): ReturnType<Tunnel["connect"]> {
  beforeSending(() => checkObject(options));
  const { path = "/", protocol = "", ...more } = options;
  const method = protocol === "" ? "CONNECT" : "GET";
  return socketOf(await asked.request({ service, method, path, upgrade: protocol, ...more }), clock);
}
