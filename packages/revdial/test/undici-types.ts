/**
 * What a program in TypeScript writes, without a cast. Nobody runs this: the type check reads it, with the types of Node's fetch
 * (undici-types) and those of undici.
 */
import {
  type Dispatcher,
  type Pool,
  RetryAgent,
  fetch as undiciFetch,
  request as undiciRequest,
} from "undici";
import type { Tunnel, TunnelDispatcher, TunnelSet } from "../src/index.ts";
import { tunnelFetch } from "../src/index.ts";

declare const tunnel: Tunnel;
declare const set: TunnelSet;

export const dispatcher: TunnelDispatcher = tunnel.dispatcher("wolf");
export const asUndici: Dispatcher = dispatcher;
export const composed: Dispatcher = dispatcher.compose(
  (dispatch) => (options, handler) => dispatch(options, handler),
);
export const wrapped = new RetryAgent(dispatcher);

export const byNode = fetch("http://any.host/", { dispatcher });
export const byNodeOverSet = fetch("http://any.host/", {
  method: "POST",
  body: "x",
  dispatcher: set.dispatcher("wolf"),
});
export const byUndici = undiciFetch("http://any.host/", { dispatcher });
export const byRequest = undiciRequest("http://any.host/", { dispatcher, body: Buffer.from("x") });

/** It has none of undici's own methods, and the type says so. */
// @ts-expect-error
dispatcher.request({ path: "/", method: "GET" });
// @ts-expect-error
dispatcher.on("drain", () => undefined);

/** Undici's options and handlers are ours. */
export function pass(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
  return dispatcher.dispatch(options, handler);
}

/** And ours are undici's. */
export const over = (pool: Pool): Pick<TunnelDispatcher, "dispatch"> => pool;

export const viaHeaders = tunnelFetch(set, "wolf")("/", {
  headers: new Headers({ a: "b" }),
  body: new FormData(),
});
export const viaUndefined = tunnelFetch(tunnel, "wolf")("/", {
  headers: undefined,
  body: undefined,
  signal: null,
});

export const asFetch: typeof fetch = tunnelFetch(tunnel, "wolf");
export const viaRequest = tunnelFetch(tunnel, "wolf")(new Request("http://any.host/"), { deadlineMs: 1000 });
