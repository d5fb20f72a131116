/**
 * Node's HTTP server in front of a dispatcher: what a gateway needs to put a tunnel (or any undici dispatcher) behind a URL.
 * Aborts travel both ways, 1xx and trailers arrive, an event stream is passed on as it comes, an upgrade is a pipe after
 * the backend's 101 and an ordinary answer otherwise.
 */
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { DispatchController, DispatchHandler, DispatchOptions } from "../dispatcher.ts";
import { RevdialError } from "../errors.ts";
import { travellingHeaders } from "../head.ts";
import { joinSockets } from "./join.ts";

/** undici's dispatchers, and `tunnel.dispatcher(service)`. */
export interface Dispatching {
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean;
}

/** Bytes of a body up to which copying it into a string is cheaper than a second buffer. */
const ONE_WRITE_BYTES_MAX = 4096;

export interface HttpFrontOptions {
  /** Milliseconds an exchange may take (`deadlineMs`). Default: none. */
  deadlineMs?: number;
  /** Told of what went wrong behind us. Default: nobody. */
  onError?: (error: Error, request: IncomingMessage) => void;
}

export interface HttpFront {
  /** For `request` and for `checkContinue`: the backend decides about `Expect: 100-continue`. */
  request(request: IncomingMessage, response: ServerResponse): void;
  /** For `upgrade`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export function httpFront(dispatcher: Dispatching, options: HttpFrontOptions = {}): HttpFront {
  return {
    request(request, response) {
      const answer = new Answer(request, response, options);
      dispatcher.dispatch(dispatchOptions(request, bodyOf(request), options), answer);
    },
    upgrade(request, socket, head) {
      const answer = new UpgradeAnswer(request, socket, head, options);
      const upgrade = request.headers.upgrade ?? "";
      dispatcher.dispatch({ ...dispatchOptions(request, null, options), upgrade }, answer);
    },
  };
}

function dispatchOptions(
  request: IncomingMessage,
  body: IncomingMessage | null,
  { deadlineMs }: HttpFrontOptions,
): DispatchOptions {
  const { method = "GET", url = "/" } = request;
  const options: DispatchOptions = { path: url, method, headers: headersOf(request), body };
  if (deadlineMs !== undefined) options.deadlineMs = deadlineMs;
  if (body !== null) options.trailers = () => pairs(body.rawTrailers);
  return options;
}

/** Flat, as undici takes them, without what belongs to one hop. */
function headersOf({ rawHeaders }: IncomingMessage): string[] {
  const flat: string[] = [];
  for (const [name, value] of travellingHeaders(pairs(rawHeaders))) flat.push(name, value);
  return flat;
}

function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] as string, raw[i + 1] as string]);
  return list;
}

/** RFC 9112 §6.3: a request without Content-Length and Transfer-Encoding has no body. */
function bodyOf(request: IncomingMessage): IncomingMessage | null {
  const { "content-length": length, "transfer-encoding": coding } = request.headers;
  return coding === undefined && (length === undefined || length === "0") ? null : request;
}

/** Status for a failure on the way to the backend. */
function statusOf(error: Error): number {
  if (!(error instanceof RevdialError)) return 502;
  if (error.code === "DEADLINE") return 504;
  if (error.code === "HEAD_INVALID") return 400;
  if (error.code === "HEAD_TOO_LARGE") return 431;
  return error.sent === "not-sent" ? 503 : 502;
}

interface ResponseHead {
  status: number;
  headers: Record<string, string | string[]>;
}

/** One response as it comes. */
class Answer implements DispatchHandler {
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly options: HttpFrontOptions;
  private controller: DispatchController | undefined;
  /** Head and first bytes wait for the end of this turn: a small answer then leaves in one write, with its length. */
  private head: ResponseHead | undefined;
  private first: Buffer | undefined;
  private done = false;

  constructor(request: IncomingMessage, response: ServerResponse, options: HttpFrontOptions) {
    this.request = request;
    this.response = response;
    this.options = options;
    response.on("close", () => this.closed());
  }

  private closed(): void {
    if (!this.done) this.controller?.abort(new Error("the client is gone"));
  }

  onRequestStart(controller: DispatchController): void {
    this.controller = controller;
    if (this.response.destroyed) this.closed();
  }

  onResponseStart(
    _controller: DispatchController,
    status: number,
    headers: Record<string, string | string[]>,
  ): void {
    const { response } = this;
    if (this.done || response.destroyed) return;
    if (status === 100) return response.writeContinue();
    if (status === 103) return response.writeEarlyHints(headers);
    if (status < 200) return; // Node has no way to say the others.
    for (const name of hopFields) delete headers[name];
    this.head = { status, headers };
    flushAfterTurn(this);
  }

  /** Called once the turn is over in which the head came. */
  flush(): void {
    const { head, first, response } = this;
    if (head === undefined || response.destroyed) return;
    this.head = undefined;
    this.first = undefined;
    if (!this.begin(head)) return;
    if (first) this.write(first);
    else response.flushHeaders();
  }

  onResponseData(_controller: DispatchController, chunk: Buffer): void {
    if (this.head && this.first === undefined) {
      this.first = chunk;
      return;
    }
    this.flush();
    this.write(chunk);
  }

  private write(chunk: Buffer): void {
    if (this.response.write(chunk) || this.response.destroyed) return;
    this.controller?.pause();
    this.response.once("drain", () => this.controller?.resume());
  }

  onResponseEnd(_controller: DispatchController, trailers: Record<string, string | string[]>): void {
    if (this.done) return;
    this.done = true;
    const { response, head } = this;
    if (response.destroyed) return;
    const named = Object.keys(trailers);
    if (named.length > 0) {
      // Trailers need chunks.
      if (head) delete head.headers["content-length"];
      this.flush();
      for (const name of named) response.addTrailers({ [name]: String(trailers[name]) });
      response.end();
    } else if (head) this.answerWhole(head);
    else response.end();
  }

  /** False when Node does not take this head: the client and the backend are told. */
  private begin({ status, headers }: ResponseHead): boolean {
    try {
      this.response.writeHead(status, headers);
      return true;
    } catch (error) {
      this.fail(error as Error);
      this.controller?.abort(error as Error);
      return false;
    }
  }

  /** The end has come before anything has left. */
  private answerWhole({ status, headers }: ResponseHead): void {
    const { request, response, first } = this;
    this.head = undefined;
    this.first = undefined;
    const silent = request.method === "HEAD" || status === 204 || status === 304;
    if (!silent) headers["content-length"] ??= String(first?.length ?? 0);
    if (!this.begin({ status, headers })) return;
    if (first === undefined) response.end();
    // As text, Node writes head and body with one system call instead of two buffers.
    else if (first.length <= ONE_WRITE_BYTES_MAX) response.end(first.toString("latin1"), "latin1");
    else response.end(first);
  }

  onResponseError(_controller: DispatchController, error: Error): void {
    if (!this.done) this.fail(error);
  }

  private fail(error: Error): void {
    this.done = true;
    const { response } = this;
    this.options.onError?.(error, this.request);
    // Cut, not ended: the client must see that the body is not whole. A head that still waits is as good as none.
    this.head = undefined;
    if (response.headersSent || response.destroyed) return void response.destroy();
    answerError(response, error);
  }
}

/** Answers whose head came in this turn: it has to leave at its end, however long the first event of a stream takes. */
let begun: Answer[] = [];

function flushAfterTurn(answer: Answer): void {
  if (begun.length === 0) setImmediate(flushBegun);
  begun.push(answer);
}

function flushBegun(): void {
  const answers = begun;
  begun = [];
  for (const answer of answers) answer.flush();
}

const hopFields = ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"] as const;

function answerError(response: ServerResponse, error: Error): void {
  const code = error instanceof RevdialError ? error.code : "UPSTREAM";
  response.writeHead(statusOf(error), { "content-type": "text/plain; charset=utf-8" });
  response.end(`${code}\n`);
}

class UpgradeAnswer implements DispatchHandler {
  private readonly request: IncomingMessage;
  private readonly socket: Duplex;
  private readonly options: HttpFrontOptions;
  /** What the client said before it knew the answer: held until the 101, dropped without one. */
  private readonly early: Buffer;
  private ordinary: Answer | undefined;
  private over = false;

  constructor(request: IncomingMessage, socket: Duplex, early: Buffer, options: HttpFrontOptions) {
    this.request = request;
    this.socket = socket;
    this.early = early;
    this.options = options;
    socket.on("error", () => socket.destroy());
  }

  onRequestStart(controller: DispatchController): void {
    this.socket.once("close", () => {
      if (!this.over) controller.abort(new Error("the client is gone"));
    });
  }

  onRequestUpgrade(
    _controller: DispatchController,
    _status: number,
    headers: Record<string, string | string[]>,
    backend: Duplex,
  ): void {
    this.over = true;
    const { socket } = this;
    const lines = ["HTTP/1.1 101 Switching Protocols", "connection: Upgrade"];
    for (const [name, value] of Object.entries({ upgrade: this.request.headers.upgrade ?? "", ...headers })) {
      if (name === "connection") continue;
      for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`);
    }
    if (socket.destroyed) return void backend.destroy();
    socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    if (this.early.length > 0) backend.write(this.early);
    joinSockets(socket, backend);
  }

  onResponseStart(
    controller: DispatchController,
    status: number,
    headers: Record<string, string | string[]>,
  ): void {
    if (status < 200) return;
    this.answer(controller).onResponseStart(controller, status, headers);
  }

  onResponseData(controller: DispatchController, chunk: Buffer): void {
    this.answer(controller).onResponseData(controller, chunk);
  }

  onResponseEnd(controller: DispatchController, trailers: Record<string, string | string[]>): void {
    this.answer(controller).onResponseEnd(controller, trailers);
  }

  onResponseError(controller: DispatchController, error: Error): void {
    if (!this.over || this.ordinary) this.answer(controller).onResponseError(controller, error);
  }

  /** No upgrade: an ordinary response on a connection that ends with it, since what follows on it is in doubt. */
  private answer(controller: DispatchController): Answer {
    if (this.ordinary) return this.ordinary;
    this.over = true;
    const { socket } = this;
    const response = new ServerResponse(this.request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    // A client that does not close its side must not keep the connection.
    response.once("finish", () => socket.end(() => socket.destroy()));
    socket.once("close", () => response.destroy());
    socket.resume();
    this.ordinary = new Answer(this.request, response, this.options);
    this.ordinary.onRequestStart(controller);
    return this.ordinary;
  }
}
