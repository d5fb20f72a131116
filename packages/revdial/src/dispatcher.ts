/**
 * A tunnel's service as an undici `Dispatcher`: `fetch(url, { dispatcher })` and undici's own functions go through it. Both
 * generations of undici's handler interface are served: `onResponseStart` (undici 7 and later) and `onHeaders` (fetch of Node 18 to 24).
 */
import { type DispatchHandler, type DispatchOptions, type Exchange, errorOf } from "./dispatching.ts";
import { beforeSending, RevdialError } from "./errors.ts";
import { checkService } from "./head.ts";
import { fromLegacy, isLegacy } from "./legacy-handler.ts";

/** A method's type, as undici's is: options and handlers of the one may then be given to the other. */
type Dispatch = TunnelDispatcher["dispatch"];
type Interceptor = (dispatch: Dispatch) => Dispatch;

/**
 * What undici's class has besides, and none of its functions calls. For the type only: with it, a dispatcher can be given to
 * whoever wants undici's, of Node's own types or of any version of the package, and to call one of them does not compile.
 */
abstract class UndiciMembers {
  declare readonly request: never;
  declare readonly stream: never;
  declare readonly pipeline: never;
  declare readonly upgrade: never;
  declare readonly connect: never;
  declare readonly addListener: never;
  declare readonly on: never;
  declare readonly once: never;
  declare readonly prependListener: never;
  declare readonly prependOnceListener: never;
  declare readonly off: never;
  declare readonly removeListener: never;
  declare readonly removeAllListeners: never;
  declare readonly emit: never;
  declare readonly eventNames: never;
  declare readonly listeners: never;
  declare readonly rawListeners: never;
  declare readonly listenerCount: never;
  declare readonly setMaxListeners: never;
  declare readonly getMaxListeners: never;
}

/**
 * For undici's `fetch`, `request`, `stream`, `pipeline`, `upgrade` and `connect` as their `dispatcher` option, for Node's own
 * `fetch`, and for `compose` with undici's interceptors. Not as with undici's own dispatchers:
 *
 * - It has no such methods itself and emits no events: in TypeScript they are of type never.
 * - The URL's host is not looked at: a redirect to another one stays with the service.
 * - A form may be of any FormData, not only of the undici that sends it.
 * - `expectContinue`, `reset`, `blocking`, `idempotent`, `headersTimeout` and `bodyTimeout` do nothing (`deadlineMs` is the one
 *   limit of time), and handlers are not told of what was sent (`onBodySent`, `onRequestSent`).
 * - The retry interceptor knows statuses as ever, but none of our codes: name them in `errorCodes`, and only those that
 *   are not sent, such as REFUSED and DRAINING.
 */
export class TunnelDispatcher extends UndiciMembers {
  closed = false;
  destroyed = false;
  private readonly exchange: (handler: DispatchHandler) => Exchange;

  /** Error: ARGUMENT, HEAD_INVALID for what cannot be a service. */
  constructor(service: string, exchange: (handler: DispatchHandler) => Exchange) {
    super();
    checkService(service);
    this.exchange = exchange;
  }

  /** Throws for a missing handler (ARGUMENT) and nothing else: every failure reaches the handler, as a RevdialError. */
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean {
    if (typeof handler !== "object" || handler === null) throw new RevdialError("ARGUMENT", "no handler");
    const modern = isLegacy(handler) ? fromLegacy(handler) : handler;
    const exchange = this.exchange(modern);
    try {
      beforeSending(() => {
        if (this.closed || this.destroyed) throw new RevdialError("CLOSED", "the dispatcher is closed");
        exchange.start(options);
      });
      return true;
    } catch (error) {
      exchange.failed(errorOf(error));
      return false;
    }
  }

  /** undici's interceptors work on it. */
  compose(...interceptors: (Interceptor | Interceptor[] | null | undefined)[]): TunnelDispatcher {
    let dispatch: Dispatch = (options, handler) => this.dispatch(options, handler);
    for (const intercept of interceptors.flat()) if (intercept) dispatch = intercept(dispatch);
    return new Proxy(this, { get: (own, name) => (name === "dispatch" ? dispatch : Reflect.get(own, name)) });
  }

  /** Takes no new requests. The tunnel goes on: it is not the dispatcher's to end. */
  close(done?: () => void): Promise<void> {
    this.closed = true;
    return settled(done);
  }

  destroy(...args: unknown[]): Promise<void> {
    this.closed = true;
    this.destroyed = true;
    return settled(args.find((arg): arg is () => void => typeof arg === "function"));
  }
}

async function settled(done: (() => void) | undefined): Promise<void> {
  if (done) queueMicrotask(done);
}
