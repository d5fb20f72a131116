/** One upgrade as a front answers it: a pipe after the backend's 101, an ordinary answer otherwise. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";
import type { DispatchController, DispatchHandler } from "../dispatching.ts";
import type { HeaderList } from "../head.ts";
import { type FieldObject, pairs, pairsOf } from "./fields.ts";
import type { HttpFrontOptions } from "./front.ts";
import { Answer, cutAnswers, dropRest } from "./front-answer.ts";
import { joinSockets } from "./join.ts";

/** Bytes that a client may say before it knows the answer; with more it has to wait. */
const EARLY_BYTES_MAX = 64 * 1024;
/** Milliseconds of silence after a refusal until its connection is cut. */
const LINGER_MS = 1000;
/** Of a head that is said once more. Whoever read it first had a limit of its own, and the tunnel has one. */
const HEAD_BYTES_MAX = 64 * 1024;

/**
 * Whether to pass an upgrade on. A server may ignore it, and must in HTTP/1.0 (RFC 9110 §7.8). HTTP/2 is not spoken here, and a
 * byte stream has neither a body before it nor a choice of protocols.
 */
export function isPassedOn({ httpVersion, headers }: IncomingMessage): boolean {
  const { upgrade = "", "content-length": length, "transfer-encoding": coding } = headers;
  const bodiless = coding === undefined && (length === undefined || length === "0");
  return bodiless && httpVersion === "1.1" && !upgrade.includes(",") && upgrade.toLowerCase() !== "h2c";
}

/**
 * True when an earlier request on the connection has no whole answer yet. node:http has let go of the connection, so that nothing
 * drives that answer any more, and nothing orders it and ours: the connection is cut.
 */
export function isCut(socket: Duplex): boolean {
  if (!(socket as { _httpMessage?: unknown })._httpMessage) return false;
  cutAnswers(socket);
  return true;
}

/**
 * Runs requests whose upgrade is ignored. node:http has taken their connection apart already, so their head is said once more,
 * without `Upgrade`, to a server that listens nowhere. It takes that one request: what follows would belong to the server the
 * connection has come to, which may treat it in another way.
 */
export class IgnoredUpgrades {
  private readonly server: Server;
  private readonly urls = new WeakMap<Duplex, string>();

  constructor(listener: RequestListener) {
    const run: RequestListener = (request, response) => {
      response.shouldKeepAlive = false;
      request.url = this.urls.get(request.socket) ?? "/";
      listener(request, response);
    };
    this.server = createServer({ maxHeaderSize: HEAD_BYTES_MAX }, run).on("checkContinue", run);
    this.server.maxRequestsPerSocket = 1;
  }

  run(request: IncomingMessage, socket: Duplex, rest: Buffer): void {
    // Not the URL: routers rewrite it, and what they put there need not fit into a line.
    if (request.url !== undefined) this.urls.set(socket, request.url);
    let head = `${request.method} / HTTP/${request.httpVersion}\r\n`;
    for (const [name, value] of pairs(request.rawHeaders))
      if (name.toLowerCase() !== "upgrade") head += `${name}: ${value}\r\n`;
    socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), rest]));
    this.server.emit("connection", socket);
  }
}

export class UpgradeAnswer implements DispatchHandler {
  private readonly request: IncomingMessage;
  private readonly socket: Duplex;
  private readonly options: HttpFrontOptions;
  /** What the client says before it knows the answer: held until the 101, dropped without one. */
  private readonly early: Buffer[] = [];
  private earlyBytes = 0;
  private ordinary: Answer | undefined;
  private over = false;

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer, options: HttpFrontOptions) {
    this.request = request;
    this.socket = socket;
    this.options = options;
    if (head.length > 0) this.hold(head);
    // Who does not read does not notice that the other has gone.
    socket.on("data", this.hold).on("end", this.left);
  }

  private readonly hold = (chunk: Buffer): void => {
    this.early.push(chunk);
    this.earlyBytes += chunk.byteLength;
    if (this.earlyBytes > EARLY_BYTES_MAX) this.socket.pause();
  };

  /** Who has said something may have said all, and still listen. Who ends without a word is gone. */
  private readonly left = (): void => {
    if (this.earlyBytes === 0) this.socket.destroy();
  };

  private decided(): void {
    this.over = true;
    this.socket.off("data", this.hold).off("end", this.left);
  }

  onRequestStart(controller: DispatchController): void {
    this.socket.once("close", () => {
      if (!this.over) controller.abort(new Error("the client is gone"));
    });
  }

  onRequestUpgrade(
    _controller: DispatchController,
    _status: number,
    headers: FieldObject,
    backend: Duplex,
  ): void {
    this.decided();
    const { socket } = this;
    if (socket.destroyed) return void backend.destroy();
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n";
    for (const [name, value] of pairsOf({ upgrade: this.request.headers.upgrade ?? "", ...headers }))
      if (name !== "connection") head += `${name}: ${value}\r\n`;
    socket.write(`${head}\r\n`, "latin1");
    for (const chunk of this.early) backend.write(chunk);
    joinSockets(socket, backend);
  }

  onResponseStart(controller: DispatchController, status: number, headers: FieldObject): void {
    this.onResponseFields(controller, status, pairsOf(headers));
  }

  onResponseFields(controller: DispatchController, status: number, headers: HeaderList): void {
    if (status < 200) return;
    this.answer(controller).onResponseFields(controller, status, headers);
  }

  onResponseData(controller: DispatchController, chunk: Buffer): void {
    this.answer(controller).onResponseData(controller, chunk);
  }

  onResponseEnd(controller: DispatchController, trailers: FieldObject): void {
    this.answer(controller).onResponseEnd(controller, trailers);
  }

  onResponseError(controller: DispatchController, error: Error): void {
    if (!this.over || this.ordinary) this.answer(controller).onResponseError(controller, error);
  }

  /** No upgrade: an ordinary response on a connection that ends with it, since what follows on it is in doubt. */
  private answer(controller: DispatchController): Answer {
    if (this.ordinary) return this.ordinary;
    this.decided();
    const { socket } = this;
    const response = new ServerResponse(this.request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    response.once("finish", () => {
      socket.end();
      // A stream that is no socket has no such time, and ends by itself.
      response.socket?.setTimeout?.(LINGER_MS, () => socket.destroy());
    });
    dropRest(socket, socket);
    this.ordinary = new Answer(this.request, response, this.options);
    this.ordinary.onRequestStart(controller);
    return this.ordinary;
  }
}
