/** One forwarded exchange by `node:http`: upgrades, requests that expect 100-continue, and all others without a dispatcher. */
import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { RevdialError } from "../errors.ts";
import type { IncomingRequest, Reply } from "../tunnel.ts";
import { checkCoding, pairs } from "./fields.ts";
import { joinSockets } from "./join.ts";

export type ForwardTarget = { host: string; port: number } | { socketPath: string };

export interface Way {
  target: ForwardTarget;
  /** False for a connection of its own. */
  agent: Agent | false;
  connectTimeoutMs: number;
}

/** Methods that may be sent twice (RFC 9110 §9.2.2). */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** Whether a proxy may send this once more after a connection has died with it. A body is gone once it was read. */
export function isRepeatable({ hasBody, method }: IncomingRequest): boolean {
  return !hasBody && idempotent.has(method);
}

/** Sends a request a second time, after the kept connection that had taken it has died, on one that is new. */
export function sendAgain(way: Way, request: IncomingRequest, reply: Reply): Promise<void> {
  const again = new NodeExchange({ ...way, agent: false }, request, reply);
  again.connected = true; // It has left this host before: whatever happens now, it is not "never sent".
  return again.done;
}

/** Nothing of the request has left this host: it may be sent again. */
export function unreachable(cause: unknown): RevdialError {
  const why = (cause as NodeJS.ErrnoException | undefined)?.code ?? "no answer";
  return new RevdialError("REFUSED", `the target cannot be reached (${why})`, { cause });
}

export function authority(target: ForwardTarget): string {
  return "socketPath" in target ? "localhost" : `${target.host}:${target.port}`;
}

export class NodeExchange {
  readonly done: Promise<void>;
  /** The request may have left this host. */
  connected = false;
  private readonly way: Way;
  private readonly request: IncomingRequest;
  private readonly reply: Reply;
  private readonly upstream: ClientRequest;
  private readonly settle = Promise.withResolvers<void>();
  /** What its connection had brought for others. */
  private bytesBefore = 0;

  constructor(way: Way, request: IncomingRequest, reply: Reply) {
    this.way = way;
    this.request = request;
    this.reply = reply;
    this.done = this.settle.promise;
    const { target, agent, connectTimeoutMs } = way;
    const { method, path, upgrade } = request;
    this.upstream = httpRequest({
      ...("socketPath" in target ? { socketPath: target.socketPath } : target),
      // An upgraded connection whose far end has said its last still listens.
      ...(upgrade === undefined ? { agent } : { agent: false, allowHalfOpen: true }),
      method,
      path,
      headers: nodeHeaders(target, request),
      setHost: false,
    });
    this.listen(connectTimeoutMs);
    reply.onClose((error) => {
      if (error) this.upstream.destroy(error);
    });
    this.upload().catch((error: Error) => this.upstream.destroy(error));
  }

  private async upload(): Promise<void> {
    const { upstream, request } = this;
    if (!request.hasBody) return void upstream.end();
    upstream.flushHeaders();
    for await (const chunk of request.body) {
      if (upstream.destroyed || upstream.writableEnded) return;
      if (!upstream.write(chunk)) await drained(upstream);
    }
    const trailers = await request.trailers;
    if (trailers.length > 0)
      upstream.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]));
    upstream.end();
  }

  /** For listeners that use `reply`: what it refuses ends this exchange. Thrown into node:http it would end the process. */
  private guarded<Args extends unknown[]>(listener: (...args: Args) => void): (...args: Args) => void {
    return (...args) => {
      try {
        listener(...args);
      } catch (error) {
        this.settle.reject(error);
        this.upstream.destroy();
      }
    };
  }

  private listen(connectTimeoutMs: number): void {
    const { upstream, reply } = this;
    upstream.on("socket", (socket: Socket) => {
      this.bytesBefore = socket.bytesRead;
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
    upstream.on("error", (error) => this.failed(error));
    const interim = this.guarded((status: number, raw: string[]) => {
      if (status !== 101) reply.interim(status, pairs(raw));
    });
    upstream.on("information", ({ statusCode, rawHeaders }) => interim(statusCode, rawHeaders));
    upstream.on(
      "upgrade",
      this.guarded((...switched) => this.switched(...switched)),
    );
    upstream.on(
      "response",
      this.guarded((response) => this.answered(response)),
    );
  }

  private failed(error: Error): void {
    const { upstream, reply, request, way, settle } = this;
    const unheard = upstream.reusedSocket && upstream.socket?.bytesRead === this.bytesBefore;
    if (unheard && !reply.over && isRepeatable(request)) settle.resolve(sendAgain(way, request, reply));
    else settle.reject(this.connected ? error : unreachable(error));
  }

  private switched(response: IncomingMessage, backend: Duplex, head: Buffer): void {
    const accepted = this.reply.accept(pairs(response.rawHeaders));
    if (head.length > 0) backend.unshift(head);
    joinSockets(accepted, backend).then(this.settle.resolve, this.settle.reject);
  }

  private answered(response: IncomingMessage): void {
    const { reply, request } = this;
    checkCoding(response.headers["transfer-encoding"]);
    reply.head(response.statusCode ?? 502, pairs(response.rawHeaders));
    const write = this.guarded((chunk: Buffer) => {
      if (reply.write(chunk)) return;
      response.pause();
      reply.onDrain(() => response.resume());
    });
    const end = this.guarded(() => {
      // A byte stream that was refused has no trailers (SPEC §6.5).
      reply.end(undefined, request.upgrade === undefined ? pairs(response.rawTrailers) : []);
      this.settle.resolve();
    });
    response.on("data", write).on("end", end);
    response.on("error", (error) => this.settle.reject(error));
    response.on("close", () => {
      if (!response.complete) this.settle.reject(new Error("the target broke off its answer"));
    });
  }
}

/** node:http gives these no body unless it is told of one. */
const withoutBody: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

function nodeHeaders(target: ForwardTarget, request: IncomingRequest): string[] {
  const headers: string[] = ["host", authority(target)];
  let framed = false;
  for (const [name, value] of request.headers) {
    headers.push(name, value);
    if (name === "content-length") framed = true;
  }
  // Without a word about its body, node:http would send that of a GET behind the head as it is, and the origin would take it
  // for the next request.
  if (!framed && request.hasBody) headers.push("transfer-encoding", "chunked");
  else if (!framed && !withoutBody.has(request.method)) headers.push("content-length", "0");
  if (request.traceparent !== undefined) headers.push("traceparent", request.traceparent);
  if (request.upgrade !== undefined) headers.push("connection", "Upgrade", "upgrade", request.upgrade);
  return headers;
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
