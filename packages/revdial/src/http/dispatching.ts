/** What a front asks behind it: a tunnel's dispatcher, or one of undici's. */
import type { Readable } from "node:stream";
import type { DispatchHandler } from "../dispatching.ts";
import type { HeaderList } from "../head.ts";

/** Options that undici's types accept as theirs. `deadlineMs` and `trailers` mean something to tunnels only. */
export interface DispatchingOptions {
  path: string;
  method: string;
  /** Names and values in turn. */
  headers: string[];
  /** Declared as the stream that undici's types want; any dispatcher must take it as an async iterable and nothing more. Default: none. */
  body?: Readable | null;
  /** Default: none. */
  upgrade?: string;
  /** Milliseconds for the whole exchange. Default: none. */
  deadlineMs?: number;
  /** Default: none. */
  trailers?: () => HeaderList;
}

/** undici's dispatchers, and `tunnel.dispatcher(service)`. */
export interface Dispatching {
  dispatch(options: DispatchingOptions, handler: DispatchHandler): boolean;
}

export function asBody(chunks: AsyncIterable<unknown>): Readable {
  return chunks as Readable;
}
