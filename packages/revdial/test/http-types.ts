/** What programs with undici's types write, without a cast. Nothing runs: that it compiles is the test. */
import { Agent, Client, type Dispatcher, interceptors, Pool } from "undici";
import { type Dispatching, forwardTo, type HttpFront, httpFront } from "../src/http/index.ts";
import type { RequestHandler, Tunnel } from "../src/index.ts";

export function fronts(tunnel: Tunnel, dispatcher: Dispatcher): HttpFront[] {
  return [
    httpFront(tunnel.dispatcher("web"), { deadlineMs: 1000 }),
    httpFront(tunnel.dispatcher("web").compose(null)),
    httpFront(new Pool("http://localhost:1")),
    httpFront(new Client("http://localhost:1")),
    httpFront(new Agent()),
    httpFront(new Pool("http://localhost:1").compose(interceptors.retry())),
    httpFront(dispatcher),
  ];
}

export function forwarders(tunnel: Tunnel): RequestHandler[] {
  const target = { host: "localhost", port: 1 };
  return [
    forwardTo(target, { dispatcher: new Pool("http://localhost:1") }),
    forwardTo(
      { socketPath: "/run/web" },
      { dispatcher: new Client("http://localhost", { socketPath: "/run/web" }) },
    ),
    forwardTo(target, { dispatcher: tunnel.dispatcher("web") }),
  ];
}

/** A dispatcher of one's own, that passes on to another. */
export const counting = (inner: Dispatching, count: () => void): Dispatching => ({
  dispatch(options, handler) {
    count();
    return inner.dispatch(options, handler);
  },
});
