/** One forwarded exchange by undici: faster than `node:http`. */
import type { DispatchController, DispatchHandler } from "../dispatcher.ts";
import type { IncomingRequest, Reply } from "../tunnel.ts";
import { checkCoding, type FieldObject, pairsOf } from "./fields.ts";
import { authority, type ForwardTarget, unreachable } from "./forward-exchange.ts";
import type { Dispatching } from "./front.ts";

export function dispatched(
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

  onResponseStart(_controller: DispatchController, status: number, headers: FieldObject): void {
    checkCoding(headers["transfer-encoding"]);
    const list = pairsOf(headers);
    if (status < 200) return this.reply.interim(status, list);
    this.head = true;
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
    const { code } = error as NodeJS.ErrnoException;
    const never =
      !this.head && (code === "ECONNREFUSED" || code === "ENOENT" || code === "UND_ERR_CONNECT_TIMEOUT");
    this.settle.reject(never ? unreachable(error) : error);
  }
}
