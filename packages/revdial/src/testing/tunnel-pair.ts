/** Two tunnels that talk over memory: `left` dialled, `right` accepted. */
import { createTunnel } from "../core-tunnel.ts";
import type { Tunnel, TunnelOptions } from "../tunnel.ts";
import { type Fault, type MemoryLink, memoryTransportPair } from "./memory-transport.ts";

export interface TunnelPair {
  left: Tunnel;
  right: Tunnel;
  link: MemoryLink;
  /** Both have exchanged HELLO; rejects when one could not. Requests made earlier wait for it by themselves. */
  ready: Promise<void>;
}

export interface TunnelPairOptions {
  /** For both sides; `left` and `right` add to it. */
  both?: TunnelOptions;
  left?: TunnelOptions;
  right?: TunnelOptions;
  /** Asked once per delivery. */
  fault?: () => Fault;
}

export function tunnelPair(options: TunnelPairOptions = {}): TunnelPair {
  const link = memoryTransportPair(options.fault);
  const left = createTunnel(link.left, true, { ...options.both, ...options.left });
  const right = createTunnel(link.right, false, { ...options.both, ...options.right });
  const ready = Promise.all([left.ready, right.ready]).then(() => undefined);
  ready.catch(() => undefined); // Whoever cares waits for it.
  return { left, right, link, ready };
}
