/**
 * undici's words for an exchange, so that its functions and ours fit together: options, controller and handler.
 */
import type { Duplex } from "node:stream";
import type { BodyInput, HeaderInput } from "./fetch-input.ts";
import type { HeaderList } from "./head.ts";

export type HeaderObject = Record<string, string | string[]>;

/** undici's `DispatchOptions`, as far as a tunnel uses them; `deadlineMs` and `trailers` are ours. The origin is ignored. */
export interface DispatchOptions {
  path: string;
  method: string;
  /** Flat pairs too. Default: none. */
  headers?: HeaderInput | readonly string[] | undefined;
  /** Default: none. */
  body?: BodyInput | undefined;
  /** What is put behind `path`. Default: nothing. */
  query?: Record<string, unknown> | null | undefined;
  /** The protocol to switch to; "CONNECT" as method asks for a plain byte stream. Default: none. */
  upgrade?: string | boolean | null | undefined;
  /** Milliseconds for the whole exchange. Default: none. */
  deadlineMs?: number | undefined;
  /** The fields after the body, asked for once all of it has been taken. Default: none. */
  trailers?: (() => HeaderList) | undefined;
  /** undici's own limits in milliseconds: they are for other dispatchers, a tunnel has `deadlineMs`. Default: not looked at. */
  headersTimeout?: number | null | undefined;
  /** As `headersTimeout`, in milliseconds. Default: not looked at. */
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

/** undici's `DispatchHandler`, and a method of ours. */
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
  /**
   * Ours: a tunnel's dispatcher calls it instead of `onResponseStart`, with the fields in the order in which they came. Interceptors
   * know of `onResponseStart` only: who takes the one takes the other.
   */
  onResponseFields?(controller: DispatchController, status: number, fields: HeaderList): void;
  onResponseData?(controller: DispatchController, chunk: Buffer): void;
  onResponseEnd?(controller: DispatchController, trailers: HeaderObject): void;
  onResponseError?(controller: DispatchController, error: Error): void;
}

/** One exchange with one handler. */
export interface Exchange {
  start(options: DispatchOptions): void;
  /** It could not start. */
  failed(error: Error): void;
}

export const errorOf = (thrown: unknown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));
