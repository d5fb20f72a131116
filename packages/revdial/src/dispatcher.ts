/**
 * A tunnel's service as an undici `Dispatcher`: `fetch(url, { dispatcher })` and undici's own functions go through it. It is
 * also the leanest way to send a request, because a handler's callbacks need no promise and no stream in between. Both
 * generations of undici's handler interface are served: `onResponseStart` (undici 7 and later) and `onHeaders` (fetch of Node 18 to 24).
 */
import type { Duplex } from "node:stream";
import type { ChannelEnd, ChannelPort } from "./channel-end.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import { RevdialError } from "./errors.ts";
import { BodySender, isEmpty, openHead, warn } from "./exchange.ts";
import { type BodyInput, bodyOf, type HeaderInput, pairsOf, withQuery } from "./fetch-input.ts";
import type { OpenHead } from "./frame.ts";
import type { HeaderList } from "./head.ts";
import { TunnelSocket } from "./socket.ts";

type HeaderObject = Record<string, string | string[]>;

/** undici's `DispatchOptions`, as far as a tunnel uses them; `deadlineMs` and `trailers` are ours. The origin is ignored. */
export interface DispatchOptions {
  path: string;
  method: string;
  /** Flat pairs too. */
  headers?: HeaderInput | readonly string[] | undefined;
  body?: BodyInput | undefined;
  query?: Record<string, unknown> | null | undefined;
  /** The protocol to switch to; "CONNECT" as method asks for a plain byte stream. */
  upgrade?: string | boolean | null | undefined;
  deadlineMs?: number | undefined;
  /** The fields after the body, asked for once all of it has been taken. */
  trailers?: (() => HeaderList) | undefined;
  /** undici's own limits in milliseconds: they are for other dispatchers, a tunnel has `deadlineMs`. */
  headersTimeout?: number | null | undefined;
  bodyTimeout?: number | null | undefined;
}

/** What a handler may do while its exchange runs. */
export interface DispatchController {
  readonly aborted: boolean;
  readonly reason: Error | null;
  readonly paused: boolean;
  rawHeaders: Buffer[] | null;
  rawTrailers: Buffer[] | null;
  pause(): void;
  resume(): void;
  abort(reason: Error): void;
}

/** undici's `DispatchHandler`. */
export interface DispatchHandler {
  onRequestStart?(controller: DispatchController, context: unknown): void;
  onRequestUpgrade?(
    controller: DispatchController,
    status: number,
    headers: HeaderObject,
    socket: Duplex,
  ): void;
  onResponseStart?(
    controller: DispatchController,
    status: number,
    headers: HeaderObject,
    statusText?: string,
  ): void;
  onResponseData?(controller: DispatchController, chunk: Buffer): void;
  onResponseEnd?(controller: DispatchController, trailers: HeaderObject): void;
  onResponseError?(controller: DispatchController, error: Error): void;
}

/** The handler interface of undici up to 7, which the `fetch` of Node 18 to 24 uses. */
interface LegacyHandler {
  onConnect(abort: (reason?: Error) => void, context: unknown): void;
  onUpgrade?(status: number, headers: Buffer[], socket: Duplex): void;
  onHeaders?(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean;
  onData?(chunk: Buffer): boolean;
  onComplete?(trailers: Buffer[]): void;
  onError?(error: Error): void;
}

/** What a dispatcher needs of a tunnel. */
export interface ChannelOpener extends ChannelPort {
  open(head: OpenHead, ended: boolean, end: ChannelEnd): number;
}

/** One exchange with one handler. */
export interface Exchange {
  start(options: DispatchOptions): void;
  /** It could not start. */
  failed(error: Error): void;
}

/** A method's type, as undici's is: options and handlers of the one may then be given to the other. */
type Dispatch = TunnelDispatcher["dispatch"];
type Interceptor = (dispatch: Dispatch) => Dispatch;

/**
 * What undici's class has besides, and none of its functions calls. For the type only: with it, a dispatcher can be given to
 * whoever wants undici's, of Node's own types or of any version of the package, and to call one of them does not compile.
 */
abstract class UndiciMembers {
  declare readonly request: never;
  declare readonly stream: never;
  declare readonly pipeline: never;
  declare readonly upgrade: never;
  declare readonly connect: never;
  declare readonly addListener: never;
  declare readonly on: never;
  declare readonly once: never;
  declare readonly prependListener: never;
  declare readonly prependOnceListener: never;
  declare readonly off: never;
  declare readonly removeListener: never;
  declare readonly removeAllListeners: never;
  declare readonly emit: never;
  declare readonly eventNames: never;
  declare readonly listeners: never;
  declare readonly rawListeners: never;
  declare readonly listenerCount: never;
  declare readonly setMaxListeners: never;
  declare readonly getMaxListeners: never;
}

/**
 * For undici's `fetch`, `request`, `stream`, `pipeline`, `upgrade` and `connect` as their `dispatcher` option, for Node's own
 * `fetch`, and for `compose` with undici's interceptors. Not as with undici's own dispatchers:
 *
 * - It has no such methods itself and emits no events: in TypeScript they are of type never.
 * - The URL's host is not looked at: a redirect to another one stays with the service.
 * - A form may be of any FormData, not only of the undici that sends it.
 * - `expectContinue`, `reset`, `blocking`, `idempotent`, `headersTimeout` and `bodyTimeout` do nothing (`deadlineMs` is the one
 *   limit of time), and handlers are not told of what was sent (`onBodySent`, `onRequestSent`).
 * - The retry interceptor knows statuses as ever, but none of our codes: name them in `errorCodes`, and only those that
 *   are not sent, such as REFUSED and DRAINING.
 */
export class TunnelDispatcher extends UndiciMembers {
  closed = false;
  destroyed = false;
  private readonly exchange: (handler: DispatchHandler) => Exchange;

  constructor(exchange: (handler: DispatchHandler) => Exchange) {
    super();
    this.exchange = exchange;
  }

  /** Throws for a missing handler (ARGUMENT) and nothing else: every failure reaches the handler, as a RevdialError. */
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean {
    if (typeof handler !== "object" || handler === null) throw new RevdialError("ARGUMENT", "no handler");
    const modern = "onConnect" in handler ? fromLegacy(handler as unknown as LegacyHandler) : handler;
    const exchange = this.exchange(modern);
    try {
      if (this.closed || this.destroyed) throw new RevdialError("CLOSED", "the dispatcher is closed");
      exchange.start(options);
      return true;
    } catch (error) {
      exchange.failed(errorOf(error));
      return false;
    }
  }

  /** undici's interceptors work on it. */
  compose(...interceptors: (Interceptor | Interceptor[] | null | undefined)[]): TunnelDispatcher {
    let dispatch: Dispatch = (options, handler) => this.dispatch(options, handler);
    for (const intercept of interceptors.flat()) if (intercept) dispatch = intercept(dispatch);
    return new Proxy(this, { get: (own, name) => (name === "dispatch" ? dispatch : Reflect.get(own, name)) });
  }

  /** Takes no new requests. The tunnel goes on: it is not the dispatcher's to end. */
  close(done?: () => void): Promise<void> {
    this.closed = true;
    return settled(done);
  }

  destroy(...args: unknown[]): Promise<void> {
    this.closed = true;
    this.destroyed = true;
    return settled(args.find((arg): arg is () => void => typeof arg === "function"));
  }
}

const errorOf = (thrown: unknown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));

async function settled(done: (() => void) | undefined): Promise<void> {
  if (done) queueMicrotask(done);
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
    if (typeof options !== "object" || options === null) throw new RevdialError("ARGUMENT", "no options");
    const { path, method, query, deadlineMs, trailers } = options;
    const headers = pairsOf(options.headers);
    const body = bodyOf(options.body, headers);
    this.upgrade = method === "CONNECT" ? "" : upgradeOf(options.upgrade);
    const { service, upgrade } = this;
    const head = openHead({
      service,
      method,
      path: !query ? path : withQuery(path, query),
      headers,
      body,
      trailers,
      deadlineMs,
      upgrade,
    });
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
    if (this.channel === 0 || this.closed) return this.failed(reason);
    this.port.reset(this.channel, "CANCELLED", "cancelled by the caller");
  }

  failed(error: Error): void {
    if (this.over) return;
    this.over = true;
    this.waiting = undefined;
    this.ended = undefined;
    try {
      this.handler.onResponseError?.(this, error);
    } catch (thrown) {
      warn(thrown); // The handler has nobody else: what it throws here must not end the tunnel of all others.
    }
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
    this.contain(() => this.handler.onResponseStart?.(this, status, objectOf(headers)));
  }

  onHead(status: number, headers: HeaderList): void {
    if (this.aborted) return;
    this.heads = status === 101 ? withUpgrade(headers, this.upgrade) : headers;
    this.contain(() => {
      if (status === 101) this.switched(this.heads);
      else this.handler.onResponseStart?.(this, status, objectOf(headers), "");
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
    if (this.aborted) return;
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
      return this.abort(errorOf(error));
    }
    if (!this.over) this.port.consumed(this.channel, bytes.byteLength);
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
      this.failed(errorOf(error));
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
    const failure = this.reason ?? error;
    if (failure && !this.socket) this.failed(failure);
  }
}

function fromLegacy(handler: LegacyHandler): DispatchHandler {
  return {
    onRequestStart: (controller, context) =>
      handler.onConnect((reason) => controller.abort(reason ?? new Error("aborted")), context),
    onRequestUpgrade: (controller, status, _headers, socket) =>
      handler.onUpgrade?.(status, controller.rawHeaders ?? [], socket),
    onResponseStart(controller, status, _headers, statusText = "") {
      const raw = controller.rawHeaders ?? [];
      if (handler.onHeaders?.(status, raw, () => controller.resume(), statusText) === false)
        controller.pause();
    },
    onResponseData(controller, chunk) {
      if (handler.onData?.(chunk) === false) controller.pause();
    },
    onResponseEnd: (controller) => handler.onComplete?.(controller.rawTrailers ?? []),
    onResponseError: (_controller, error) => handler.onError?.(error),
  };
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
