/**
 * The other end of a front: a handler that passes what comes through a tunnel on to an HTTP server, a TCP port or a Unix
 * socket of this host. A server that cannot be reached, hangs or breaks off costs its own exchange and nothing else.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { DispatchController, DispatchHandler } from "../dispatcher.ts";
import { RevdialError } from "../errors.ts";
import type { HeaderList } from "../head.ts";
import type { IncomingRequest, Reply, RequestHandler } from "../tunnel.ts";
import type { Dispatching } from "./front.ts";
import { joinSockets } from "./join.ts";

export type ForwardTarget = { host: string; port: number } | { socketPath: string };

export interface ForwardOptions {
  /**
   * Sends ordinary requests, such as an undici `Pool` for the same target: faster than `node:http`, but without the trailers of
   * a request, which undici cannot send. Upgrades and requests that expect 100-continue go by `node:http` all the same.
   */
  dispatcher?: Dispatching;
  /** Milliseconds until the target has taken the connection. Default 5,000. */
  connectTimeoutMs?: number;
  /** Connections kept open for later requests (`node:http`). Default 64. */
  idleConnectionsMax?: number;
}

/** Forwards requests as HTTP, upgrades as upgrades, and plain byte streams as TCP. */
export function forwardTo(target: ForwardTarget, options: ForwardOptions = {}): RequestHandler {
  const { dispatcher, connectTimeoutMs = 5000, idleConnectionsMax = 64 } = options;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: idleConnectionsMax, scheduling: "lifo" });
  const way: Way = { target, agent, connectTimeoutMs };
  return (request, reply) => {
    if (request.upgrade === "") return forwardStream(way, reply);
    if (request.upgrade !== undefined) return new NodeExchange(way, request, reply).done;
    if (dispatcher && !expectsContinue(request)) return dispatched(dispatcher, target, request, reply);
    return new NodeExchange(way, request, reply).done;
  };
}

interface Way {
  target: ForwardTarget;
  agent: Agent;
  connectTimeoutMs: number;
}

const expectsContinue = ({ headers }: IncomingRequest) => headers.some(([name]) => name === "expect");

/** Nothing of the request has left this host: it may be sent again. */
function unreachable(cause: unknown): RevdialError {
  const why = (cause as NodeJS.ErrnoException | undefined)?.code ?? "no answer";
  return new RevdialError("REFUSED", `the target cannot be reached (${why})`, { cause });
}

function authority(target: ForwardTarget): string {
  return "socketPath" in target ? "localhost" : `${target.host}:${target.port}`;
}

function forwardStream({ target, connectTimeoutMs }: Way, reply: Reply): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ ...pathOrPort(target), allowHalfOpen: true, noDelay: true });
  socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error("connect timeout")));
  reply.onClose(() => socket.destroy());
  socket.once("error", (error) => reject(unreachable(error)));
  socket.once("connect", () => {
    socket.setTimeout(0);
    joinSockets(reply.accept(), socket).then(resolve, reject);
  });
  return promise;
}

function pathOrPort(target: ForwardTarget): { path: string } | { host: string; port: number } {
  return "socketPath" in target ? { path: target.socketPath } : target;
}

/** One exchange by undici. */
function dispatched(
  dispatcher: Dispatching,
  target: ForwardTarget,
  request: IncomingRequest,
  reply: Reply,
): Promise<void> {
  const { method, path, hasBody } = request;
  const headers: string[] = ["host", authority(target)];
  for (const [name, value] of request.headers) headers.push(name, value);
  if (request.traceparent !== undefined) headers.push("traceparent", request.traceparent);
  const handler = new DispatchedExchange(reply);
  const body = hasBody ? request.body : null;
  // How long is long enough is the caller's to say: its deadline travels with the request.
  dispatcher.dispatch({ method, path, headers, body, headersTimeout: 0, bodyTimeout: 0 }, handler);
  return handler.done;
}

class DispatchedExchange implements DispatchHandler {
  readonly done: Promise<void>;
  private readonly reply: Reply;
  private readonly settle: PromiseWithResolvers<void>;
  private head: boolean;

  constructor(reply: Reply) {
    this.reply = reply;
    this.head = false;
    this.settle = Promise.withResolvers<void>();
    this.done = this.settle.promise;
  }

  onRequestStart(controller: DispatchController): void {
    this.reply.onClose((error) => {
      if (error) controller.abort(error);
    });
  }

  onResponseStart(
    _controller: DispatchController,
    status: number,
    headers: Record<string, string | string[]>,
  ): void {
    const list: [string, string][] = [];
    for (const name in headers) {
      const value = headers[name] as string | string[];
      if (typeof value === "string") list.push([name, value]);
      else for (const one of value) list.push([name, one]);
    }
    if (status < 200) return this.reply.interim(status, list);
    this.head = true;
    this.reply.head(status, list);
  }

  onResponseData(controller: DispatchController, chunk: Buffer): void {
    if (this.reply.write(chunk)) return;
    controller.pause();
    this.reply.onDrain(() => controller.resume());
  }

  onResponseEnd(_controller: DispatchController, trailers: Record<string, string | string[]>): void {
    const fields: [string, string][] = [];
    for (const name in trailers) fields.push([name, String(trailers[name])]);
    this.reply.end(undefined, fields);
    this.settle.resolve();
  }

  onResponseError(_controller: DispatchController, error: Error): void {
    const { code } = error as NodeJS.ErrnoException;
    const never =
      !this.head && (code === "ECONNREFUSED" || code === "ENOENT" || code === "UND_ERR_CONNECT_TIMEOUT");
    this.settle.reject(never ? unreachable(error) : error);
  }
}

/** One exchange by `node:http`. */
class NodeExchange {
  readonly done: Promise<void>;
  private readonly reply: Reply;
  private readonly upstream: ClientRequest;
  private readonly settle = Promise.withResolvers<void>();
  private connected = false;

  constructor(way: Way, request: IncomingRequest, reply: Reply) {
    this.reply = reply;
    this.done = this.settle.promise;
    const { target, agent, connectTimeoutMs } = way;
    const { method, path, upgrade } = request;
    this.upstream = httpRequest({
      ...("socketPath" in target ? { socketPath: target.socketPath } : target),
      // An upgraded connection whose far end has said its last still listens.
      ...(upgrade === undefined ? { agent } : { agent: false as const, allowHalfOpen: true }),
      method,
      path,
      headers: nodeHeaders(target, request),
      setHost: false,
    });
    this.listen(connectTimeoutMs);
    reply.onClose((error) => {
      if (error) this.upstream.destroy(error);
    });
    this.upload(request).catch((error: Error) => this.upstream.destroy(error));
  }

  private async upload(request: IncomingRequest): Promise<void> {
    const { upstream } = this;
    if (!request.hasBody) return void upstream.end();
    upstream.flushHeaders();
    for await (const chunk of request.body) {
      if (upstream.destroyed || upstream.writableEnded) return;
      if (!upstream.write(chunk)) await drained(upstream);
    }
    const trailers = await request.trailers;
    if (trailers.length > 0) upstream.addTrailers(Object.fromEntries(trailers));
    upstream.end();
  }

  private listen(connectTimeoutMs: number): void {
    const { upstream, reply } = this;
    upstream.on("socket", (socket: Socket) => {
      if (!socket.connecting) {
        this.connected = true;
        return;
      }
      const give = () => socket.destroy(new Error("connect timeout"));
      socket.setTimeout(connectTimeoutMs, give);
      socket.once("connect", () => {
        this.connected = true;
        socket.setTimeout(0).off("timeout", give);
      });
    });
    upstream.on("error", (error) => this.settle.reject(this.connected ? error : unreachable(error)));
    upstream.on("continue", () => reply.interim(100));
    upstream.on("information", ({ statusCode, rawHeaders }) => {
      if (statusCode !== 100 && statusCode !== 101) reply.interim(statusCode, pairs(rawHeaders));
    });
    upstream.on("upgrade", (response, socket, head) => this.switched(response, socket, head));
    upstream.on("response", (response) => this.answered(response));
  }

  private switched(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    const backend = socket as Socket;
    let accepted: Duplex;
    try {
      accepted = this.reply.accept(pairs(response.rawHeaders));
    } catch (error) {
      backend.destroy();
      return this.settle.reject(error);
    }
    if (head.length > 0) backend.unshift(head);
    joinSockets(accepted, backend).then(this.settle.resolve, this.settle.reject);
  }

  private answered(response: IncomingMessage): void {
    const { reply } = this;
    try {
      reply.head(response.statusCode ?? 502, pairs(response.rawHeaders));
    } catch (error) {
      response.destroy();
      return this.settle.reject(error);
    }
    response.on("data", (chunk: Buffer) => {
      if (reply.write(chunk)) return;
      response.pause();
      reply.onDrain(() => response.resume());
    });
    response.on("end", () => {
      reply.end(undefined, pairs(response.rawTrailers));
      this.settle.resolve();
    });
    response.on("error", (error) => this.settle.reject(error));
    response.on("close", () => {
      if (!response.complete) this.settle.reject(new Error("the target broke off its answer"));
    });
  }
}

function nodeHeaders(target: ForwardTarget, request: IncomingRequest): string[] {
  const headers: string[] = ["host", authority(target)];
  for (const [name, value] of request.headers) headers.push(name, value);
  if (request.traceparent !== undefined) headers.push("traceparent", request.traceparent);
  if (request.upgrade !== undefined) headers.push("connection", "Upgrade", "upgrade", request.upgrade);
  return headers;
}

function pairs(raw: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] as string, raw[i + 1] as string]);
  return list;
}

/** Room again, or nobody there any more. */
function drained(upstream: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      upstream.off("drain", done).off("close", done);
      resolve();
    };
    upstream.on("drain", done).on("close", done);
  });
}
