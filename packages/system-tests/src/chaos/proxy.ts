/**
 * A TCP proxy that behaves like a bad network: the edge around `Lane`. What one side writes waits in bounded memory and is asked for
 * no faster than it goes on; each direction ends by itself; what the profile says may change while connections live.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { seededRandom } from "revdial/testing";
import { type Address, type ChaosClock, ChaosLink, type LinkEdges } from "./link.ts";
import { type Profile, weatherAt } from "./profiles.ts";

export const steadyClock: ChaosClock = {
  now: () => performance.now(),
  setTimer(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export interface ChaosOptions {
  /** Port 0: any that is free. */
  listen: Address;
  to: Address;
  profile: Profile;
  /** The same seed gives the same chances to the same connections. Default 1. */
  seed?: number;
  clock?: ChaosClock;
}

export interface ChaosCounts {
  accepted: number;
  open: number;
  /** Connections that this proxy has broken: by loss, by weather, by reset. */
  cut: number;
  /** Connections that a silent middle box has forgotten. */
  forgotten: number;
  /** How often the weather has turned bad. */
  outages: number;
  /** Bytes that are in the proxy now, both ways. */
  heldBytes: number;
}

export interface ChaosProxy {
  readonly port: number;
  counts(): ChaosCounts;
  /** From now on, for connections that live and those to come; the weather starts anew. */
  set(profile: Profile): void;
  /** Ends it all at once. */
  close(): Promise<void>;
}

/** Rejects when it cannot listen there. */
export async function startChaosProxy(options: ChaosOptions): Promise<ChaosProxy> {
  const proxy = new ChaosServer(options);
  await proxy.listen();
  return proxy;
}

class ChaosServer implements ChaosProxy {
  private readonly options: ChaosOptions;
  private readonly clock: ChaosClock;
  private readonly server: Server;
  private readonly links = new Set<ChaosLink>();
  private profile: Profile;
  private weatherSince = 0;
  private bad = false;
  private cancelWeather: () => void = () => undefined;
  private accepted = 0;
  private cut = 0;
  private forgotten = 0;
  private outages = 0;

  constructor(options: ChaosOptions) {
    this.options = options;
    this.clock = options.clock ?? steadyClock;
    this.profile = options.profile;
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket));
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return address.port;
  }

  async listen(): Promise<void> {
    this.server.listen(this.options.listen.port, this.options.listen.host);
    await once(this.server, "listening");
    this.set(this.profile);
  }

  counts(): ChaosCounts {
    const { accepted, cut, forgotten, outages } = this;
    let heldBytes = 0;
    for (const link of this.links) heldBytes += link.heldBytes;
    return { accepted, open: this.links.size, cut, forgotten, outages, heldBytes };
  }

  set(profile: Profile): void {
    this.profile = profile;
    this.weatherSince = this.clock.now();
    for (const link of this.links) link.change(profile);
    this.turn();
  }

  async close(): Promise<void> {
    this.cancelWeather();
    for (const link of this.links) link.cut();
    this.server.close();
    await once(this.server, "close");
  }

  /** The weather as it is now, and again when it changes. */
  private turn(): void {
    this.cancelWeather();
    const { weather } = this.profile;
    const at = weather && weatherAt(weather, this.clock.now() - this.weatherSince);
    const bad = at?.bad ?? false;
    if (bad && !this.bad) this.outages += 1;
    this.bad = bad;
    if (bad && weather?.bad === "reset") for (const link of this.links) link.cut();
    for (const link of this.links) link.stall(this.isSilent);
    // A millisecond more: timers are early by parts of one.
    if (at) this.cancelWeather = this.clock.setTimer(Math.ceil(at.changesInMs) + 1, () => this.turn());
  }

  private get isSilent(): boolean {
    return this.bad && this.profile.weather?.bad === "silence";
  }

  private accept(near: Socket): void {
    this.accepted += 1;
    if (this.bad && !this.isSilent) {
      near.on("error", () => undefined);
      near.resetAndDestroy();
      return;
    }
    const { to, seed = 1 } = this.options;
    const edges: LinkEdges = {
      clock: this.clock,
      // Of its own for each connection: their chances do not depend on what the others do.
      dice: seededRandom(seed * 0x9e3779b1 + this.accepted),
      onCut: () => {
        this.cut += 1;
      },
      onForgotten: () => {
        this.forgotten += 1;
      },
      onClosed: (link) => void this.links.delete(link),
    };
    const link = new ChaosLink(near, to, this.profile, edges);
    this.links.add(link);
    link.stall(this.isSilent);
  }
}
