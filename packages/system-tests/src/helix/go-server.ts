/**
 * A scripted control plane of Helix, on bare sockets: its checks, its control lines at its times, one pick-up for each request. For
 * clients that are to work with the original.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Clock, Timer } from "revdial";
import { Changes } from "./changes.ts";
import {
  acceptOf,
  closePayload,
  encodeFrame,
  type Frame,
  FrameReader,
  type HttpHead,
  httpHead,
  opcodes,
} from "./frames.ts";
import { type HelixAccess, helixVerdict } from "./go-server-checks.ts";
import { HelixData } from "./go-server-data.ts";

export interface GoServerOptions extends Partial<Omit<HelixAccess, "isDialer">> {
  runnerToken: string;
  clock: Clock;
  /** `revdial.req` in connPath, as since 2026-05. Default true. */
  requestIds?: boolean;
  /** A keep-alive after each conn-ready, which says nothing. Default true, as the original. */
  keepAliveAfterDial?: boolean;
  /** Default 18,000. */
  keepAliveMs?: number;
  /** Default 15,000; 0: none, as in 2025. */
  pingMs?: number;
  /** Of dialer and request ids. */
  randomBytes?: (size: number) => Buffer;
}

/** What left on control, as it left. */
export interface Sent {
  atMs: number;
  bytes: Buffer;
}

export interface HelixRequest {
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

export interface HelixResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** The client said that it could not pick up. */
export class PickupFailed extends Error {}

interface Waiting {
  requestId: string | undefined;
  done: PromiseWithResolvers<HelixData>;
}

const REQUEST_ID = /revdial\.req=([0-9a-f]+)/;

/** One control connection. */
export class HelixControl {
  readonly key: string;
  readonly dialerId: string;
  readonly waiting: Waiting[] = [];
  /** Frames of the client, as they came; of the variant without WebSocket, nothing. */
  readonly heard: Frame[] = [];
  /** What it said. */
  readonly lines: string[] = [];
  readonly closed: Promise<unknown>;
  readonly socket: Socket;
  private readonly server: GoServer;
  private readonly hijack: boolean;
  private readonly frames = new FrameReader();
  private readonly timers: Timer[] = [];

  constructor(server: GoServer, socket: Socket, key: string, dialerId: string, hijack: boolean) {
    this.server = server;
    this.socket = socket;
    this.key = key;
    this.dialerId = dialerId;
    this.hijack = hijack;
    this.closed = once(socket, "close");
  }

  start(early: Buffer): void {
    const { keepAliveMs, pingMs } = this.server.options;
    this.socket.on("data", (bytes: Buffer) => this.arrived(bytes));
    if (early.length > 0) this.arrived(early);
    this.sendLine({ command: "keep-alive" });
    this.repeat(keepAliveMs, () => this.sendLine({ command: "keep-alive" }));
    if (pingMs > 0 && !this.hijack) this.repeat(pingMs, () => this.sendFrame(opcodes.ping));
    this.socket.once("close", () => {
      for (const timer of this.timers) timer.cancel();
      for (const { done } of this.waiting.splice(0)) done.reject(new Error("no connection"));
    });
  }

  /** In Go's spelling, in one frame and one write. */
  sendLine(message: object): void {
    this.sendText(`${JSON.stringify(message).replaceAll("&", "\\u0026")}\n`);
  }

  sendText(text: string): void {
    if (this.hijack) this.send(Buffer.from(text));
    else this.sendFrame(opcodes.binary, Buffer.from(text));
  }

  sendFrame(opcode: number, payload?: Buffer): void {
    this.send(encodeFrame({ opcode, ...(payload && { payload }) }));
  }

  /** Bytes as they are. */
  send(bytes: Buffer): void {
    this.server.sent.push({ atMs: this.server.options.clock.now(), bytes });
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** A close frame first, as a restart in order has it. */
  close(code: number): void {
    this.sendFrame(opcodes.close, closePayload(code));
    this.socket.end();
  }

  private repeat(ms: number, run: () => void): void {
    const again = () => {
      run();
      this.timers.push(this.server.options.clock.setTimer(ms, again));
    };
    this.timers.push(this.server.options.clock.setTimer(ms, again));
  }

  private arrived(bytes: Buffer): void {
    for (const frame of this.frames.push(bytes)) {
      this.heard.push(frame);
      if (frame.opcode === opcodes.ping) this.sendFrame(opcodes.pong, frame.payload);
      else if (frame.opcode === opcodes.close) this.socket.end();
      else if (frame.opcode === opcodes.text) this.socket.destroy();
      else if (frame.opcode === opcodes.binary) this.onLine(frame.payload.toString());
    }
    this.server.changes.changed();
  }

  private onLine(line: string): void {
    this.lines.push(line);
    const { command, connPath = "", err } = JSON.parse(line) as Record<string, string>;
    if (command !== "pickup-failed") return;
    const requestId = REQUEST_ID.exec(connPath)?.[1];
    this.take(requestId)?.done.reject(new PickupFailed(err));
  }

  /** Whom a pick-up is for: by its id, or whoever waits. */
  take(requestId: string | undefined): Waiting | undefined {
    const at = requestId === undefined ? 0 : this.waiting.findIndex((dial) => dial.requestId === requestId);
    return this.waiting.splice(at, at < 0 ? 0 : 1)[0];
  }
}

type Settled = Required<GoServerOptions>;

export class GoServer {
  readonly options: Settled;
  readonly url: string;
  readonly changes = new Changes();
  /** Control frames of all connections. */
  readonly sent: Sent[] = [];
  /** Heads of all requests, refused ones too. */
  readonly requests: HttpHead[] = [];
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly controls = new Map<string, HelixControl>();
  private readonly dialers = new Map<string, HelixControl>();
  private readonly datas = new Set<HelixData>();

  private constructor(server: Server, options: Settled) {
    this.server = server;
    this.options = options;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket) => this.onConnection(socket));
  }

  static async listen(options: GoServerOptions): Promise<GoServer> {
    const server = createServer({ noDelay: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new GoServer(server, {
      apiKeys: {},
      sessions: {},
      mounts: "api",
      requestIds: true,
      keepAliveAfterDial: true,
      keepAliveMs: 18_000,
      pingMs: 15_000,
      randomBytes,
      ...options,
    });
  }

  until(holds: (server: this) => boolean): Promise<void> {
    return this.changes.until(() => holds(this));
  }

  /** The latest of this key; an older one lives on, and is forgotten. */
  control(key: string): HelixControl | undefined {
    return this.controls.get(key);
  }

  get dataConnections(): number {
    return this.datas.size;
  }

  /** Rejects with PickupFailed, or when there is no connection. */
  async dial(key: string): Promise<HelixData> {
    const control = this.controls.get(key);
    if (control === undefined) throw new Error("no connection");
    const { requestIds, keepAliveAfterDial } = this.options;
    const requestId = requestIds ? this.options.randomBytes(16).toString("hex") : undefined;
    const done = Promise.withResolvers<HelixData>();
    control.waiting.push({ requestId, done });
    const query = requestId === undefined ? "" : `&revdial.req=${requestId}`;
    control.sendLine({
      command: "conn-ready",
      connPath: `/revdial?revdial.dialer=${control.dialerId}${query}`,
    });
    if (keepAliveAfterDial) control.sendLine({ command: "keep-alive" });
    return done.promise;
  }

  /** One request on a connection of its own, which is closed after the answer. */
  async request(
    key: string,
    { method = "GET", path, headers = {}, body }: HelixRequest,
  ): Promise<HelixResponse> {
    const data = await this.dial(key);
    try {
      const request = httpRequest({
        createConnection: () => data,
        method,
        path,
        headers: {
          host: "localhost",
          "user-agent": "Go-http-client/1.1",
          connection: "keep-alive",
          ...headers,
        },
      });
      request.end(body);
      const [response] = await once(request, "response");
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
    } finally {
      data.destroy();
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private onConnection(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => {
      this.sockets.delete(socket);
      this.changes.changed();
    });
    let heard: Buffer = Buffer.alloc(0);
    const onData = (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes]);
      const head = httpHead(heard);
      if (head === undefined) return;
      socket.off("data", onData);
      this.onRequest(socket, head, heard.subarray(head.bytes));
      this.changes.changed();
    };
    socket.on("data", onData);
  }

  private onRequest(socket: Socket, head: HttpHead, early: Buffer): void {
    this.requests.push(head);
    const verdict = helixVerdict(head, { ...this.options, isDialer: (id) => this.dialers.has(id) });
    if (verdict.kind === "refused") return void socket.end(verdict.answer);
    const hijack = verdict.kind === "control" && verdict.hijack;
    const accept = acceptOf(head.fields.get("sec-websocket-key") ?? "");
    const answer = hijack
      ? ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"]
      : [
          "HTTP/1.1 101 Switching Protocols",
          "Upgrade: websocket",
          "Connection: Upgrade",
          `Sec-WebSocket-Accept: ${accept}`,
        ];
    socket.write(`${answer.join("\r\n")}\r\n\r\n`);
    if (verdict.kind === "data") return this.onPickUp(socket, verdict.dialerId, verdict.requestId, early);
    const dialerId = this.options.randomBytes(16).toString("hex");
    const control = new HelixControl(this, socket, verdict.key, dialerId, hijack);
    this.controls.set(verdict.key, control);
    this.dialers.set(dialerId, control);
    socket.once("close", () => {
      this.dialers.delete(dialerId);
      if (this.controls.get(control.key) === control) this.controls.delete(control.key);
    });
    control.start(early);
  }

  private onPickUp(socket: Socket, dialerId: string, requestId: string | undefined, early: Buffer): void {
    const waiting = this.dialers.get(dialerId)?.take(requestId);
    if (waiting === undefined) return void socket.destroy();
    const data = new HelixData(socket, early);
    this.datas.add(data);
    data.once("close", () => {
      this.datas.delete(data);
      this.changes.changed();
    });
    waiting.done.resolve(data);
  }
}
