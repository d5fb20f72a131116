/**
 * A Helix control plane by hand, byte for byte: TCP and frames of its own, so that it can say what no WebSocket library would. It
 * takes pick-ups on the API's mount only, as the original does, and answers one that it does not wait for as the original does.
 */
import { createHash, randomBytes } from "node:crypto";
import type { AddressInfo, Socket } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { createServer as createTlsServer } from "node:tls";

/** First bytes of frames. */
export const FIN = 0x80;
export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One frame of a server, unmasked. */
export function serverFrame(first: number, payload: Uint8Array | string): Buffer {
  const body = Buffer.from(payload as Uint8Array);
  const short = body.length < 126;
  const head = Buffer.alloc(short ? 2 : body.length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = short ? body.length : body.length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(body.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

export const binary = (payload: Uint8Array | string) => serverFrame(FIN | opcodes.binary, payload);
export const KEEP_ALIVE = '{"command":"keep-alive"}\n';
export const closeFrame = (code: number, reason = "") =>
  serverFrame(
    FIN | opcodes.close,
    Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]),
  );

/** What a client asked to upgrade. */
export interface Asked {
  path: string;
  headers: Record<string, string>;
}

export interface Answer {
  status: number;
  body?: string;
  headers?: Record<string, string>;
}

interface Frame {
  opcode: number;
  fin: boolean;
  payload: Buffer;
}

/** Looks again whenever something has come. */
class Watched {
  private readonly looks = new Set<() => void>();

  tell(): void {
    for (const look of [...this.looks]) look();
  }

  /** Resolves to what `find` finds, once it does. */
  until<Found>(find: () => Found | undefined): Promise<Found> {
    return new Promise((resolve) => {
      const look = () => {
        const found = find();
        if (found === undefined) return;
        this.looks.delete(look);
        resolve(found);
      };
      this.looks.add(look);
      look();
    });
  }
}

/** A WebSocket of which the server's half is spoken by hand. Pings are answered, closes as well. */
class ByHand extends Watched {
  readonly asked: Asked;
  readonly socket: Socket;
  /** Every frame that came, in order. */
  readonly frames: Frame[] = [];
  /** Whether pings are answered. */
  polite = true;
  /** The code of the client's close frame; 1006 when the connection ended without one. */
  readonly closed: Promise<number>;
  over = false;
  private rest = Buffer.alloc(0);

  constructor(asked: Asked, socket: Socket, early: Buffer) {
    super();
    this.asked = asked;
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        const close = this.frames.find(({ opcode }) => opcode === opcodes.close);
        this.over = true;
        this.tell();
        resolve(close !== undefined && close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1006);
      });
    });
    socket.on("data", (bytes: Buffer) => this.take(bytes));
    // In a later turn: whoever gets this one has to be able to listen first.
    if (early.length > 0) setImmediate(() => this.take(early));
  }

  /** Raw bytes, in one write. */
  say(...parts: Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  private take(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (let frame = this.next(); frame !== undefined; frame = this.next()) {
      this.frames.push(frame);
      if (frame.opcode === opcodes.ping && this.polite)
        this.say(serverFrame(FIN | opcodes.pong, frame.payload));
      if (frame.opcode === opcodes.close) {
        this.say(serverFrame(FIN | opcodes.close, frame.payload));
        this.socket.end();
      }
      this.heard(frame);
    }
    this.tell();
  }

  protected heard(_frame: Frame): void {}

  private next(): Frame | undefined {
    const [first, second] = this.rest;
    if (first === undefined || second === undefined) return undefined;
    if ((second & 0x80) === 0) throw new Error("a client's frame is not masked");
    const short = second & 0x7f;
    const at = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (this.rest.length < at + 4) return undefined;
    const length =
      short === 126
        ? this.rest.readUInt16BE(2)
        : short === 127
          ? Number(this.rest.readBigUInt64BE(2))
          : short;
    const end = at + 4 + length;
    if (this.rest.length < end) return undefined;
    const mask = this.rest.subarray(at, at + 4);
    const payload = Buffer.from(
      this.rest.subarray(at + 4, end).map((byte, i) => byte ^ (mask[i % 4] as number)),
    );
    this.rest = this.rest.subarray(end);
    return { opcode: first & 0x0f, fin: (first & FIN) !== 0, payload };
  }
}

export interface PickupFailed {
  command: string;
  connPath: string;
  err: string;
}

export interface ReadyOptions {
  /** As servers before 2026-05 did: without `revdial.req`. */
  plain?: boolean;
  /** Instead of `/revdial`. */
  path?: string;
}

/** The control connection of one client. */
export class Control extends ByHand {
  /** 16 random bytes, as the original's. */
  readonly dialer = randomBytes(16).toString("hex");
  /** JSON lines of the client. */
  readonly lines: PickupFailed[] = [];
  private text = "";

  protected override heard({ opcode, payload }: Frame): void {
    if (opcode !== opcodes.binary && opcode !== opcodes.continuation) return;
    this.text += payload.toString();
    const lines = this.text.split("\n");
    this.text = lines.pop() ?? "";
    this.lines.push(...lines.map((line) => JSON.parse(line) as PickupFailed));
  }

  keepAlive(): void {
    this.say(binary(KEEP_ALIVE));
  }

  /** A place for a pick-up, and the line that asks for it, with `&` as Go's encoder writes it. */
  ready({ plain = false, path = "/revdial" }: ReadyOptions = {}): { connPath: string; line: string } {
    const request = plain ? "" : `&revdial.req=${randomBytes(16).toString("hex")}`;
    const connPath = `${path}?revdial.dialer=${this.dialer}${request}`;
    const line = JSON.stringify({ command: "conn-ready", connPath }).replaceAll("&", "\\u0026");
    return { connPath, line: `${line}\n` };
  }

  /** What the client says of this place. */
  failure(connPath: string): Promise<PickupFailed> {
    return this.until(() => this.lines.find((line) => line.connPath === connPath));
  }

  pings(): number {
    return this.frames.filter(({ opcode }) => opcode === opcodes.ping).length;
  }
}

/** A data connection: one stream of bytes. */
export class Data extends ByHand {
  /** Everything that came, as text of one byte a character. */
  text = "";

  protected override heard({ opcode, payload }: Frame): void {
    if (opcode === opcodes.binary || opcode === opcodes.continuation) this.text += payload.toString("latin1");
  }

  send(text: string): void {
    this.say(binary(Buffer.from(text, "latin1")));
  }

  /** As Go's library sends: one message in frames of 4,096 bytes, the last of which ends it. */
  sendFragmented(bytes: Buffer, frameBytes = 4096): void {
    const frames: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += frameBytes) {
      const first = at === 0 ? opcodes.binary : opcodes.continuation;
      const last = at + frameBytes >= bytes.length ? FIN : 0;
      frames.push(serverFrame(first | last, bytes.subarray(at, at + frameBytes)));
    }
    this.say(...frames);
  }

  /** One exchange of HTTP/1.1: the answer's head and body, once it is whole. */
  async ask(method: string, path: string, body = "", fields: readonly string[] = []): Promise<HttpAnswer> {
    const from = this.text.length;
    const length = body === "" && method === "GET" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const head = [`${method} ${path} HTTP/1.1`, "Host: localhost", ...length, ...fields].join("\r\n");
    this.send(`${head}\r\n\r\n${Buffer.from(body).toString("latin1")}`);
    return this.answer(from);
  }

  /** The answer that begins at this character of `text`. Rejects when the connection ends before. */
  async answer(from = 0): Promise<HttpAnswer> {
    const found = await this.until(
      () => readAnswer(this.text.slice(from)) ?? (this.over ? "cut" : undefined),
    );
    if (found === "cut") throw new Error(`the connection ended before the answer: ${this.text.slice(from)}`);
    return found;
  }

  /** A raw TCP close without a close frame, as Go's side does it. */
  cut(): void {
    this.socket.destroy();
  }
}

export interface HttpAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

function readAnswer(text: string): HttpAnswer | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const { line, headers } = readHead(text.slice(0, end));
  const status = Number(line.split(" ")[1]);
  const body = text.slice(end + 4);
  const length = Number(headers["content-length"] ?? Number.NaN);
  if (Number.isNaN(length)) {
    if (headers["transfer-encoding"] !== "chunked") throw new Error(`an answer without a length: ${text}`);
    return body.endsWith("0\r\n\r\n") ? { status, headers, body } : undefined;
  }
  return body.length < length ? undefined : { status, headers, body: body.slice(0, length) };
}

function readHead(head: string): { line: string; headers: Record<string, string> } {
  const [line = "", ...fields] = head.split("\r\n");
  const headers = fields.map((field) => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
  });
  return { line, headers: Object.fromEntries(headers) };
}

export interface HelixServerOptions {
  /** Makes it speak TLS. */
  tls?: { cert: string; key: string };
  /** What stands before `/api/v1/revdial`. */
  prefix?: string;
  /** Says `keep-alive` at once, as the original does. Default true. */
  greets?: boolean;
  /** Ports of a server of before. */
  port?: number;
}

export class HelixServer extends Watched {
  url = "";
  /** Every request, upgrades or not, in order. */
  readonly requests: Asked[] = [];
  readonly controls: Control[] = [];
  /** Data connections that were waited for. */
  readonly datas: Data[] = [];
  /** Answers such requests so instead. */
  refuse: (asked: Asked) => Answer | "hang" | undefined = () => undefined;
  /** Places that are waited for, by their connPath's query. */
  private readonly awaited = new Map<string, (data: Data) => void>();
  private readonly sockets = new Set<Socket>();
  private readonly options: HelixServerOptions;
  private readonly server;
  private taken = 0;

  constructor(options: HelixServerOptions = {}) {
    super();
    this.options = options;
    const connected = (socket: Socket) => this.connected(socket);
    this.server = options.tls ? createTlsServer(options.tls, connected) : createTcpServer(connected);
    this.server.on("tlsClientError", () => undefined);
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(this.options.port ?? 0, "127.0.0.1", resolve));
    const { port } = this.server.address() as AddressInfo;
    this.url = `${this.options.tls ? "https" : "http"}://127.0.0.1:${port}`;
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  /** The next control connection that nobody has got yet. */
  async control(): Promise<Control> {
    const control = await this.until(() => this.controls[this.taken]);
    this.taken += 1;
    return control;
  }

  /** Waits for a pick-up at this place. */
  awaitPickup(connPath: string): Promise<Data> {
    return new Promise((resolve) => this.awaited.set(connPath.split("?")[1] ?? "", resolve));
  }

  /** What the original does for one request of its own: asks, and waits for the pick-up or its failure. */
  async dial(control: Control, options: ReadyOptions = {}): Promise<Data> {
    const { connPath, line } = control.ready(options);
    const data = this.awaitPickup(connPath);
    const failed = control.failure(connPath);
    control.say(binary(line));
    return Promise.race([
      data,
      failed.then(({ err }) => {
        throw new Error(`pickup-failed: ${err}`);
      }),
    ]);
  }

  private connected(socket: Socket): void {
    this.sockets.add(socket);
    socket.once("close", () => this.sockets.delete(socket)).on("error", () => undefined);
    let head = Buffer.alloc(0);
    const read = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", read);
      const { line, headers } = readHead(head.subarray(0, end).toString("latin1"));
      this.asked({ path: line.split(" ")[1] ?? "", headers }, socket, head.subarray(end + 4));
    };
    socket.on("data", read);
  }

  private asked(asked: Asked, socket: Socket, early: Buffer): void {
    this.requests.push(asked);
    this.tell();
    const refused = this.refuse(asked) ?? this.misplaced(asked);
    if (refused === "hang") return;
    if (refused !== undefined) return answer(socket, refused);
    const key = asked.headers["sec-websocket-key"] ?? "";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const query = asked.path.split("?")[1] ?? "";
    const waiting = this.awaited.get(query);
    if (waiting === undefined) return this.controlled(new Control(asked, socket, early));
    this.awaited.delete(query);
    const data = new Data(asked, socket, early);
    this.datas.push(data);
    waiting(data);
    this.tell();
  }

  private controlled(control: Control): void {
    this.controls.push(control);
    if (this.options.greets ?? true) control.keepAlive();
    this.tell();
  }

  /** Only the API is mounted: what is elsewhere falls to the frontend. */
  private misplaced({ path, headers }: Asked): Answer | undefined {
    const [where, query = ""] = path.split("?");
    if (where !== `${this.options.prefix ?? ""}/api/v1/revdial`)
      return { status: where === "/revdial" ? 502 : 404, body: "frontend" };
    if (headers.upgrade === undefined) return { status: 400, body: "no upgrade" };
    if (!query.includes("revdial.dialer=") || this.awaited.has(query)) return undefined;
    const body = '{"status_code":500,"code":"INTERNAL_SERVER_ERROR","message":"unknown dialer"}';
    return { status: 500, body, headers: { "content-type": "application/json" } };
  }
}

function answer(socket: Socket, { status, body = "", headers = {} }: Answer): void {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} No\r\n${fields.join("")}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
