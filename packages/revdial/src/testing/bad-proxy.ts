/** An HTTP proxy in front of one server that misbehaves as real ones do; its modes may change while it runs. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface BadProxyModes {
  /**
   * What becomes of an upgrade: "hang" never answers, "cut" ends the connection, "strip" passes an ordinary GET on. The
   * last three pass upgrade and answer on, and then nothing, or one direction only. Default "pass".
   */
  upgrade?: "pass" | "hang" | "cut" | "strip" | "swallow" | "up-only" | "down-only" | { status: number };
  /** What an open request over HTTP is answered with, instead of being passed on. */
  open?: { status: number; headers?: Record<string, string> };
  /** Bodies are passed on in pieces of this many bytes. */
  pieceBytes?: number;
  /** The connection of a POST upwards is closed after its answer. */
  closeAfterPost?: boolean;
  /** So many answers to POSTs upwards are lost, their connections with them. */
  answersDropped?: number;
  /** Response bodies are passed on when they have ended. */
  buffers?: boolean;
}

export interface BadProxy {
  /** The server's URL, through this proxy. */
  url: string;
  modes: BadProxyModes;
  upgrades: number;
  posts: number;
  /** Tunnel keys that passed: what no log may show. */
  keys: Set<string>;
  /** Cuts every connection, as an idle time-out does. */
  cut(): void;
  stop(): Promise<void>;
}

/** In front of `targetUrl`, on loopback both. */
export async function badProxy(targetUrl: string, modes: BadProxyModes): Promise<BadProxy> {
  const url = new URL(targetUrl);
  const port = Number(url.port);
  const sockets = new Set<Socket>();
  const server = createServer((incoming, outgoing) => forward(proxy, port, incoming, outgoing));
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
  });
  server.on("upgrade", (incoming: IncomingMessage, socket: Socket) => {
    proxy.upgrades += 1;
    upgrade(proxy.modes.upgrade ?? "pass", port, incoming, socket, sockets);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const proxy: BadProxy = {
    url: url.href,
    modes,
    upgrades: 0,
    posts: 0,
    keys: new Set(),
    cut,
    async stop() {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return proxy;
}

function upgrade(
  mode: NonNullable<BadProxyModes["upgrade"]>,
  port: number,
  incoming: IncomingMessage,
  socket: Socket,
  sockets: Set<Socket>,
): void {
  if (mode === "hang") return;
  if (mode === "cut") return void socket.destroy();
  if (typeof mode === "object") {
    return void socket.end(`HTTP/1.1 ${mode.status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  }
  const upstream = connect(port, "127.0.0.1");
  sockets.add(upstream);
  upstream.on("error", () => undefined);
  upstream.on("close", () => {
    sockets.delete(upstream);
    socket.destroy();
  });
  socket.on("close", () => upstream.destroy());
  const stripped = mode === "strip" ? /^(upgrade|connection|sec-websocket-.*)$/i : /^$/;
  const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (!stripped.test(name)) lines.push(`${name}: ${String(value)}`);
  }
  upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (mode === "swallow" || mode === "down-only") socket.resume();
  else socket.pipe(upstream);
  if (mode !== "swallow" && mode !== "up-only") return void upstream.pipe(socket);
  // The answer to the upgrade passes, nothing after it.
  upstream.once("data", (head: Buffer) => {
    socket.write(head.subarray(0, head.indexOf("\r\n\r\n") + 4));
    upstream.resume();
  });
}

function forward(proxy: BadProxy, port: number, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { modes } = proxy;
  const isPost = incoming.headers["revdial-tunnel"] !== undefined;
  if (isPost) proxy.posts += 1;
  const isOpen = !isPost && incoming.headers["content-type"] === "application/vnd.revdial.v3";
  if (isOpen && modes.open !== undefined) {
    incoming.resume();
    return void outgoing.writeHead(modes.open.status, { ...modes.open.headers }).end();
  }
  const { method, url: path, headers } = incoming;
  const upstream = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (answer) => {
    const key = answer.headers["revdial-tunnel"];
    if (typeof key === "string") proxy.keys.add(key);
    if (isPost && (modes.answersDropped ?? 0) > 0) {
      modes.answersDropped = (modes.answersDropped ?? 0) - 1;
      incoming.socket.destroy();
      return;
    }
    const closing = isPost && modes.closeAfterPost === true ? { connection: "close" } : {};
    const held: Buffer[] = [];
    if (modes.buffers !== true) {
      outgoing.writeHead(answer.statusCode ?? 502, { ...answer.headers, ...closing });
      outgoing.flushHeaders();
    }
    answer.on("data", (chunk: Buffer) => {
      if (modes.buffers === true) held.push(chunk);
      else inPieces(chunk, modes.pieceBytes, (piece) => outgoing.write(piece));
    });
    answer.on("error", () => outgoing.destroy());
    answer.on("end", () => {
      if (modes.buffers === true) outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      outgoing.end(Buffer.concat(held));
    });
  });
  upstream.on("error", () => outgoing.destroy());
  outgoing.on("close", () => upstream.destroy());
  incoming.on("error", () => upstream.destroy());
  incoming.on("data", (chunk: Buffer) => inPieces(chunk, modes.pieceBytes, (piece) => upstream.write(piece)));
  incoming.on("end", () => upstream.end());
}

function inPieces(chunk: Buffer, pieceBytes: number | undefined, pass: (piece: Buffer) => void): void {
  if (pieceBytes === undefined) return pass(chunk);
  for (let at = 0; at < chunk.byteLength; at += pieceBytes) pass(chunk.subarray(at, at + pieceBytes));
}
