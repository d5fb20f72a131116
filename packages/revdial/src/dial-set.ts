/** Keeps several tunnels to one server up. */
import { type BackoffLimits, backoffMs } from "./backoff.ts";
import { pause, systemClock } from "./clock.ts";
import { dialTarget, dialTunnel } from "./dial.ts";
import type { DialOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { guarded, warn } from "./exchange.ts";
import { checkDialOptions } from "./options.ts";
import type { RequestHandler, Tunnel } from "./tunnel.ts";
import { createTunnelSet, type TunnelSet, type TunnelSetOptions } from "./tunnel-set.ts";

export const CONNECTIONS_MAX = 16;
/** A tunnel that lives shorter has failed: a server that accepts and drops must not be dialled in a tight loop. */
const STABLE_MS = 10_000;

export interface DialSetOptions
  extends Omit<DialOptions, "handler">,
    Omit<TunnelSetOptions, "clock">,
    Partial<BackoffLimits> {
  /** Tunnels to keep up, 1 to 16. */
  connections: number;
  /** Uniform in [0, 1). Default `Math.random`. */
  random?: () => number;
  /** Default `dialTunnel`. */
  dial?: (url: string | URL, options: DialOptions) => Promise<Tunnel>;
  /** A tunnel of this slot, from 0, is up. */
  onMember?: (tunnel: Tunnel, slot: number) => void;
  /** A dial of this slot failed, or its tunnel goes away or has ended (told once); it will be dialled again. */
  onDown?: (error: RevdialError, slot: number) => void;
}

/** `signal` ends the dialling; tunnels that are up stay. `close` and `destroy` end both. Error: ARGUMENT. */
export function dialTunnelSet(url: string | URL, options: DialSetOptions): TunnelSet {
  if (typeof options !== "object" || options === null) throw new RevdialError("ARGUMENT", "no options");
  const { connections, backoffMinMs = 250, backoffMaxMs = 30_000 } = options;
  // What cannot be dialled now never can. What `dial` makes of a URL is its own business.
  if (options.dial === undefined) dialTarget(url, options);
  if (!Number.isInteger(connections) || connections < 1 || connections > CONNECTIONS_MAX)
    throw new RevdialError("ARGUMENT", `connections is no integer from 1 to ${CONNECTIONS_MAX}`);
  if (!(backoffMinMs > 0 && backoffMinMs <= backoffMaxMs && Number.isFinite(backoffMaxMs)))
    throw new RevdialError("ARGUMENT", "the backoff is no range of positive milliseconds");
  checkDialOptions(options);
  const set = createTunnelSet(options);
  const stopped = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stopped.signal]) : stopped.signal;
  let handler: RequestHandler | undefined;
  const handle: RequestHandler = (request, reply) => {
    if (handler) return handler(request, reply);
    throw new RevdialError("SERVICE_UNKNOWN", "nothing is served here");
  };
  const { serve, close, destroy } = set;
  set.serve = (given) => {
    serve.call(set, given);
    handler = given;
  };
  set.close = (how) => {
    stopped.abort();
    return close.call(set, how);
  };
  set.destroy = (reason) => {
    stopped.abort();
    destroy.call(set, reason);
  };
  const slotOptions = { ...options, backoffMinMs, backoffMaxMs };
  for (let slot = 0; slot < connections; slot += 1)
    void keepUp({ url, options: slotOptions, set, signal, handle }, slot);
  return set;
}

interface Keeping {
  url: string | URL;
  options: DialSetOptions & BackoffLimits;
  set: TunnelSet;
  signal: AbortSignal;
  handle: RequestHandler;
}

/** One slot: dial, stay up, wait, again. It holds two tunnels at most: one that drains and the one in its place. */
async function keepUp({ url, options, set, signal, handle }: Keeping, slot: number): Promise<void> {
  const { dial = dialTunnel, clock = systemClock, random = Math.random, onMember, onDown } = options;
  const report = guarded(options.onHandlerError ?? warn);
  const tell = (listener: () => void) => {
    try {
      listener();
    } catch (thrown) {
      report(thrown);
    }
  };
  let failures = 0;
  let old: Tunnel | undefined;
  while (!signal.aborted) {
    let error: RevdialError;
    let newest: Tunnel | undefined;
    try {
      const tunnel = await dial(url, { ...options, handler: handle, signal });
      if (signal.aborted) return tunnel.destroy();
      newest = tunnel;
      const upAt = clock.now();
      set.add(tunnel, { served: true });
      tell(() => onMember?.(tunnel, slot));
      const { code, reason, retryAfterMs } = await tunnel.goingAway;
      if (clock.now() - upAt >= STABLE_MS) failures = 0;
      error = new RevdialError(code, reason, retryAfterMs === undefined ? {} : { retryAfterMs });
    } catch (thrown) {
      error =
        thrown instanceof RevdialError
          ? thrown
          : new RevdialError("DIAL_FAILED", String(thrown), { cause: thrown });
    }
    if (signal.aborted) return;
    failures += 1;
    const delayMs = backoffMs(failures, random(), options, error);
    tell(() => onDown?.(error, slot));
    await pause(delayMs, clock, signal);
    if (newest === undefined) continue;
    await old?.closed;
    old = newest;
  }
}
