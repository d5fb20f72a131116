/**
 * The tunnels of this agent that are open: the live one, and after a move, back to a WebSocket or to one that a new key has opened,
 * the one it came from, which finishes what is in flight. A move is no loss: the new tunnel is live before the old one ends.
 */
import { moveBack, RevdialError, type Tunnel, type TunnelEnd } from "revdial";
import { ceilingMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./logger.ts";

export interface ServingOptions {
  log: Log;
  clock: Clock;
  /** Stops: every tunnel drains. */
  signal: AbortSignal;
  /** This tunnel is live from now on; what the control plane has to know is said again. */
  onLive: (tunnel: Tunnel) => void;
  onDrain: () => void;
  /** Another agent took the place of the live tunnel; not said of one that our own move left. */
  onReplaced: () => void;
  /** Dials by WebSocket, for tunnels over HTTP; undefined: those stay. */
  redial: ((signal: AbortSignal) => Promise<Tunnel>) | undefined;
  /** Dials as ever, for a tunnel in place of one that is up. */
  replace: (signal: AbortSignal) => Promise<Tunnel>;
  /** From one try of either to the next. */
  redialEveryMs: number;
}

export interface Serving {
  /** Serves until the tunnel, or the one it has moved to, ends: by itself or because we are to stop. */
  serve(tunnel: Tunnel): Promise<TunnelEnd>;
  /** Sends a notice through the live tunnel; false when it was dropped. */
  notify(type: string, payload: unknown): boolean;
  /** Another tunnel is to take the place of the live one, which ends when it has: of the new key. */
  renew(): void;
  /** The same, at another replica: its own is about to end, or has more than its share. */
  move(afterMs: number): void;
  /** The live tunnel. */
  readonly tunnel: Tunnel | undefined;
  /** Resolves when no tunnel is open any more. */
  ended(): Promise<void>;
}

/** Why the live tunnel is to be replaced, and how. */
interface Wish {
  what: string;
  afterMs: number;
  /** Until the first try. */
  firstMs: number;
  /** Until the next. */
  againMs: (failures: number, error: unknown) => number;
}

/** Until the first try: a replica that is about to end waits no longer than a few seconds. */
export const MOVE_FIRST_MS = 250;
const AT_ANOTHER_REPLICA = "at another replica";

/** Until the next try of a move: a replica that goes on may have asked for it, and whole fleets may find no other one for hours. */
export function moveAgainMs(capMs: number): (failures: number, error: unknown) => number {
  return (failures, error) => {
    const { retryAfterMs = 0 } = error instanceof RevdialError ? error : {};
    return Math.max(retryAfterMs, ceilingMs(failures, { baseMs: MOVE_FIRST_MS, capMs }));
  };
}
const DRAIN_MS = 30_000;
/** A tunnel takes no larger payload in one notice. */
const NOTICE_BYTES_MAX = 16 * 1024;

export function createServing(options: ServingOptions): Serving {
  const { log, clock, signal, onLive, onDrain, onReplaced } = options;
  const open = new Set<Tunnel>();
  let live: Tunnel | undefined;
  let wanted = new AbortController();

  const drain = () => {
    if (open.size === 0) return;
    onDrain();
    for (const tunnel of open) void tunnel.close({ drainMs: DRAIN_MS, reason: "the agent stops" });
  };
  signal.addEventListener("abort", drain, { once: true });

  function goLive(tunnel: Tunnel): void {
    live = tunnel;
    open.add(tunnel);
    void tunnel.closed.then(() => open.delete(tunnel));
    onLive(tunnel);
    if (signal.aborted) drain();
  }

  /** Resolves to undefined when the tunnel ends without one to move to. */
  async function moved(tunnel: Tunnel): Promise<Tunnel | undefined> {
    const { redial, replace, redialEveryMs: everyMs } = options;
    let next: Tunnel | undefined;
    if (redial !== undefined && tunnel.transport === "http") {
      const unlessRenewed = AbortSignal.any([signal, wanted.signal]);
      next = await moveBack({ tunnel, dial: redial, everyMs, clock, signal: unlessRenewed });
      if (next !== undefined) log.info("moved back to a WebSocket");
    }
    if (next === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wanted.signal.addEventListener("abort", () => resolve(), { once: true });
      if (!wanted.signal.aborted) await Promise.race([promise, tunnel.goingAway]);
      if (!wanted.signal.aborted) return undefined;
      const wish = wanted.signal.reason as Wish;
      wanted = new AbortController();
      await pause(wish.afterMs, clock, signal);
      const tries = { everyMs: wish.firstMs, afterFailureMs: wish.againMs };
      next = await moveBack({ tunnel, dial: replace, ...tries, clock, signal });
      if (next === undefined) return undefined;
      // Asked again meanwhile for what has just been done.
      if ((wanted.signal.reason as Wish | undefined)?.what === AT_ANOTHER_REPLICA)
        wanted = new AbortController();
      log.info(`moved to a tunnel ${wish.what}`);
    }
    void tunnel.closed.then(({ code, reason }) =>
      log.debug({ code, reason }, "the tunnel that was left has ended"),
    );
    return next;
  }

  const want = (wish: Wish) => wanted.abort(wish);

  async function replaced(tunnel: Tunnel): Promise<void> {
    const { code } = await tunnel.goingAway;
    if (code === "REPLACED" && tunnel === live) onReplaced();
  }

  return {
    async serve(first) {
      let tunnel = first;
      let before: Tunnel | undefined;
      for (;;) {
        goLive(tunnel);
        const next = await moved(tunnel);
        if (next !== undefined) {
          before = tunnel;
          tunnel = next;
          continue;
        }
        // Only now: what ended a tunnel that we were leaving may have been the very tunnel we moved to.
        void replaced(tunnel);
        const end = await tunnel.closed;
        live = undefined;
        if (before === undefined || before.draining || signal.aborted) return end;
        // The control plane ended the new tunnel without taking it over: it still has the old one.
        log.warn(
          { code: end.code, reason: end.reason },
          "the new tunnel was lost: goes on over the tunnel of before",
        );
        tunnel = before;
        before = undefined;
      }
    },

    notify(type, payload) {
      const notice = Buffer.from(JSON.stringify(payload));
      const bytes = notice.byteLength;
      if (bytes > NOTICE_BYTES_MAX) {
        log.warn({ type, bytes }, "a notice is too large and was not sent");
        return false;
      }
      const sent = live?.notify(type, notice) ?? false;
      log.debug({ type, bytes, sent }, "notice");
      return sent;
    },

    renew() {
      const { redialEveryMs } = options;
      want({ what: "of the new key", afterMs: 0, firstMs: redialEveryMs, againMs: () => redialEveryMs });
    },

    move(afterMs) {
      const againMs = moveAgainMs(options.redialEveryMs);
      want({ what: AT_ANOTHER_REPLICA, afterMs, firstMs: MOVE_FIRST_MS, againMs });
    },

    get tunnel() {
      return live;
    },

    async ended() {
      await Promise.all([...open].map(({ closed }) => closed));
    },
  };
}
