/** An HTTP proxy in front of one server that misbehaves as real ones do; its modes may change while it runs. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type Clock, systemClock, type Timer } from "../clock.ts";

export interface BadProxyModes {
  /**
   * What becomes of an upgrade: "hang" never answers, "cut" ends the connection, "strip" passes an ordinary GET on. The
   * last three pass upgrade and answer on, and then nothing, or one direction only. Default "pass".
   */
  upgrade?:
    | "pass"
    | "hang"
    | "cut"
    | "strip"
    | "swallow"
    | "up-only"
    | "down-only"
    | { status: number; body?: string };
  /** What an open request over HTTP is answered with, instead of being passed on. */
  open?: { status: number; headers?: Record<string, string> };
  /** Bodies and the bytes of WebSockets are passed on in pieces of this many bytes, each in a turn of its own. */
  pieceBytes?: number;
  /** WebSockets are cut at the head of a larger message. */
  messageBytesMax?: number;
  /** A connection on which no byte has passed for so long is cut, by the proxy's clock. */
  idleCutMs?: number;
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
export async function badProxy(
  targetUrl: string,
  modes: BadProxyModes,
  clock: Clock = systemClock,
): Promise<BadProxy> {
  const url = new URL(targetUrl);
  const port = Number(url.port);
  const sockets = new Set<Socket>();
  const idle = new Map<Socket, Timer>();
  /** A byte has passed on this connection. */
  const passed = (socket: Socket) => {
    idle.get(socket)?.cancel();
    const { idleCutMs } = proxy.modes;
    if (idleCutMs !== undefined && !socket.destroyed)
      idle.set(
        socket,
        clock.setTimer(idleCutMs, () => socket.destroy()),
      );
  };
  const server = createServer((incoming, outgoing) =>
    forward(proxy, port, incoming, outgoing, () => passed(incoming.socket)),
  );
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    passed(socket);
    socket.on("close", () => {
      sockets.delete(socket);
      idle.get(socket)?.cancel();
      idle.delete(socket);
    });
    socket.on("error", () => undefined);
  });
  server.on("upgrade", (incoming: IncomingMessage, socket: Socket) => {
    proxy.upgrades += 1;
    upgrade(proxy, port, incoming, socket, sockets, () => passed(socket));
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
  { modes }: BadProxy,
  port: number,
  incoming: IncomingMessage,
  socket: Socket,
  sockets: Set<Socket>,
  passed: () => void,
): void {
  const mode = modes.upgrade ?? "pass";
  if (mode === "hang") return;
  if (mode === "cut") return void socket.destroy();
  if (typeof mode === "object") {
    const { status, body = "" } = mode;
    const head = `HTTP/1.1 ${status} No\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
    return void socket.end(`${head}${body}`);
  }
  const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
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
  const tooLarge = () => {
    socket.destroy();
    upstream.destroy();
  };
  const join = (from: Socket, to: Socket) => {
    const watch = messageWatch(modes, from === upstream, tooLarge);
    const pass = inPieces(modes, (piece) => to.write(piece));
    from.on("data", (chunk: Buffer) => {
      passed();
      watch(chunk);
      pass(chunk);
    });
    from.on("end", () => pass(undefined, () => to.end()));
  };
  if (mode === "swallow" || mode === "down-only") socket.resume();
  else join(socket, upstream);
  if (mode !== "swallow" && mode !== "up-only") return join(upstream, socket);
  // The answer to the upgrade passes, nothing after it.
  upstream.once("data", (head: Buffer) => {
    socket.write(head.subarray(0, head.indexOf("\r\n\r\n") + 4));
    upstream.resume();
  });
}

function forward(
  proxy: BadProxy,
  port: number,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  passed: () => void,
): void {
  const { modes } = proxy;
  const isPost = incoming.headers["revdial-tunnel"] !== undefined;
  if (isPost) proxy.posts += 1;
  passed();
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
    const down = inPieces(modes, (piece) => outgoing.write(piece));
    answer.on("data", (chunk: Buffer) => {
      passed();
      if (modes.buffers === true) held.push(chunk);
      else down(chunk);
    });
    answer.on("error", () => outgoing.destroy());
    answer.on("end", () => {
      passed();
      if (modes.buffers === true) outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      down(undefined, () => outgoing.end(Buffer.concat(held)));
    });
  });
  upstream.on("error", () => outgoing.destroy());
  outgoing.on("close", () => upstream.destroy());
  incoming.on("error", () => upstream.destroy());
  const up = inPieces(modes, (piece) => upstream.write(piece));
  incoming.on("data", (chunk: Buffer) => {
    passed();
    up(chunk);
  });
  incoming.on("end", () => up(undefined, () => upstream.end()));
}

/** Passes chunks on, cut as the mode says; `then` is called when everything before it has left. */
function inPieces(
  modes: BadProxyModes,
  pass: (piece: Buffer) => void,
): (chunk: Buffer | undefined, then?: () => void) => void {
  const waiting: (Buffer | (() => void))[] = [];
  const next = () => {
    const first = waiting.shift();
    if (typeof first === "function") first();
    else if (first !== undefined) {
      const bytes = modes.pieceBytes ?? first.byteLength;
      pass(first.subarray(0, bytes));
      if (bytes < first.byteLength) waiting.unshift(first.subarray(bytes));
    }
    // Two pieces in one turn would arrive as one.
    if (waiting.length > 0) setImmediate(next);
  };
  return (chunk, then) => {
    if (modes.pieceBytes === undefined && waiting.length === 0) {
      if (chunk) pass(chunk);
      return then?.();
    }
    const idle = waiting.length === 0;
    if (chunk) waiting.push(chunk);
    if (then) waiting.push(then);
    if (idle) next();
  };
}

/** Reads the frames of one direction (RFC 6455 section 5.2), behind the answer to the upgrade where that comes first. */
function messageWatch(
  { messageBytesMax }: BadProxyModes,
  answerFirst: boolean,
  tooLarge: () => void,
): (chunk: Buffer) => void {
  if (messageBytesMax === undefined) return () => undefined;
  let held = Buffer.alloc(0);
  let inAnswer = answerFirst;
  let skipBytes = 0;
  let messageBytes = 0;
  return (chunk) => {
    held = Buffer.concat([held, chunk]);
    if (inAnswer) {
      const end = held.indexOf("\r\n\r\n");
      if (end < 0) return;
      held = held.subarray(end + 4);
      inAnswer = false;
    }
    for (;;) {
      const skipped = Math.min(skipBytes, held.byteLength);
      held = held.subarray(skipped);
      skipBytes -= skipped;
      if (skipBytes > 0 || held.byteLength < 2) return;
      const [first = 0, second = 0] = held;
      const short = second & 0x7f;
      const headBytes = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
      if (held.byteLength < headBytes) return;
      const bytes =
        short === 126 ? held.readUInt16BE(2) : short === 127 ? Number(held.readBigUInt64BE(2)) : short;
      const opcode = first & 0x0f;
      // Control frames may come between the fragments of a message.
      if (opcode < 8) messageBytes = (opcode === 0 ? messageBytes : 0) + bytes;
      if (messageBytes > messageBytesMax) return tooLarge();
      held = held.subarray(headBytes);
      skipBytes = bytes + (second & 0x80 ? 4 : 0);
    }
  };
}
