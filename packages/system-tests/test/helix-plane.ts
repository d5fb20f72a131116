/** For tests: a control plane that is nothing but an exchange, with what it says on control as its socket got it. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Clock, Tunnel, TunnelRequest } from "revdial";
import {
  createHelixExchange,
  type HelixAcceptOptions,
  type HelixExchange,
  type HelixExchangeOptions,
  type HelixFault,
  helixWebSocketServerOptions,
} from "revdial/helix";
import { WebSocketServer } from "ws";
import { GoClient, type GoClientOptions } from "../src/helix/go-client.ts";
import type { GoGeneration } from "../src/helix/go-habits.ts";

export const TOKEN = "runner-token-of-the-test";

export interface PlaneOptions {
  clock: Clock;
  exchange?: HelixExchangeOptions;
  accept?: Partial<HelixAcceptOptions>;
}

/** Runs when a test ends, the last first. */
export const stops: (() => unknown)[] = [];

export async function stopAll(): Promise<void> {
  for (const stop of stops.splice(0).reverse()) await stop();
}

/** Asks in each turn of the event loop. A test that waits in vain ends by its own timeout. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setImmediate(resolve));
}

export async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

export class ExchangePlane {
  readonly exchange: HelixExchange;
  readonly tunnels: Tunnel[] = [];
  readonly faults: HelixFault[] = [];
  /** What was written on control sockets, each as one call of the system; not the answer to the upgrade. */
  readonly writes: Buffer[] = [];
  /** Paths that pick-ups came by. */
  readonly pickupPaths: string[] = [];
  /** Pick-ups that were not handed over. */
  refused = 0;
  /** Control sockets. */
  readonly controls: Socket[] = [];
  url = "";
  server!: Server;
  private readonly options: PlaneOptions;
  private readonly upgrades = new WebSocketServer({ ...helixWebSocketServerOptions, noServer: true });

  private constructor(options: PlaneOptions) {
    this.options = options;
    this.exchange = createHelixExchange({ clock: options.clock, ...options.exchange });
  }

  static async listen(options: PlaneOptions): Promise<ExchangePlane> {
    const plane = new ExchangePlane(options);
    const server = createServer((_request, response) => void response.writeHead(404).end());
    server.on("upgrade", (request: IncomingMessage, socket: Socket, head) => {
      // Node calls anything with `Connection: Upgrade` an upgrade, but not what names no protocol.
      plane.onUpgrade(request, socket, head);
    });
    plane.server = server;
    plane.url = `http://127.0.0.1:${await listening(server)}`;
    stops.push(() => {
      for (const tunnel of plane.tunnels) tunnel.destroy();
    });
    return plane;
  }

  private onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { pathname, searchParams: query } = new URL(request.url ?? "/", "http://plane");
    socket.on("error", () => undefined);
    const dialerId = query.get("revdial.dialer");
    if (dialerId === null) {
      this.controls.push(socket);
      this.record(socket);
      this.upgrades.handleUpgrade(request, socket, head, (control) => {
        this.writes.shift();
        this.accept(this.exchange.accept(control, this.acceptOptions()));
      });
      return;
    }
    const requestId = query.get("revdial.req") ?? undefined;
    this.pickupPaths.push(pathname);
    if (this.exchange.dialer(dialerId) === undefined || !this.exchange.awaits(dialerId, requestId)) {
      this.refused += 1;
      socket.end("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    this.upgrades.handleUpgrade(request, socket, head, (data) => {
      this.exchange.pickUp(dialerId, requestId, data);
    });
  }

  /** Control without a WebSocket. */
  acceptStream(socket: Socket): void {
    this.accept(this.exchange.acceptStream(socket, this.acceptOptions()));
  }

  private acceptOptions(): HelixAcceptOptions {
    const { clock, accept } = this.options;
    const onFault = (fault: HelixFault) => void this.faults.push(fault);
    return { clock, credential: TOKEN, onFault, ...accept };
  }

  private accept(tunnel: Tunnel): void {
    this.tunnels.push(tunnel);
    tunnel.ready.catch(() => undefined);
  }

  /** A call of `_write` or `_writev` is a call of the system. */
  private record(socket: Socket): void {
    const write = socket._write.bind(socket);
    const writev = socket._writev?.bind(socket);
    socket._write = (chunk: Buffer, encoding, done) => {
      this.writes.push(Buffer.from(chunk));
      write(chunk, encoding, done);
    };
    socket._writev = (chunks, done) => {
      this.writes.push(Buffer.concat(chunks.map(({ chunk, encoding }) => Buffer.from(chunk, encoding))));
      writev?.(chunks, done);
    };
  }

  /** Of the newest control connection. */
  get tunnel(): Tunnel {
    return this.tunnels.at(-1) as Tunnel;
  }
}

/** Answers with what it was asked for, after the body. */
export const echo: RequestListener = async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  response.setHeader("x-asked", request.url ?? "");
  response.end(chunks.length > 0 ? Buffer.concat(chunks) : request.url);
};

export interface Linked {
  plane: ExchangePlane;
  client: GoClient;
  tunnel: Tunnel;
}

/** A plane with a client that is connected, before a server that answers as it is told. */
export async function linked(
  generation: GoGeneration,
  options: PlaneOptions & { client?: Partial<GoClientOptions>; answer?: RequestListener },
): Promise<Linked> {
  const plane = await ExchangePlane.listen(options);
  const port = await listening(createServer(options.answer ?? echo));
  const client = await GoClient.connect({
    url: plane.url,
    key: "wolf-a",
    token: TOKEN,
    target: { host: "127.0.0.1", port },
    generation,
    clock: options.clock,
    ...options.client,
  });
  stops.push(() => client.stop());
  await eventually(() => plane.tunnels.length > 0);
  await client.until(({ lines }) => lines.length > 0);
  await plane.tunnel.ready;
  return { plane, client, tunnel: plane.tunnel };
}

export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

/** Status and body. */
export async function ask(
  tunnel: Tunnel,
  path: string,
  request: Partial<TunnelRequest> = {},
): Promise<string> {
  const { status, body } = await tunnel.request({ service: "wolf", method: "GET", path, ...request });
  return `${status} ${await textOf(body)}`;
}
