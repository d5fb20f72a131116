/** The end of a channel the peer opened: the request as our handler sees it, and the ways to answer. */
import type { Duplex } from "node:stream";
import { IncomingBody } from "./body.ts";
import { BodySource } from "./body-source.ts";
import type { ChannelEnd, ChannelPort } from "./channel-end.ts";
import { RevdialError, type WireCodeName } from "./errors.ts";
import { BodySender, checkBody, isEmpty, lengthOf } from "./exchange.ts";
import { channelKinds, type OpenHead } from "./frame.ts";
import { type HeaderList, takeLength, travellingHeaders, withLength } from "./head.ts";
import { TunnelSocket } from "./socket.ts";
import type { Body, IncomingRequest, OutgoingResponse, Reply, RequestHandler } from "./tunnel.ts";

/** Codes a handler may answer with by throwing them. */
const handlerCodes: ReadonlySet<string> = new Set(["REFUSED", "SERVICE_UNKNOWN", "CANCELLED"]);

export class ServeEnd implements ChannelEnd, Reply {
  readonly cause = undefined;
  over = false;
  /** Why it is over before its time. */
  error: RevdialError | undefined;
  private readonly port: ChannelPort;
  private readonly channel: number;
  private readonly request: ServedRequest;
  private answered = false;
  /** The handler has. */
  private stopped = false;
  private sender: BodySender | undefined;
  private socket: TunnelSocket | undefined;
  private drainListener: (() => void) | undefined;
  private closeListener: ((error: RevdialError | undefined) => void) | undefined;

  constructor(port: ChannelPort, channel: number, head: OpenHead, ended: boolean) {
    this.port = port;
    this.channel = channel;
    this.request = new ServedRequest(this, head, !ended, (bytes) => port.consumed(channel, bytes));
  }

  /** Runs the handler to its end, whatever it does; its slot is free afterwards. */
  async serve(handler: RequestHandler): Promise<void> {
    try {
      const response = await handler(this.request, this);
      if (response !== undefined) await this.respond(response);
      else if (!this.answered && !this.over) throw new Error("a handler ended without an answer");
    } catch (error) {
      if (!this.over) this.failed(error);
    } finally {
      this.port.handled(this.channel);
      this.stopped = true;
      if (this.over) this.request.over();
    }
  }

  private async respond({ status, headers = [], body, trailers = [] }: OutgoingResponse): Promise<void> {
    checkBody(body);
    if (this.over) return await new BodySource(body).stop();
    if (!(status >= 200)) throw new RevdialError("HEAD_INVALID", `a response has no status ${status}`);
    const bodiless = this.request.method === "HEAD" || status === 204 || status === 304;
    const empty = bodiless || (isEmpty(body) && trailers.length === 0);
    this.sendHead(status, headers, empty, body, trailers.length > 0);
    if (empty) return await new BodySource(body).stop();
    if (body instanceof Uint8Array) {
      // A whole body needs no turn of its own: head, body and end leave in one message.
      this.port.data(this.channel, body);
      return this.port.end(this.channel, trailers);
    }
    this.sender = new BodySender(this.port, this.channel, body, () => trailers);
    await this.sender.sent;
  }

  /** An answer's head, with the length of its body where that is known. */
  private sendHead(status: number, headers: HeaderList, end: boolean, body?: Body, trailers = false): void {
    const fields = travellingHeaders(headers);
    const said = takeLength(fields);
    const length = status < 200 || status === 204 ? undefined : lengthOf(said, body, trailers);
    this.port.head(this.channel, status, length, fields, end);
  }

  private failed(error: unknown): void {
    if (error instanceof RevdialError && handlerCodes.has(error.code)) {
      const reason = error.message.slice(error.code.length + 2);
      return this.port.reset(this.channel, error.code as WireCodeName, reason);
    }
    // The cause stays on this side: it may name things that the caller should not see.
    this.port.reset(this.channel, "HANDLER_FAILED", "the handler failed");
    this.port.report(error);
  }

  interim(status: number, headers: HeaderList = []): void {
    if (this.over) return;
    if (!(status >= 100 && status < 200) || status === 101)
      throw new RevdialError("HEAD_INVALID", `no interim head has status ${status}`);
    this.sendHead(status, headers, false);
  }

  head(status: number, headers: HeaderList = []): void {
    if (this.over) return;
    if (!(status >= 200)) throw new RevdialError("HEAD_INVALID", `a response has no status ${status}`);
    this.sendHead(status, headers, false);
  }

  write(bytes: Uint8Array): boolean {
    if (this.over) return true;
    checkBytes(bytes);
    return this.port.data(this.channel, bytes);
  }

  end(bytes?: Uint8Array, trailers: HeaderList = []): void {
    if (this.over) return;
    if (bytes !== undefined) {
      checkBytes(bytes);
      if (bytes.byteLength > 0) this.port.data(this.channel, bytes);
    }
    this.port.end(this.channel, trailers);
    this.answered = true;
  }

  accept(headers: HeaderList = []): Duplex {
    if (this.request.upgrade === undefined)
      throw new RevdialError("ARGUMENT", "the caller did not ask for a byte stream");
    if (!this.over) this.sendHead(101, headers, false);
    this.answered = true;
    this.socket = new TunnelSocket(this.port, this.channel);
    this.request.moveTo(this.socket);
    if (this.over) this.socket.onClosed(this.error ?? new RevdialError("CANCELLED", "the exchange is over"));
    return this.socket;
  }

  onDrain(listener: () => void): void {
    if (this.over) listener();
    else this.drainListener = listener;
  }

  onClose(listener: (error: RevdialError | undefined) => void): void {
    if (this.over) listener(this.error);
    else this.closeListener = listener;
  }

  onInterim(): void {}

  onHead(): void {}

  onData(bytes: Uint8Array): void {
    if (this.socket) this.socket.onData(bytes);
    else this.request.incoming.push(bytes);
  }

  onEnded(trailers: HeaderList): void {
    if (this.socket) this.socket.onEnded();
    else this.request.incoming.end(trailers);
  }

  onDrained(): void {
    this.sender?.resume();
    this.socket?.onDrained();
    try {
      this.drainListener?.();
    } catch (error) {
      this.drainListener = undefined;
      this.failed(error);
    }
  }

  onClosed(error: RevdialError | undefined): void {
    this.over = true;
    this.sender?.stop();
    this.socket?.onClosed(error);
    if (error) this.request.incoming.fail(error);
    this.request.closed(this.port, this.channel);
    if (this.stopped) this.request.over();
    // Our answer was complete: the caller merely was not done with its upload.
    const cut = error?.code === "NOT_NEEDED" ? undefined : error;
    this.error = cut;
    if (cut) this.request.cancel(cut);
    this.told(() => this.closeListener?.(cut));
    // Whoever waits for room waits no longer: what is said now goes nowhere.
    this.told(this.drainListener);
  }

  /** Of the end: what a listener throws costs nothing any more. */
  private told(listener: (() => void) | undefined): void {
    try {
      listener?.();
    } catch (error) {
      this.port.report(error);
    }
  }
}

/** Error: ARGUMENT. */
function checkBytes(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) throw new RevdialError("ARGUMENT", "what is written is no Uint8Array");
}

/** Signal and body are made when somebody asks for them: most exchanges are small and need neither. */
class ServedRequest implements IncomingRequest {
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly headers: HeaderList;
  readonly deadlineMs?: number;
  readonly traceparent?: string;
  readonly upgrade?: string;
  readonly hasBody: boolean;
  private readonly open: boolean;
  private readonly onConsumed: (bytes: number) => void;
  private bytes: IncomingBody | undefined;
  private readonly end: ServeEnd;
  private abort: AbortController | undefined;

  constructor(end: ServeEnd, head: OpenHead, open: boolean, onConsumed: (bytes: number) => void) {
    this.end = end;
    this.service = head.service;
    this.method = head.method;
    this.path = head.path;
    this.headers = withLength(head.headers, head.length);
    if (head.deadlineMs > 0) this.deadlineMs = head.deadlineMs;
    if (head.traceparent !== "") this.traceparent = head.traceparent;
    if (head.kind === channelKinds.socket) this.upgrade = head.protocol;
    this.hasBody = open && head.kind === channelKinds.request;
    this.open = open;
    this.onConsumed = onConsumed;
  }

  get incoming(): IncomingBody {
    if (this.bytes === undefined) {
      // A handler may answer without reading on; the caller is told when the answer is complete.
      this.bytes = new IncomingBody(this.onConsumed, () => undefined);
      if (!this.open) this.bytes.end([]);
    }
    return this.bytes;
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.incoming;
  }

  get trailers(): Promise<HeaderList> {
    return this.incoming.trailers;
  }

  get signal(): AbortSignal {
    if (this.abort === undefined) {
      this.abort = new AbortController();
      if (this.end.error) this.abort.abort(this.end.error);
    }
    return this.abort.signal;
  }

  cancel(error: RevdialError): void {
    this.abort?.abort(error);
  }

  closed(port: ChannelPort, channel: number): void {
    this.bytes?.closed(port, channel);
  }

  /** Its channel is over, and its handler has stopped. */
  over(): void {
    this.bytes?.dropUnlessRead();
  }

  /** What came before the socket was accepted is its first bytes. */
  moveTo(socket: TunnelSocket): void {
    this.incoming.drainInto(socket);
  }
}
