/** One forwarded exchange by undici: faster than `node:http`. */
import type { DispatchController, DispatchHandler } from "../dispatching.ts";
import type { IncomingRequest, Reply } from "../tunnel.ts";
import { asBody, type Dispatching } from "./dispatching.ts";
import { checkCoding, type FieldObject, pairsOf } from "./fields.ts";
import { authority, isRepeatable, sendAgain, unreachable, type Way } from "./forward-exchange.ts";

export function dispatched(
  dispatcher: Dispatching,
  way: Way,
  request: IncomingRequest,
  reply: Reply,
): Promise<void> {
  const { method, path, hasBody } = request;
  const headers: string[] = ["host", authority(way.target)];
  for (const [name, value] of request.headers) headers.push(name, value);
  if (request.traceparent !== undefined) headers.push("traceparent", request.traceparent);
  const handler = new DispatchedExchange(way, request, reply);
  const body = hasBody ? asBody(request.body) : null;
  // How long is long enough is the caller's to say: its deadline travels with the request.
  dispatcher.dispatch({ method, path, headers, body, headersTimeout: 0, bodyTimeout: 0 }, handler);
  return handler.done;
}

/** Nothing was sent: there was no connection. */
const unconnected: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOENT", "UND_ERR_CONNECT_TIMEOUT"]);

/**
 * The connection has died. Where undici tells what a connection had received, none at all means that it was new, and not a
 * kept one that its far end closed meanwhile. Of a reset it tells nothing.
 */
function isBrokenOff(error: Error): boolean {
  const { code, socket } = error as NodeJS.ErrnoException & { socket?: { bytesRead?: number } };
  if (code === "UND_ERR_SOCKET") return (socket?.bytesRead ?? 0) > 0;
  return code === "ECONNRESET" || code === "EPIPE";
}

class DispatchedExchange implements DispatchHandler {
  readonly done: Promise<void>;
  private readonly way: Way;
  private readonly request: IncomingRequest;
  private readonly reply: Reply;
  private readonly settle: PromiseWithResolvers<void>;
  /** Something of an answer has come. */
  private heard: boolean;

  constructor(way: Way, request: IncomingRequest, reply: Reply) {
    this.way = way;
    this.request = request;
    this.reply = reply;
    this.heard = false;
    this.settle = Promise.withResolvers<void>();
    this.done = this.settle.promise;
  }

  onRequestStart(controller: DispatchController): void {
    this.reply.onClose((error) => {
      if (error) controller.abort(error);
    });
  }

  /** undici's word at the first byte; other dispatchers have none. */
  onResponseStarted(): void {
    this.heard = true;
  }

  onResponseStart(_controller: DispatchController, status: number, headers: FieldObject): void {
    this.heard = true;
    checkCoding(headers["transfer-encoding"]);
    const list = pairsOf(headers);
    if (status < 200) return this.reply.interim(status, list);
    this.reply.head(status, list);
  }

  onResponseData(controller: DispatchController, chunk: Buffer): void {
    if (this.reply.write(chunk)) return;
    controller.pause();
    this.reply.onDrain(() => controller.resume());
  }

  onResponseEnd(_controller: DispatchController, trailers: FieldObject): void {
    this.reply.end(undefined, pairsOf(trailers));
    this.settle.resolve();
  }

  onResponseError(_controller: DispatchController, error: Error): void {
    const { way, request, reply, settle } = this;
    if (this.heard) settle.reject(error);
    else if (unconnected.has((error as NodeJS.ErrnoException).code ?? "")) settle.reject(unreachable(error));
    else if (isBrokenOff(error) && !reply.over && isRepeatable(request))
      settle.resolve(sendAgain(way, request, reply));
    else settle.reject(error);
  }
}
