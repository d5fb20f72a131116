/** What a tunnel promises to say about itself; every one of the promises settles when the tunnel ends. */
import { RevdialError } from "./errors.ts";
import { retryAfter } from "./exchange.ts";
import type { TunnelEnd } from "./tunnel.ts";

export class Milestones {
  readonly ready = Promise.withResolvers<void>();
  readonly reached = Promise.withResolvers<void>();
  readonly goingAway = Promise.withResolvers<TunnelEnd>();
  readonly closed = Promise.withResolvers<TunnelEnd>();

  constructor() {
    // Those who do not wait for these watch `closed`.
    this.ready.promise.catch(() => undefined);
    this.reached.promise.catch(() => undefined);
  }

  /** The tunnel is over; `closed` waits for the transport. */
  over(end: TunnelEnd, cause: unknown): void {
    const error = new RevdialError(end.code, end.reason, { cause, ...retryAfter(end) });
    this.goingAway.resolve(end);
    this.ready.reject(error);
    this.reached.reject(error);
  }
}
