/** One upgrade as a front answers it: a pipe after the backend's 101, an ordinary answer otherwise. */
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { DispatchController, DispatchHandler } from "../dispatching.ts";
import type { HttpFrontOptions } from "./front.ts";
import { Answer } from "./front-answer.ts";
import { joinSockets } from "./join.ts";

export class UpgradeAnswer implements DispatchHandler {
  private readonly request: IncomingMessage;
  private readonly socket: Duplex;
  private readonly options: HttpFrontOptions;
  /** What the client said before it knew the answer: held until the 101, dropped without one. */
  private readonly early: Buffer;
  private ordinary: Answer | undefined;
  private over = false;

  constructor(request: IncomingMessage, socket: Duplex, early: Buffer, options: HttpFrontOptions) {
    this.request = request;
    this.socket = socket;
    this.early = early;
    this.options = options;
    socket.on("error", () => socket.destroy());
  }

  onRequestStart(controller: DispatchController): void {
    this.socket.once("close", () => {
      if (!this.over) controller.abort(new Error("the client is gone"));
    });
  }

  onRequestUpgrade(
    _controller: DispatchController,
    _status: number,
    headers: Record<string, string | string[]>,
    backend: Duplex,
  ): void {
    this.over = true;
    const { socket } = this;
    const lines = ["HTTP/1.1 101 Switching Protocols", "connection: Upgrade"];
    for (const [name, value] of Object.entries({ upgrade: this.request.headers.upgrade ?? "", ...headers })) {
      if (name === "connection") continue;
      for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`);
    }
    if (socket.destroyed) return void backend.destroy();
    socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    if (this.early.length > 0) backend.write(this.early);
    joinSockets(socket, backend);
  }

  onResponseStart(
    controller: DispatchController,
    status: number,
    headers: Record<string, string | string[]>,
  ): void {
    if (status < 200) return;
    this.answer(controller).onResponseStart(controller, status, headers);
  }

  onResponseData(controller: DispatchController, chunk: Buffer): void {
    this.answer(controller).onResponseData(controller, chunk);
  }

  onResponseEnd(controller: DispatchController, trailers: Record<string, string | string[]>): void {
    this.answer(controller).onResponseEnd(controller, trailers);
  }

  onResponseError(controller: DispatchController, error: Error): void {
    if (!this.over || this.ordinary) this.answer(controller).onResponseError(controller, error);
  }

  /** No upgrade: an ordinary response on a connection that ends with it, since what follows on it is in doubt. */
  private answer(controller: DispatchController): Answer {
    if (this.ordinary) return this.ordinary;
    this.over = true;
    const { socket } = this;
    const response = new ServerResponse(this.request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    // A client that does not close its side must not keep the connection.
    response.once("finish", () => socket.end(() => socket.destroy()));
    socket.once("close", () => response.destroy());
    socket.resume();
    this.ordinary = new Answer(this.request, response, this.options);
    this.ordinary.onRequestStart(controller);
    return this.ordinary;
  }
}
