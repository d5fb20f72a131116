/** The dialling side of the HTTP transport (SPEC §12): reads one endless response, and sends one POST at a time. */
import * as http from "node:http";
import * as https from "node:https";
import { type Clock, systemClock, type Timer } from "./clock.ts";
import { type Connecting, networkReason, refusal, type WayOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { tell } from "./exchange.ts";
import {
  closeRecord,
  HTTP_CONTENT_TYPE,
  RecordReader,
  recordOf,
  SEQUENCE_FIELD,
  TUNNEL_FIELD,
  TUNNEL_KEY_FORM,
} from "./http-wire.ts";
import { limitsOf } from "./limits.ts";
import { fixed } from "./numbers.ts";
import { Summary } from "./summary.ts";
import type { Transport, TransportEvents } from "./transport.ts";

/** What intermediaries say when they have lost their way to the acceptor: it may have taken the POST, or may take the next. */
const RETRIED_STATUSES = new Set([408, 500, 502, 503, 504]);

/** Opens the stream downwards; `opened` is told in the turn in which its head came, before any byte of it is read. */
export function connectHttp(target: URL, options: WayOptions, events: Connecting): () => void {
  const caller = new Caller(target, options);
  let opened = false;
  let request: http.ClientRequest;
  try {
    request = caller.request({}, 0, false);
  } catch (cause) {
    caller.destroy();
    throw new RevdialError("ARGUMENT", "the URL or a header cannot be used for HTTP", { cause });
  }
  request.on("error", (cause) => {
    if (!opened) events.failed(new RevdialError("DIAL_FAILED", networkReason(cause), { cause }));
  });
  request.on("response", (response) => {
    response.on("error", () => undefined); // `close` follows.
    if (response.statusCode !== 200)
      return events.refused(refusal(response, "open request", options.clock ?? systemClock));
    const key = response.headers[TUNNEL_FIELD];
    const type = response.headers["content-type"];
    const plain = response.headers["content-encoding"] === undefined;
    if (type !== HTTP_CONTENT_TYPE || !plain || typeof key !== "string" || !TUNNEL_KEY_FORM.test(key)) {
      return events.failed(new RevdialError("DIAL_FAILED", "the answer is no stream of a revdial acceptor"));
    }
    opened = true;
    tell(() => options.onAnswer?.(response.headers), options.onHandlerError);
    events.opened(new HttpDialTransport(request, response, key, caller, options));
  });
  request.end();
  return () => {
    request.destroy();
    caller.destroy();
  };
}

/** Makes requests to one place; its POSTs share a connection for as long as that works. */
class Caller {
  private readonly target: URL;
  private readonly options: WayOptions;
  private readonly maker: typeof http | typeof https;
  private readonly agent: http.Agent;

  constructor(target: URL, options: WayOptions) {
    this.target = target;
    this.options = options;
    this.maker = target.protocol === "https:" ? https : http;
    this.agent = new this.maker.Agent({ keepAlive: true, maxSockets: 1 });
  }

  request(headers: Record<string, string>, bytes: number, shared: boolean): http.ClientRequest {
    const { ca, insecure = false } = this.options;
    const request = this.maker.request(this.target, {
      method: "POST",
      agent: shared ? this.agent : false,
      rejectUnauthorized: !insecure,
      ...(ca === undefined ? {} : { ca }),
      headers: {
        ...this.options.headers,
        ...headers,
        "content-type": HTTP_CONTENT_TYPE,
        "content-length": String(bytes),
      },
    });
    request.setNoDelay(true);
    return request;
  }

  destroy(): void {
    this.agent.destroy();
  }
}

class HttpDialTransport extends Summary implements Transport {
  readonly transport = "http";
  /** Accepted and not yet acknowledged. */
  queuedBytes = 0;
  readonly #down: http.ClientRequest;
  readonly #response: http.IncomingMessage;
  readonly #key: string;
  readonly #caller: Caller;
  private readonly clock: Clock;
  private readonly messageBytesMax: number;
  private events: TransportEvents | undefined;
  private pending: Uint8Array[] = [];
  private sequence = 0;
  private posting = false;
  #current: http.ClientRequest | undefined;
  private timer: Timer | undefined;
  private closing = false;
  private deaf = false;
  private lost = false;

  constructor(
    down: http.ClientRequest,
    response: http.IncomingMessage,
    key: string,
    caller: Caller,
    options: WayOptions,
  ) {
    super();
    this.#down = down;
    this.#response = response;
    this.#key = key;
    this.#caller = caller;
    this.clock = options.clock ?? systemClock;
    this.messageBytesMax = limitsOf(options.limits).messageBytesMax;
  }

  start(events: TransportEvents): void {
    this.events = events;
    const reader = new RecordReader(this.messageBytesMax, {
      message: (message) => events.message(message),
      close: (code) => this.closed(`the peer closed with code ${code}`),
      malformed: (reason) => this.closed(reason),
    });
    this.#response.on("data", (chunk: Buffer) => {
      if (this.lost) return;
      events.bytes();
      reader.push(chunk);
    });
    this.#response.on("close", () => this.closed("the response downwards has ended"));
  }

  send(parts: readonly Uint8Array[]): void {
    if (!this.closing) this.enqueue(recordOf(parts));
  }

  close(code: number, reason: string): void {
    if (this.closing) return;
    if (this.deaf) return this.terminate();
    this.enqueue(closeRecord(code, reason));
    this.closing = true;
  }

  terminate(): void {
    queueMicrotask(() => this.closed("terminated here"));
  }

  toJSON() {
    const { transport, queuedBytes } = this;
    return { transport, queuedBytes };
  }

  private enqueue(bytes: Uint8Array): void {
    if (this.lost || this.deaf) return;
    this.pending.push(bytes);
    this.queuedBytes += bytes.byteLength;
    this.pump();
  }

  /** One POST at a time; what becomes ready meanwhile shares the next. */
  private pump(): void {
    if (this.posting || this.lost || this.pending.length === 0) return;
    const body = this.takeBody();
    this.posting = true;
    this.sequence += 1;
    this.post(body, 1);
  }

  private takeBody(): Uint8Array {
    const parts: Uint8Array[] = [];
    let room = fixed.ownPostBytesMax;
    while (room > 0) {
      const next = this.pending.shift();
      if (next === undefined) break;
      // Records may be cut anywhere: what does not fit goes first in the next POST.
      if (next.byteLength > room) this.pending.unshift(next.subarray(room));
      const part = next.subarray(0, room);
      parts.push(part);
      room -= part.byteLength;
    }
    return Buffer.concat(parts);
  }

  private post(body: Uint8Array, attempt: number): void {
    let settled = false;
    const settle = (status: number | undefined, reason: string) => {
      if (settled || this.lost) return;
      settled = true;
      this.timer?.cancel();
      if (status === 204) return this.acknowledged(body.byteLength);
      // And with it its connection, which may be dead without saying so: the next POST makes one of its own.
      request.destroy();
      if (status === 404) return this.hearOut();
      if (status !== undefined && !RETRIED_STATUSES.has(status)) {
        return this.closed(`a POST was answered with status ${status}`);
      }
      this.retry(body, attempt, reason);
    };
    const fields = { [TUNNEL_FIELD]: this.#key, [SEQUENCE_FIELD]: String(this.sequence) };
    const request = this.#caller.request(fields, body.byteLength, true);
    this.#current = request;
    request.on("error", (error) => settle(undefined, error.message));
    request.on("response", (response) => {
      response.on("error", () => undefined); // `close` of the request follows.
      if (response.statusCode !== 204) return settle(response.statusCode, `status ${response.statusCode}`);
      response.resume();
      response.on("end", () => settle(204, ""));
    });
    request.on("close", () => settle(undefined, "the connection was closed"));
    this.timer = this.clock.setTimer(fixed.postTimeoutMs, () => settle(undefined, "no answer in time"));
    request.end(body);
  }

  private acknowledged(bytes: number): void {
    this.posting = false;
    this.queuedBytes -= bytes;
    this.pump();
    this.events?.drain();
  }

  /** With the same number: the acceptor knows whether it has taken it already. */
  private retry(body: Uint8Array, attempt: number, reason: string): void {
    if (attempt >= fixed.postTriesMax) return this.closed(`a POST failed ${attempt} times: ${reason}`);
    const pauseMs = (attempt - 1) * fixed.postRetryPauseMs;
    if (pauseMs === 0) return this.post(body, attempt + 1);
    this.timer = this.clock.setTimer(pauseMs, () => this.post(body, attempt + 1));
  }

  /** The acceptor knows this tunnel no more. Why, it says downwards: another way, which may be the slower one. */
  private hearOut(): void {
    const reason = "a POST was answered with status 404";
    this.timer = this.clock.setTimer(fixed.hearOutMs, () => this.closed(reason));
    this.deaf = true;
    this.pending = [];
    this.queuedBytes = 0;
    this.events?.deaf(reason);
  }

  private closed(reason: string): void {
    if (this.lost) return;
    this.lost = true;
    this.timer?.cancel();
    this.pending = [];
    this.#current?.destroy();
    this.#down.destroy();
    this.#caller.destroy();
    this.events?.closed(reason);
  }
}
