/** The handler interface of undici up to 7, which the `fetch` of Node 18 to 24 uses, as one of today's. */
import type { Duplex } from "node:stream";
import type { DispatchHandler } from "./dispatching.ts";

export interface LegacyHandler {
  onConnect(abort: (reason?: Error) => void, context: unknown): void;
  onUpgrade?(status: number, headers: Buffer[], socket: Duplex): void;
  onHeaders?(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean;
  onData?(chunk: Buffer): boolean;
  onComplete?(trailers: Buffer[]): void;
  onError?(error: Error): void;
}

export function isLegacy(handler: DispatchHandler | LegacyHandler): handler is LegacyHandler {
  return "onConnect" in handler;
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
