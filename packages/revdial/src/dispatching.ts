/**
 * undici's words for an exchange, so that its functions and ours fit together: options, controller, handler, and the handler of
 * the generation before, which is turned into the present one.
 */
import type { Duplex } from "node:stream";
import type { BodyInput, HeaderInput } from "./fetch-input.ts";
import type { HeaderList } from "./head.ts";

export type HeaderObject = Record<string, string | string[]>;

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
export interface LegacyHandler {
  onConnect(abort: (reason?: Error) => void, context: unknown): void;
  onUpgrade?(status: number, headers: Buffer[], socket: Duplex): void;
  onHeaders?(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean;
  onData?(chunk: Buffer): boolean;
  onComplete?(trailers: Buffer[]): void;
  onError?(error: Error): void;
}

/** One exchange with one handler. */
export interface Exchange {
  start(options: DispatchOptions): void;
  /** It could not start. */
  failed(error: Error): void;
}

export function fromLegacy(handler: LegacyHandler): DispatchHandler {
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

export const errorOf = (thrown: unknown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));
