/** Leaves the HTTP fallback as soon as a WebSocket gets through again. */
import { type Clock, pause, systemClock } from "./clock.ts";
import { defaults } from "./numbers.ts";
import { checkMoveBackOptions } from "./options.ts";
import type { Tunnel } from "./tunnel.ts";

export interface MoveBackOptions {
  /** Dials by WebSocket; one call at a time. The signal aborts when the outcome is not wanted any more. */
  dial: (signal: AbortSignal) => Promise<Tunnel>;
  /** The tunnel over HTTP that is to be replaced. */
  tunnel: Tunnel;
  /** Gives up. Default: none. */
  signal?: AbortSignal;
  /** From the end of one try to the next. Default 60,000 ms, from 0 to 2,147,483,647. */
  everyMs?: number;
  /** Time until the next try after so many that failed, of which this error was the last, in ms. Default: `everyMs` each time. */
  afterFailureMs?: (failures: number, error: unknown) => number;
  /** Time for the acceptor to end the old tunnel itself. Default 10,000 ms, from 0 to 2,147,483,647. */
  handoverMs?: number;
  /** Time for what is in flight over HTTP after that. Default 600,000 ms, from 0 to 2,147,483,647. */
  drainMs?: number;
  /** Time and timers. Default: the system's. */
  clock?: Clock;
}

/**
 * Tries until it works: resolves to the new tunnel, which the caller takes over in that turn. Resolves to undefined when the
 * old tunnel ends, or takes no new requests, before a dial has begun that works; and when the caller gives up.
 */
export async function moveBack(options: MoveBackOptions): Promise<Tunnel | undefined> {
  checkMoveBackOptions(options);
  const { dial, tunnel: old, clock = systemClock, everyMs = defaults.moveBack.everyMs } = options;
  const { afterFailureMs = () => everyMs } = options;
  const unwanted = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, unwanted.signal]) : unwanted.signal;
  let dialling = false;
  void old.goingAway.then(() => {
    if (!dialling) unwanted.abort();
  });
  void old.closed.then(({ code }) => {
    // REPLACED may be the acceptor's answer to the very tunnel that is being dialled, and come before we know it is up.
    if (!dialling || code !== "REPLACED") unwanted.abort();
  });
  let waitMs = everyMs;
  for (let failures = 1; !signal.aborted && !old.draining; failures += 1) {
    await pause(waitMs, clock, signal);
    if (signal.aborted || old.draining) break;
    dialling = true;
    const { tunnel, error } = await dialReached(dial, signal);
    dialling = false;
    if (tunnel !== undefined) {
      void retire(old, tunnel, clock, options);
      return tunnel;
    }
    waitMs = afterFailureMs(failures, error);
  }
  return undefined;
}

interface Dialled {
  tunnel?: Tunnel;
  error?: unknown;
}

/** A tunnel whose path carries both ways; none, with the reason, when there is none or nobody wants it any more. */
async function dialReached(dial: MoveBackOptions["dial"], signal: AbortSignal): Promise<Dialled> {
  let tunnel: Tunnel | undefined;
  const discard = () => tunnel?.destroy();
  try {
    tunnel = await dial(signal);
    signal.addEventListener("abort", discard, { once: true });
    if (signal.aborted) discard();
    await tunnel.reached;
    return signal.aborted ? {} : { tunnel };
  } catch (error) {
    return { error };
  } finally {
    signal.removeEventListener("abort", discard);
  }
}

/**
 * The acceptor ends the old tunnel when it has taken the new one over. Only it knows when: ended from here, and too early,
 * its requests would find neither. One that leaves it to us finds it ended after `handoverMs`; not one that ends the new
 * tunnel instead, be it with a stream in flight, and still has the old one.
 */
async function retire(
  old: Tunnel,
  young: Tunnel,
  clock: Clock,
  { handoverMs = defaults.moveBack.handoverMs, drainMs = defaults.moveBack.drainMs }: MoveBackOptions,
): Promise<void> {
  const timer = clock.setTimer(
    handoverMs,
    () => void old.close({ code: "REPLACED", reason: "moved back to a WebSocket", drainMs }),
  );
  await Promise.race([old.closed, young.goingAway.then(() => (old.draining ? old.closed : undefined))]);
  timer.cancel();
}
