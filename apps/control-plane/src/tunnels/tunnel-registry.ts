/** The live tunnels of this replica (the original's connman): at most one per wolf and per sandbox, the newest epoch wins. */
import type { Tunnel } from "revdial";

export interface LiveTunnel {
  tunnel: Tunnel;
  /** Of a wolf's tunnel, from PostgreSQL; of a sandbox's, counted here. */
  epoch: number;
}

export class TunnelRegistry {
  private readonly live = new Map<string, LiveTunnel>();

  /** Adds a tunnel and returns the one it replaces; false when a newer one is there. */
  register(key: string, entry: LiveTunnel): LiveTunnel | undefined | false {
    const current = this.live.get(key);
    if (current && current.epoch >= entry.epoch) return false;
    this.live.set(key, entry);
    return current;
  }

  /** The tunnel to send requests through; undefined when there is none or it takes no new ones. */
  dial(key: string): Tunnel | undefined {
    const entry = this.live.get(key);
    return entry && !entry.tunnel.draining ? entry.tunnel : undefined;
  }

  get size(): number {
    return this.live.size;
  }

  get(key: string): LiveTunnel | undefined {
    return this.live.get(key);
  }

  /** Removes the tunnel of this epoch; a late removal of an older one does nothing. */
  remove(key: string, epoch: number): boolean {
    if (this.live.get(key)?.epoch !== epoch) return false;
    return this.live.delete(key);
  }

  list(): [key: string, entry: LiveTunnel][] {
    return [...this.live];
  }
}
