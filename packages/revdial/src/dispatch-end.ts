/** One exchange between a channel of ours and a handler of undici's kind: callbacks, without promise or stream in between. */
import type { ChannelEnd, ChannelPort } from "./channel-end.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import {
  type DispatchController,
  type DispatchHandler,
  type DispatchOptions,
  type Exchange,
  errorOf,
  type HeaderObject,
} from "./dispatching.ts";
import { RevdialError } from "./errors.ts";
import { BodySender, isEmpty, openHead } from "./exchange.ts";
import { bodyOf, pairsOf, withQuery } from "./fetch-input.ts";
import { returnWhenForgotten } from "./forgotten.ts";
import type { OpenHead } from "./frame.ts";
import type { HeaderList } from "./head.ts";
import { TunnelSocket } from "./socket.ts";
import type { TunnelRequest } from "./tunnel.ts";

/** What a dispatcher needs of a tunnel. */
export interface ChannelOpener extends ChannelPort {
  open(head: OpenHead, ended: boolean, end: ChannelEnd): number;
}

/** One exchange between a channel and a handler. A handler that throws ends its own exchange. */
export class DispatchEnd implements Exchange, ChannelEnd, DispatchController {
  cause: unknown;
  aborted = false;
  reason: Error | null = null;
  paused = false;
  rawTrailers: Buffer[] | null = null;
  private readonly port: ChannelOpener;
  private readonly service: string;
  private readonly handler: DispatchHandler;
  private channel = 0;
  /** What the exchange may switch to. */
  private upgrade: string | undefined;
  /** The handler has heard the last of it. */
  private over = false;
  /** The channel is over, though the handler may not have taken everything. */
  private closed = false;
  private heads: HeaderList = [];
  /** What came while the handler had paused us. */
  private waiting: ChunkQueue | undefined;
  private ended: HeaderList | undefined;
  private sender: BodySender | undefined;
  private socket: TunnelSocket | undefined;

  constructor(port: ChannelOpener, service: string, handler: DispatchHandler) {
    this.port = port;
    this.service = service;
    this.handler = handler;
  }

  start(options: DispatchOptions): void {
    this.handler.onRequestStart?.(this, {});
    if (this.aborted) return;
    const request = requestOf(this.service, options);
    const { body, trailers, upgrade } = request;
    this.upgrade = upgrade;
    const head = openHead(request);
    const empty = isEmpty(body);
    this.channel = this.port.open(head, empty && upgrade === undefined, this);
    if (empty || this.closed) return;
    this.contain(() => {
      this.sender = new BodySender(this.port, this.channel, body, trailers);
      this.sender.sent.catch((error) => this.abort(errorOf(error)));
    });
  }

  get rawHeaders(): Buffer[] {
    return rawOf(this.heads);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.contain(() => this.deliver());
  }

  abort(reason: Error): void {
    if (this.over || this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.cause = reason;
    // Without a channel nobody else tells the handler.
    if (this.channel === 0) return this.failed(reason);
    if (this.closed) return this.failed(ofThisExchange(reason));
    this.port.reset(this.channel, "CANCELLED", "cancelled by the caller");
  }

  failed(error: Error): void {
    if (this.over) return;
    this.over = true;
    this.dropWaiting();
    this.ended = undefined;
    try {
      this.handler.onResponseError?.(this, error);
    } catch (thrown) {
      this.port.report(thrown); // The handler has nobody else: what it throws here must not end the tunnel of all others.
    }
  }

  private dropWaiting(): void {
    const bytes = this.waiting?.byteLength ?? 0;
    this.waiting?.clear();
    this.waiting = undefined;
    if (bytes > 0) this.port.consumed(this.channel, bytes);
  }

  private contain(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.abort(errorOf(error));
    }
  }

  onInterim(status: number, headers: HeaderList): void {
    if (this.aborted) return;
    this.heads = headers;
    this.contain(() => tellHead(this.handler, this, status, headers));
  }

  onHead(status: number, headers: HeaderList): void {
    if (this.aborted) return;
    this.heads = status === 101 ? withUpgrade(headers, this.upgrade) : headers;
    this.contain(() => {
      if (status === 101) this.switched(this.heads);
      else tellHead(this.handler, this, status, headers);
    });
  }

  private switched(headers: HeaderList): void {
    if (!this.handler.onRequestUpgrade) throw new RevdialError("ARGUMENT", "the handler takes no upgrades");
    const socket = new TunnelSocket(this.port, this.channel);
    this.socket = socket;
    try {
      this.handler.onRequestUpgrade(this, 101, objectOf(headers), socket);
    } catch (error) {
      // Nobody may have taken the socket, and an error of it would be nobody's.
      this.socket = undefined;
      throw error;
    }
  }

  onData(bytes: Uint8Array): void {
    if (this.aborted) return this.port.consumed(this.channel, bytes.byteLength);
    if (this.socket) return this.socket.onData(bytes);
    if (this.paused || this.waiting) {
      this.waiting ??= new ChunkQueue();
      this.waiting.push(bytes);
      return;
    }
    this.take(bytes);
  }

  private take(bytes: Uint8Array): void {
    try {
      this.handler.onResponseData?.(this, asBuffer(bytes));
    } catch (error) {
      this.abort(errorOf(error)); // First: no more of it is wanted.
    }
    this.port.consumed(this.channel, bytes.byteLength);
  }

  private deliver(): void {
    while (!this.paused && !this.aborted) {
      const chunk = this.waiting?.take();
      if (chunk === undefined) {
        this.waiting = undefined;
        if (this.ended) this.finish(this.ended);
        return;
      }
      this.take(chunk);
    }
  }

  onEnded(trailers: HeaderList): void {
    if (this.aborted) return;
    if (this.socket) return this.socket.onEnded();
    if (this.paused || this.waiting) this.ended = trailers;
    else this.finish(trailers);
  }

  private finish(trailers: HeaderList): void {
    this.ended = undefined;
    this.over = true;
    this.rawTrailers = trailers.length === 0 ? [] : rawOf(trailers);
    try {
      this.handler.onResponseEnd?.(this, trailers.length === 0 ? {} : objectOf(trailers));
    } catch (error) {
      // Not `abort`: undici's retry interceptor throws here what it wants to hear of, and must not find us aborted.
      this.over = false;
      this.failed(ofThisExchange(errorOf(error)));
    }
  }

  onDrained(): void {
    this.sender?.resume();
    this.socket?.onDrained();
  }

  onClosed(error: RevdialError | undefined): void {
    this.closed = true;
    this.sender?.stop();
    this.socket?.onClosed(error);
    const failure = this.reason ? ofThisExchange(this.reason, error) : error;
    if (failure && !this.socket) this.failed(failure);
    const { port, channel, waiting: chunks } = this;
    if (chunks) returnWhenForgotten(this, { port, channel, chunks });
  }
}

/** Tells a handler of a head in the words it knows. */
export function tellHead(
  handler: DispatchHandler,
  controller: DispatchController,
  status: number,
  headers: HeaderList,
): void {
  if (handler.onResponseFields) handler.onResponseFields(controller, status, headers);
  else handler.onResponseStart?.(controller, status, objectOf(headers), "");
}

/** What undici's options ask for. Error: ARGUMENT. */
export function requestOf(service: string, options: DispatchOptions): TunnelRequest {
  if (typeof options !== "object" || options === null) throw new RevdialError("ARGUMENT", "no options");
  const { method, query, deadlineMs, trailers } = options;
  const headers = pairsOf(options.headers);
  const body = bodyOf(options.body, headers);
  const path = query ? withQuery(options.path, query) : options.path;
  const upgrade = method === "CONNECT" ? "" : upgradeOf(options.upgrade);
  return { service, method, path, headers, body, trailers, deadlineMs, upgrade };
}

/**
 * What a RevdialError that was thrown at us says of sending is about another exchange, or about none: the handler hears
 * of it as the cause of how its own `ended`.
 */
function ofThisExchange(thrown: Error, ended?: RevdialError): Error {
  if (!(thrown instanceof RevdialError)) return thrown;
  const cause = thrown;
  return ended ?? new RevdialError("CANCELLED", "given up by the caller", { cause, sent: "may-have-run" });
}

function upgradeOf(upgrade: DispatchOptions["upgrade"]): string | undefined {
  if (typeof upgrade === "string") return upgrade;
  if (upgrade) throw new RevdialError("ARGUMENT", "an upgrade says to what");
  return undefined;
}

/** Of one hop, so they did not travel; whoever asked by HTTP, as undici's WebSocket does, looks for them. */
function withUpgrade(headers: HeaderList, upgrade: string | undefined): HeaderList {
  return upgrade ? [["connection", "upgrade"], ["upgrade", upgrade], ...headers] : headers;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function rawOf(headers: HeaderList): Buffer[] {
  return headers.flatMap(([name, value]) => [Buffer.from(name, "latin1"), Buffer.from(value, "latin1")]);
}

/** Inherits nothing: a field may be called `constructor` or `__proto__`. Unlike `Object.create(null)` it costs what `{}` costs. */
class Fields {
  [name: string]: string | string[];
}
Reflect.deleteProperty(Fields.prototype, "constructor");
Object.setPrototypeOf(Fields.prototype, null);

function objectOf(headers: HeaderList): HeaderObject {
  const object = new Fields();
  for (const [name, value] of headers) {
    const before = object[name];
    if (before === undefined) object[name] = value;
    else if (typeof before === "string") object[name] = [before, value];
    else before.push(value);
  }
  return object;
}
