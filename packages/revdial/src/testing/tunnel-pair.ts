/** Two tunnels that talk over memory: `left` dialled, `right` accepted. */
import { createTunnel } from "../core-tunnel.ts";
import type { Tunnel, TunnelOptions } from "../tunnel.ts";
import { type Fault, type MemoryLink, memoryTransportPair } from "./memory-transport.ts";

export interface TunnelPair {
  left: Tunnel;
  right: Tunnel;
  link: MemoryLink;
}

/** Resolves when both are ready. */
export async function tunnelPair(
  options: { left?: TunnelOptions; right?: TunnelOptions; fault?: () => Fault } = {},
): Promise<TunnelPair> {
  const link = memoryTransportPair(options.fault);
  const left = createTunnel(link.left, true, options.left);
  const right = createTunnel(link.right, false, options.right);
  await Promise.all([left.ready, right.ready]);
  return { left, right, link };
}
