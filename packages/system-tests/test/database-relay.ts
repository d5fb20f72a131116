/** A way to a database that a test can close, hold up and lead elsewhere: always at the same address. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class DatabaseRelay {
  private readonly host: string;
  /** Of the server behind; undefined: there is none. */
  private target: number | undefined;
  private server: Server | undefined;
  private port = 0;
  private readonly sockets = new Set<Socket>();
  private delayMs = 0;
  private held = false;

  /** Default: loopback. */
  constructor(host = "127.0.0.1") {
    this.host = host;
  }

  async open(): Promise<void> {
    if (this.server !== undefined) return;
    const server = createServer((near) => this.pass(near));
    server.listen(this.port, this.host);
    await once(server, "listening");
    this.port = (server.address() as { port: number }).port;
    this.server = server;
  }

  /** The URL of a database behind, as it is reached through here. */
  async to(url: string): Promise<string> {
    const through = new URL(url);
    this.target = Number(through.port);
    await this.open();
    through.hostname = this.host;
    through.port = String(this.port);
    return through.href;
  }

  /** Nobody listens any more, and what is open is cut. */
  async close(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  /** Each piece of each answer comes so much later. */
  delay(ms: number): void {
    this.delayMs = ms;
  }

  /** Takes everything and passes nothing on, as a network does that drops packets; or passes it on at last. */
  hold(held: boolean): void {
    this.held = held;
    for (const socket of this.sockets)
      if (held) socket.pause();
      else socket.resume();
  }

  private pass(near: Socket): void {
    if (this.target === undefined) return void near.destroy();
    const far = connect(this.target, "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(one);
      one
        .on("error", () => undefined)
        .on("close", () => {
          this.sockets.delete(one);
          other.destroy();
        });
      one.on("data", (bytes: Buffer) => {
        if (one === near || this.delayMs === 0) other.write(bytes);
        else setTimeout(() => other.destroyed || other.write(bytes), this.delayMs);
      });
      if (this.held) one.pause();
    }
  }
}
