/** What programs with undici's types write, without a cast. Nothing runs: that it compiles is the test. */
import { Agent, Client, type Dispatcher, interceptors, Pool } from "undici";
import { type Dispatching, type HttpFront, httpFront } from "../src/http/index.ts";
import type { Tunnel } from "../src/index.ts";

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

/** A dispatcher of one's own, that passes on to another. */
export const counting = (inner: Dispatching, count: () => void): Dispatching => ({
  dispatch(options, handler) {
    count();
    return inner.dispatch(options, handler);
  },
});
