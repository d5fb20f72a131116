/** One response of a dispatcher as the answer of Node's HTTP server. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { DispatchController, DispatchHandler } from "../dispatching.ts";
import { RevdialError } from "../errors.ts";
import type { HeaderList } from "../head.ts";
import { type FieldObject, pairsOf } from "./fields.ts";
import type { HttpFrontOptions } from "./front.ts";

/** Bytes of a body up to which copying it into a string is cheaper than a second buffer. */
const ONE_WRITE_BYTES_MAX = 4096;

/** Bytes that a client may still send after its answer, before its connection is cut. */
const DROPPED_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Takes what nobody wants any more off the connection: the client may send all of it before it reads the answer, and what it
 * asks next comes behind it (RFC 9112 §9.3).
 */
export function dropRest(stream: Readable, connection: Duplex): void {
  let left = DROPPED_BYTES_MAX;
  stream.on("data", (chunk: Buffer) => {
    left -= chunk.byteLength;
    if (left < 0) connection.destroy();
  });
  stream.resume();
}

/** Responses that wait behind others of their connection. node:http forgets them once an upgrade has followed. */
const waiting = new WeakMap<Duplex, Set<ServerResponse>>();

function waitOn(connection: Duplex, response: ServerResponse): void {
  const others = waiting.get(connection) ?? new Set();
  waiting.set(connection, others.add(response));
  response.once("close", () => others.delete(response));
}

/** Cuts a connection, and ends every exchange whose answer has not left on it. */
export function cutAnswers(connection: Duplex): void {
  connection.destroy();
  for (const response of waiting.get(connection) ?? []) response.destroy();
}

/** Status for a failure on the way to the backend. */
function statusOf(error: Error): number {
  if (!(error instanceof RevdialError)) return 502;
  // What of the client's own words could not go on ends the exchange as given up here, with the reason behind it.
  const { code } = error.code === "CANCELLED" && error.cause instanceof RevdialError ? error.cause : error;
  if (code === "DEADLINE") return 504;
  if (code === "HEAD_INVALID") return 400;
  if (code === "HEAD_TOO_LARGE") return 431;
  return error.sent === "not-sent" ? 503 : 502;
}

interface ResponseHead {
  status: number;
  /** Names in lower case and values in turn: Node writes them as they are, and an object for each answer costs more. */
  fields: string[];
}

/**
 * What `writeInformation` does, for Node before 24.18. Not behind another answer of the same connection, where there is no socket yet:
 * a client can do without. The codec has looked at the fields.
 */
function writeInterim({ socket }: ServerResponse, status: number, headers: HeaderList): void {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
  socket?.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Information"}\r\n${lines.join("")}\r\n`,
    "latin1",
  );
}

/** One response as it comes. */
export class Answer implements DispatchHandler {
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
    if (response.socket === null) waitOn(request.socket, response);
  }

  private closed(): void {
    if (!this.done) this.controller?.abort(new Error("the client is gone"));
  }

  onRequestStart(controller: DispatchController): void {
    this.controller = controller;
    if (this.response.destroyed) this.closed();
  }

  onResponseStart(controller: DispatchController, status: number, headers: FieldObject): void {
    this.onResponseFields(controller, status, pairsOf(headers));
  }

  onResponseFields(_controller: DispatchController, status: number, headers: HeaderList): void {
    const { response } = this;
    if (this.done || response.destroyed) return;
    if (status < 200) return this.interim(status, headers);
    const fields: string[] = [];
    for (const [name, value] of headers) if (!hopFields.has(name)) fields.push(name, value);
    this.head = { status, fields };
    flushAfterTurn(this);
  }

  private interim(status: number, headers: HeaderList): void {
    const { request, response } = this;
    // Earlier versions know no such heads (RFC 9110 §15.2).
    if (request.httpVersion !== "1.1") return;
    try {
      if (status === 100) response.writeContinue();
      // Not writeEarlyHints: it takes one form of Link only, where the field may hold a list and quoted text.
      else if (typeof response.writeInformation === "function")
        response.writeInformation(status, headers.flat());
      else writeInterim(response, status, headers);
    } catch {
      // What Node does not take a client can do without.
    }
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

  onResponseEnd(_controller: DispatchController, trailers: FieldObject): void {
    if (this.done) return;
    const { response } = this;
    if (response.destroyed) this.done = true;
    else if (Object.keys(trailers).length > 0) this.endWith(trailers);
    else {
      this.done = true;
      if (this.head) this.answerWhole(this.head);
      else response.end();
      this.ended();
    }
  }

  private ended(): void {
    const { request } = this;
    if (!request.complete) dropRest(request, request.socket);
  }

  private endWith(trailers: FieldObject): void {
    const { response, head } = this;
    // Trailers need chunks.
    if (head) drop(head.fields, "content-length");
    this.flush();
    if (this.done) return;
    try {
      // All at once: Node forgets those of an earlier call.
      response.addTrailers(trailers);
    } catch (error) {
      return this.fail(error as Error);
    }
    this.done = true;
    response.end();
    this.ended();
  }

  /** False when Node does not take this head: the client and the backend are told. */
  private begin({ status, fields }: ResponseHead): boolean {
    try {
      this.response.writeHead(status, fields);
      return true;
    } catch (error) {
      this.fail(error as Error);
      this.controller?.abort(error as Error);
      return false;
    }
  }

  /** The end has come before anything has left. */
  private answerWhole(head: ResponseHead): void {
    const { status, fields } = head;
    const { request, response, first } = this;
    this.head = undefined;
    this.first = undefined;
    const silent = request.method === "HEAD" || status === 204 || status === 304;
    if (!silent && at(fields, "content-length") < 0)
      fields.push("content-length", String(first?.length ?? 0));
    if (!this.begin(head)) return;
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
    this.ended();
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

const hopFields: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "proxy-connection",
]);

/** Where a name stands among names and values in turn, or -1. */
function at(fields: readonly string[], name: string): number {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return i;
  return -1;
}

function drop(fields: string[], name: string): void {
  for (let i = at(fields, name); i >= 0; i = at(fields, name)) fields.splice(i, 2);
}

function answerError(response: ServerResponse, error: Error): void {
  const code = error instanceof RevdialError ? error.code : "UPSTREAM";
  response.writeHead(statusOf(error), { "content-type": "text/plain; charset=utf-8" });
  response.end(`${code}\n`);
}
