/** The end of a channel we opened with `request`: the answer as a promise, its body as an iterable. */
import type { Duplex } from "node:stream";
import { IncomingBody } from "./body.ts";
import type { ChannelEnd, ChannelPort } from "./channel-end.ts";
import type { Clock } from "./clock.ts";
import { readDetail } from "./detail.ts";
import { RevdialError } from "./errors.ts";
import { BodySender, isEmpty } from "./exchange.ts";
import type { HeaderList } from "./head.ts";
import { TunnelSocket } from "./socket.ts";
import type { TunnelRequest, TunnelResponse } from "./tunnel.ts";

export class RequestEnd implements ChannelEnd {
  readonly answer: Promise<TunnelResponse>;
  cause: unknown;
  private readonly port: ChannelPort;
  private readonly request: TunnelRequest;
  private readonly settle: PromiseWithResolvers<TunnelResponse>;
  private readonly body: IncomingBody;
  private channel = 0;
  private over = false;
  private sender: BodySender | undefined;
  private socket: TunnelSocket | undefined;
  private onAbort: (() => void) | undefined;

  constructor(port: ChannelPort, request: TunnelRequest) {
    this.port = port;
    this.request = request;
    this.settle = Promise.withResolvers<TunnelResponse>();
    this.answer = this.settle.promise;
    this.body = new IncomingBody(
      (bytes) => port.consumed(this.channel, bytes),
      () => this.cancel("the reader stopped", undefined),
    );
  }

  /** The channel is open: whatever goes wrong from here on has to end it. */
  start(channel: number): void {
    this.channel = channel;
    try {
      this.begin();
    } catch (error) {
      this.settle.reject(error);
      this.cancel("the request could not begin", error);
    }
  }

  /** The upload begins, and the caller's signal counts. */
  private begin(): void {
    if (this.over) return;
    const { signal, body } = this.request;
    if (signal) {
      this.onAbort = () => this.cancel("cancelled by the caller", signal.reason);
      signal.addEventListener("abort", this.onAbort, { once: true });
    }
    if (isEmpty(body)) return;
    this.sender = new BodySender(this.port, this.channel, body, this.request.trailers);
    this.sender.sent.catch((error) => {
      if (!this.over) this.cancel("the body's source failed", error);
    });
  }

  private cancel(reason: string, cause: unknown): void {
    if (this.over) return;
    this.cause = cause;
    this.port.reset(this.channel, "CANCELLED", reason);
  }

  onInterim(status: number, headers: HeaderList): void {
    this.request.onInterim?.(status, headers);
  }

  onHead(status: number, headers: HeaderList): void {
    const { body } = this;
    const response: TunnelResponse = new Answer(status, headers, body);
    if (status === 101) {
      // A time for the answer is none for the stream, which is destroyed by itself.
      this.ignoreSignal();
      this.socket = new TunnelSocket(this.port, this.channel);
      body.end([]);
      response.socket = this.socket;
    }
    this.settle.resolve(response);
  }

  onData(bytes: Uint8Array): void {
    if (this.socket) this.socket.onData(bytes);
    else this.body.push(bytes);
  }

  onEnded(trailers: HeaderList): void {
    if (this.socket) this.socket.onEnded();
    else this.body.end(trailers);
  }

  onDrained(): void {
    this.sender?.resume();
    this.socket?.onDrained();
  }

  onClosed(error: RevdialError | undefined): void {
    this.over = true;
    this.sender?.stop();
    this.socket?.onClosed(error);
    if (error) {
      this.settle.reject(error);
      this.body.fail(error);
    }
    this.body.closed(this.port, this.channel);
    this.ignoreSignal();
  }

  private ignoreSignal(): void {
    if (this.onAbort) this.request.signal?.removeEventListener("abort", this.onAbort);
  }
}

class Answer implements TunnelResponse {
  status: number;
  headers: HeaderList;
  body: IncomingBody;
  socket?: TunnelSocket;

  constructor(status: number, headers: HeaderList, body: IncomingBody) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  get trailers(): Promise<HeaderList> {
    return this.body.trailers;
  }
}

/** What `connect` resolves to. An answer that is no socket is SOCKET_REFUSED, with its status and the beginning of its body. */
export async function socketOf(response: TunnelResponse, clock: Clock): Promise<Duplex> {
  const { status, socket } = response;
  // The peer may have ended it in the same message.
  if (socket?.errored) throw socket.errored;
  if (socket) return socket;
  const chunks = response.body[Symbol.asyncIterator]();
  const stop = () => void chunks.return?.();
  const detail = await readDetail({ [Symbol.asyncIterator]: () => chunks }, stop, clock);
  throw new RevdialError("SOCKET_REFUSED", `the far end answered with status ${status}`, {
    status,
    detail,
    sent: "may-have-run",
  });
}
