/** HTTP spoken by hand, byte for byte: clients and origins that no HTTP library would play. */
import { connect, createServer, type Server, type Socket } from "node:net";

const connections = new WeakMap<Server, Set<Socket>>();

/** A server that answers each request head, once it is whole, as it is told. What follows a head is not looked at. */
export function rawOrigin(answer: (socket: Socket, head: string) => void): Server {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => undefined);
    let heard = "";
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      for (let end = heard.indexOf("\r\n\r\n"); end >= 0; end = heard.indexOf("\r\n\r\n")) {
        const head = heard.slice(0, end);
        heard = heard.slice(end + 4);
        if (/^[A-Z-]+ \S+ HTTP/.test(head)) answer(socket, head);
      }
    });
  });
  connections.set(server, open);
  return server;
}

export async function stopRawOrigin(server: Server): Promise<void> {
  for (const socket of connections.get(server) ?? []) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** A client's connection, and everything it has heard. */
export class RawClient {
  readonly socket: Socket;
  heard = "";
  readonly closed: Promise<unknown>;
  private wake: () => void = () => undefined;

  constructor(port: number, ...said: string[]) {
    this.socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("error", () => undefined);
    this.socket.on("data", (chunk) => {
      this.heard += chunk.toString("latin1");
      this.wake();
    });
    this.socket.on("end", () => this.wake()).on("close", () => this.wake());
    for (const text of said) this.say(text);
  }

  say(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** What was heard, once it matches or the far end has ended. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.heard) && !this.socket.readableEnded && !this.socket.destroyed)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    return this.heard;
  }

  /** Everything until the far end ends. */
  rest(): Promise<string> {
    return this.until(/(?!)/);
  }
}

export const ok = (body = "ok") => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

export const get = (path = "/", ...fields: string[]) =>
  `GET ${path} HTTP/1.1\r\n${["Host: a", ...fields].join("\r\n")}\r\n\r\n`;
