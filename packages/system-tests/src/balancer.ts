/**
 * A load balancer for tests and benches: passes TCP connections on to those of its backends that say at /readyz that they are ready. A
 * connection whose backend cannot be reached goes to another; nothing of what it carries is looked at.
 */
import { once } from "node:events";
import { get } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Backend {
  host: string;
  port: number;
}

export interface BalancerOptions {
  backends: readonly Backend[];
  /** Default "round-robin". "in-order": the first that is up, with the others as its spares. */
  policy?: "round-robin" | "least-connections" | "in-order";
  /** Default 0: a free one. */
  port?: number;
  /** From one look at a backend to the next. Default 2,000, as haproxy's. */
  checkEveryMs?: number;
  /** A look without an answer has failed. Default 1,000. */
  checkTimeoutMs?: number;
  /** Looks in a row until a backend is down, and up again. Default 3 and 2, as haproxy's. */
  fall?: number;
  rise?: number;
}

export interface BalancerView extends Backend {
  up: boolean;
  connections: number;
}

export interface Balancer {
  readonly port: number;
  readonly url: string;
  readonly backends: readonly BalancerView[];
  /** Connections that no backend took. */
  readonly refused: number;
  /** Resolves when so many backends are up. */
  untilUp(count: number): Promise<void>;
  /** Ends every connection. */
  close(): Promise<void>;
}

const CONNECT_MS = 1000;
/** Connections that the system takes before we look: a fleet may come at once. */
const BACKLOG = 4096;

/** Resolves when it listens and has looked at every backend once. Rejects with Node's error, such as EADDRINUSE. */
export async function startBalancer(options: BalancerOptions): Promise<Balancer> {
  const { policy = "round-robin", checkEveryMs = 2000, checkTimeoutMs = 1000, fall = 3, rise = 2 } = options;
  const places = options.backends.map((backend) => new Place(backend, fall, rise));
  const open = new Set<Socket>();
  const waiting = new Set<() => void>();
  let turn = 0;
  let refused = 0;
  let closed = false;

  /** The next in turn, or of the least loaded the next in turn; not those that were tried. */
  function choose(tried: ReadonlySet<Place>): Place | undefined {
    let best: Place | undefined;
    for (let step = 0; step < places.length; step += 1) {
      const place = places[(turn + step) % places.length];
      if (place === undefined || !place.up || tried.has(place)) continue;
      if (best === undefined || (policy === "least-connections" && place.connections < best.connections))
        best = place;
    }
    if (best !== undefined && policy !== "in-order") turn = (places.indexOf(best) + 1) % places.length;
    return best;
  }

  async function pass(client: Socket): Promise<void> {
    const tried = new Set<Place>();
    for (let place = choose(tried); place !== undefined && !client.destroyed; place = choose(tried)) {
      tried.add(place);
      // Counted from now on: a burst of connections is spread too.
      place.connections += 1;
      const server = await connected(place);
      if (server === undefined) {
        place.connections -= 1;
        continue;
      }
      open.add(server);
      server.once("close", () => {
        place.connections -= 1;
        open.delete(server);
      });
      return join(client, server);
    }
    refused += 1;
    client.destroy();
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    open.add(client);
    client.on("error", () => client.destroy());
    client.once("close", () => open.delete(client));
    void pass(client);
  });
  server.listen(options.port ?? 0, "127.0.0.1", BACKLOG);
  await once(server, "listening");

  const timers = new Set<NodeJS.Timeout>();
  async function watch(place: Place): Promise<void> {
    const ready = await isReady(place, checkTimeoutMs);
    if (closed) return;
    place.saw(ready);
    for (const wake of waiting) wake();
    const timer = setTimeout(() => {
      timers.delete(timer);
      void watch(place);
    }, checkEveryMs);
    timers.add(timer);
  }
  await Promise.all(places.map(watch));

  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get backends() {
      return places.map(({ host, port, up, connections }) => ({ host, port, up, connections }));
    },
    get refused() {
      return refused;
    },
    async untilUp(count) {
      const isSo = () => places.filter(({ up }) => up).length >= count;
      while (!isSo() && !closed) {
        const { promise, resolve } = Promise.withResolvers<void>();
        waiting.add(resolve);
        await promise;
        waiting.delete(resolve);
      }
    },
    async close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      for (const wake of waiting) wake();
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, "close");
    },
  };
}

/** A backend and what was seen of it. The first look counts at once. */
class Place implements BalancerView {
  readonly host: string;
  readonly port: number;
  up = false;
  connections = 0;
  private looked = false;
  /** Looks in a row that say otherwise. */
  private otherwise = 0;
  private readonly fall: number;
  private readonly rise: number;

  constructor({ host, port }: Backend, fall: number, rise: number) {
    this.host = host;
    this.port = port;
    this.fall = fall;
    this.rise = rise;
  }

  saw(ready: boolean): void {
    this.otherwise = ready === this.up ? 0 : this.otherwise + 1;
    if (!this.looked || this.otherwise >= (this.up ? this.fall : this.rise)) {
      this.up = ready;
      this.otherwise = 0;
    }
    this.looked = true;
  }
}

/** Undefined: it cannot be reached. */
function connected({ host, port }: Backend): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => socket.destroy(), CONNECT_MS);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

/** Each end of the one is the end of the other, with everything that was sent before. */
function join(client: Socket, server: Socket): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    from.pipe(to);
    from.once("close", () => {
      // What it has sent is delivered first, unless it was cut off.
      if (from.readableEnded) to.end();
      else to.destroy();
    });
    if (from.destroyed) to.destroy();
  }
}

function isReady({ host, port }: Backend, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: "/readyz", agent: false, timeout: timeoutMs }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
    request.on("close", () => resolve(false));
  });
}
