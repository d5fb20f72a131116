/** The accepting side of the HTTP transport (SPEC §12): a response that never ends, and POSTs taken once each, in order. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { argument } from "./checks.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import { createTunnel } from "./core-tunnel.ts";
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
import { defaults, fixed } from "./numbers.ts";
import { checkAcceptorOptions, checkTunnelOptions } from "./options.ts";
import { Summary } from "./summary.ts";
import type { Transport, TransportEvents } from "./transport.ts";
import type { Tunnel, TunnelOptions } from "./tunnel.ts";

export interface HttpAcceptorOptions {
  /** Tunnels at once. Default 1,024, from 1 to 4,294,967,295. */
  tunnelsMax?: number;
}

export interface HttpAcceptor {
  /** Which of the two a request is, by its fields alone; undefined: it is none of ours. */
  kindOf(request: IncomingMessage): "open" | "post" | undefined;
  /**
   * Answers an open request. The caller has authenticated the peer. Undefined when there is no room, and when the request has an
   * `Origin`: it is answered with 503 then, or 403. `key`: one of `newKey`, for callers that have to know it before the
   * peer does; default: one that nobody is told of. Error: ARGUMENT, with nothing answered.
   */
  open(
    request: IncomingMessage,
    response: ServerResponse,
    options?: TunnelOptions,
    key?: string,
  ): Tunnel | undefined;
  /** A key for one tunnel, which nobody has yet. A secret. */
  newKey(): string;
  /** The tunnel key of a POST upwards, if it has the form of one. A secret. */
  keyOf(request: IncomingMessage): string | undefined;
  /** Whether the tunnel of this key ends here. */
  holds(key: string): boolean;
  /** Answers a POST upwards. Needs no authentication: the tunnel key is the capability. */
  receive(request: IncomingMessage, response: ServerResponse): void;
  /** Ends all tunnels now and takes no more. */
  close(): void;
}

/** Error: ARGUMENT. */
export function createHttpAcceptor(options: HttpAcceptorOptions = {}): HttpAcceptor {
  checkAcceptorOptions(options);
  return new Acceptor(options.tunnelsMax ?? defaults.acceptor.tunnelsMax);
}

class Acceptor extends Summary implements HttpAcceptor {
  private readonly tunnelsMax: number;
  /** By the digest of their keys: a look-up that takes a little longer tells nothing about a key. */
  private readonly transports = new Map<string, { digest: Buffer; transport: HttpAcceptTransport }>();
  private closed = false;

  constructor(tunnelsMax: number) {
    super();
    this.tunnelsMax = tunnelsMax;
  }

  toJSON() {
    return { tunnels: this.transports.size, tunnelsMax: this.tunnelsMax };
  }

  kindOf(request: IncomingMessage): "open" | "post" | undefined {
    if (request.method !== "POST" || request.headers["content-type"] !== HTTP_CONTENT_TYPE) return undefined;
    return request.headers[TUNNEL_FIELD] === undefined ? "open" : "post";
  }

  open(
    request: IncomingMessage,
    response: ServerResponse,
    options: TunnelOptions = {},
    key = this.newKey(),
  ): Tunnel | undefined {
    checkTunnelOptions(options);
    if (!TUNNEL_KEY_FORM.test(key) || this.holds(key)) throw argument("the key is none, or in use");
    if (request.headers.origin !== undefined) return void refuse(request, response, 403);
    request.resume();
    if (this.closed || this.transports.size >= this.tunnelsMax) {
      answer(response, 503, { "retry-after": fixed.fullRetryAfterMs / 1000 });
      return undefined;
    }
    const digest = digestOf(key);
    const name = digest.toString("hex");
    const { messageBytesMax } = limitsOf(options.limits);
    const transport = new HttpAcceptTransport(response, key, messageBytesMax, () =>
      this.transports.delete(name),
    );
    this.transports.set(name, { digest, transport });
    return createTunnel(transport, false, options);
  }

  receive(request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "POST") return refuse(request, response, 405, { allow: "POST" });
    if (request.headers["content-type"] !== HTTP_CONTENT_TYPE) return refuse(request, response, 415);
    if (request.headers.origin !== undefined) return refuse(request, response, 403);
    const key = this.keyOf(request);
    const transport = key === undefined ? undefined : this.find(key);
    if (transport === undefined) return refuse(request, response, 404);
    const field = request.headers[SEQUENCE_FIELD];
    if (typeof field !== "string" || !/^[1-9]\d{0,14}$/.test(field)) return refuse(request, response, 400);
    if (Number(request.headers["content-length"] ?? 0) > fixed.postBytesMax)
      return refuse(request, response, 413);
    transport.receive(Number(field), request, response);
  }

  close(): void {
    this.closed = true;
    for (const { transport } of [...this.transports.values()]) transport.terminate();
  }

  newKey(): string {
    return randomBytes(32).toString("base64url");
  }

  keyOf({ headers }: IncomingMessage): string | undefined {
    const key = headers[TUNNEL_FIELD];
    return typeof key === "string" && TUNNEL_KEY_FORM.test(key) ? key : undefined;
  }

  holds(key: string): boolean {
    return this.find(key) !== undefined;
  }

  private find(key: string): HttpAcceptTransport | undefined {
    const digest = digestOf(key);
    const found = this.transports.get(digest.toString("hex"));
    return found !== undefined && timingSafeEqual(found.digest, digest) ? found.transport : undefined;
  }
}

class HttpAcceptTransport extends Summary implements Transport {
  readonly transport = "http";
  queuedBytes = 0;
  readonly #response: ServerResponse;
  readonly #key: string;
  private readonly reader: RecordReader;
  private readonly forget: () => void;
  private events: TransportEvents | undefined;
  private taken = 0;
  /** The POST that is being read; a retry of the same number takes its place. */
  #reading: IncomingMessage | undefined;
  private reason = "the response downwards was cut";
  private lost = false;

  constructor(response: ServerResponse, key: string, messageBytesMax: number, forget: () => void) {
    super();
    this.#response = response;
    this.#key = key;
    this.forget = forget;
    this.reader = new RecordReader(messageBytesMax, {
      message: (message) => this.events?.message(message),
      close: (code) => {
        this.reason = `the peer closed with code ${code}`;
        response.end();
      },
      malformed: (reason) => {
        this.reason = reason;
        this.close(1009, "");
        this.closed();
        // It was written if it could be; nobody waits for a peer that does not read.
        setImmediate(() => response.destroy());
      },
    });
  }

  start(events: TransportEvents): void {
    this.events = events;
    const response = this.#response;
    response.on("error", () => undefined); // `close` follows.
    response.on("close", () => this.closed());
    if (response.destroyed) return queueMicrotask(() => this.closed());
    response.writeHead(200, {
      "content-type": HTTP_CONTENT_TYPE,
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
      [TUNNEL_FIELD]: this.#key,
    });
    response.flushHeaders();
  }

  send(parts: readonly Uint8Array[]): void {
    this.write(recordOf(parts));
  }

  close(code: number, reason: string): void {
    this.write(closeRecord(code, reason));
    this.#response.end();
  }

  terminate(): void {
    this.#response.destroy();
    queueMicrotask(() => this.closed());
  }

  toJSON() {
    const { transport, queuedBytes } = this;
    return { transport, queuedBytes };
  }

  private write(bytes: Uint8Array): void {
    if (this.lost || this.#response.writableEnded || this.#response.destroyed) return;
    this.queuedBytes += bytes.byteLength;
    this.#response.write(bytes, () => {
      this.queuedBytes -= bytes.byteLength;
      this.events?.drain();
    });
  }

  /** The whole body is read before any of it takes effect: a POST that breaks off has not happened (SPEC §12.4). */
  receive(sequence: number, request: IncomingMessage, response: ServerResponse): void {
    if (sequence <= this.taken) return refuse(request, response, sequence === this.taken ? 204 : 409);
    if (sequence > this.taken + 1) return refuse(request, response, 409);
    this.#reading?.destroy();
    this.#reading = request;
    // Of HTTP chunks, too, the peer decides how small they are.
    const body = new ChunkQueue();
    request.on("data", (chunk: Buffer) => {
      if (this.#reading !== request) return;
      this.events?.bytes();
      body.push(chunk);
      if (body.byteLength <= fixed.postBytesMax) return;
      this.#reading = undefined;
      body.clear();
      refuse(request, response, 413);
    });
    request.on("error", () => undefined);
    request.on("close", () => {
      if (this.#reading === request) this.#reading = undefined;
    });
    request.on("end", () => {
      if (this.#reading !== request || this.lost) return refuse(request, response, this.lost ? 404 : 409);
      this.#reading = undefined;
      this.taken = sequence;
      // Answered first: what the messages lead to must not delay the next POST.
      answer(response, 204);
      for (let chunk = body.take(); chunk !== undefined; chunk = body.take()) this.reader.push(chunk);
    });
  }

  private closed(): void {
    if (this.lost) return;
    this.lost = true;
    this.#reading?.destroy();
    this.forget();
    this.events?.closed(this.reason);
  }
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** Answers without taking the body, which is thrown away. */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  request.resume();
  // What is left of a body without end is not waited for.
  answer(response, status, status === 413 ? { ...headers, connection: "close" } : headers);
}

function answer(
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const length = status === 204 ? {} : { "content-length": 0 };
  response.writeHead(status, { "cache-control": "no-store", ...length, ...headers });
  response.end();
}
