/** Leaves the HTTP fallback as soon as a WebSocket gets through again. */
import { type Clock, systemClock, type Timer } from "./clock.ts";
import type { Tunnel } from "./tunnel.ts";

const EVERY_MS = 60_000;
const DRAIN_MS = 600_000;

export interface MoveBackOptions {
  /** Dials by WebSocket; one call at a time. The signal aborts when the old tunnel has ended or the caller stops. */
  dial: (signal: AbortSignal) => Promise<Tunnel>;
  /** The tunnel over HTTP that is to be replaced. */
  tunnel: Tunnel;
  /** From the end of one try to the next. Default 60,000 ms. */
  everyMs?: number;
  /** Time for what is in flight over HTTP. Default 600,000 ms. */
  drainMs?: number;
  clock?: Clock;
  /** Takes the new tunnel over; called before the old one drains, so that no request finds neither. */
  onMoved: (tunnel: Tunnel) => void;
}

/** Tries until it works, the old tunnel ends, or the returned function is called. */
export function moveBack(options: MoveBackOptions): () => void {
  const { dial, tunnel: old, onMoved, clock = systemClock } = options;
  const { everyMs = EVERY_MS, drainMs = DRAIN_MS } = options;
  const stopped = new AbortController();
  let timer: Timer | undefined;
  const stop = () => {
    timer?.cancel();
    stopped.abort();
  };
  const wait = () => {
    timer = clock.setTimer(everyMs, () => void attempt());
  };
  const attempt = async () => {
    const tunnel = await dial(stopped.signal).catch(() => undefined);
    // Whoever stopped us has plans of its own; a second tunnel would be in their way.
    if (stopped.signal.aborted || old.draining) return void tunnel?.destroy();
    if (tunnel === undefined) return wait();
    stop();
    onMoved(tunnel);
    await old.close({ code: "REPLACED", reason: "moved back to a WebSocket", drainMs });
  };
  void old.closed.then(stop);
  wait();
  return stop;
}
