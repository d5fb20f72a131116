/** Keeps several tunnels to one server up. */
import { type BackoffLimits, backoffMs } from "./backoff.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { dialTarget, dialTunnel } from "./dial.ts";
import type { DialOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { tell } from "./exchange.ts";
import { moveBack } from "./move-back.ts";
import { defaults } from "./numbers.ts";
import { checkDialSetOptions } from "./options.ts";
import type { Tunnel, TunnelEnd } from "./tunnel.ts";
import { Members, type TunnelSet, type TunnelSetOptions } from "./tunnel-set.ts";

/** A tunnel that lives shorter has failed: a server that accepts and drops must not be dialled in a tight loop. */
const STABLE_MS = 10_000;

export interface DialSetOptions
  extends Omit<DialOptions, "handler">,
    Omit<TunnelSetOptions, "clock">,
    Partial<BackoffLimits> {
  /** Tunnels to keep up, from 1 to 16. */
  connections: number;
  /** Uniform in [0, 1). Default `Math.random`. What is below counts as 0; what is above, no number or thrown, as 1. */
  random?: () => number;
  /**
   * With the transport "auto", from one try of a WebSocket to the next while a member is over HTTP. Default 60,000 ms, from 0 to
   * 2,147,483,647.
   */
  moveBackEveryMs?: number;
  /** Default `dialTunnel`. */
  dial?: (url: string | URL, options: DialOptions) => Promise<Tunnel>;
  /** A tunnel of this slot, from 0, is up. Default: nobody is told. */
  onMember?: (tunnel: Tunnel, slot: number) => void;
  /**
   * A dial of this slot failed, or its tunnel goes away or has ended (told once); it will be dialled again. Not after an ARGUMENT
   * of `dialTunnel`, which would be its answer for ever. Default: nobody is told.
   */
  onDown?: (error: RevdialError, slot: number) => void;
}

/** `signal` ends the dialling; tunnels that are up stay. `close` and `destroy` end both. Error: ARGUMENT. */
export function dialTunnelSet(url: string | URL, options: DialSetOptions): TunnelSet {
  checkDialSetOptions(options);
  // What cannot be dialled now never can. What `dial` makes of a URL is its own business.
  if (options.dial === undefined) dialTarget(url, options);
  const { connections } = options;
  const { backoffMinMs = defaults.backoff.backoffMinMs, backoffMaxMs = defaults.backoff.backoffMaxMs } =
    options;
  const stopped = new AbortController();
  const set = new Members(options, () => stopped.abort());
  const signal = options.signal ? AbortSignal.any([options.signal, stopped.signal]) : stopped.signal;
  const slotOptions = { ...options, backoffMinMs, backoffMaxMs };
  for (let slot = 0; slot < connections; slot += 1)
    void new Slot({ url, options: slotOptions, set, signal, slot }).keepUp();
  return set;
}

interface SlotOptions {
  url: string | URL;
  options: DialSetOptions & BackoffLimits;
  set: Members;
  signal: AbortSignal;
  slot: number;
}

/**
 * Tunnels of one slot that may drain at once, beside the one in their place. Servers that restart one after the other each drain for
 * a while with a stream in flight; more than these are a server that never lets a tunnel live, and each costs it a connection.
 */
const DRAINING_MAX = 8;

/** Dial, stay up, wait, again. */
class Slot {
  private readonly given: SlotOptions;
  private readonly clock: Clock;
  /** Those that have not ended: `DRAINING_MAX` that drain, or have been moved from, and the one in their place. */
  private readonly open = new Set<Tunnel>();

  constructor(given: SlotOptions) {
    this.given = given;
    this.clock = given.options.clock ?? systemClock;
  }

  async keepUp(): Promise<void> {
    const { options, signal } = this.given;
    let failures = 0;
    while (!signal.aborted) {
      let error: RevdialError;
      let up = false;
      try {
        const dialled = await this.dial(signal);
        if (signal.aborted) return dialled.destroy();
        up = true;
        const stayed = await this.stay(dialled);
        if (stayed.forMs >= STABLE_MS) failures = 0;
        error = errorOf(stayed.end);
      } catch (thrown) {
        error =
          thrown instanceof RevdialError
            ? thrown
            : new RevdialError("DIAL_FAILED", String(thrown), { cause: thrown });
      }
      if (signal.aborted) return;
      failures += 1;
      const delayMs = backoffMs(failures, this.dice(), options, error);
      this.tell(() => options.onDown?.(error, this.given.slot));
      if (!up && error.code === "ARGUMENT" && options.dial === undefined) return;
      await pause(delayMs, this.clock, signal);
      await this.room(DRAINING_MAX);
    }
  }

  /** Until no more than so many are left. */
  private async room(openMax: number): Promise<void> {
    while (this.open.size > openMax) await Promise.race([...this.open].map(({ closed }) => closed));
  }

  private dial(signal: AbortSignal, transport = this.given.options.transport): Promise<Tunnel> {
    const { url, options, set } = this.given;
    const { dial = dialTunnel } = options;
    return dial(url, { ...options, ...(transport && { transport }), handler: set.handle, signal });
  }

  /** Until nothing here takes requests any more: what was dialled over HTTP goes on over a WebSocket once one gets through. */
  private async stay(dialled: Tunnel): Promise<{ end: TunnelEnd; forMs: number }> {
    let tunnel = dialled;
    let upAt = this.join(tunnel);
    for (;;) {
      const next = await this.movedBack(tunnel);
      if (next !== undefined) {
        tunnel = next;
        upAt = this.join(tunnel);
        continue;
      }
      const end = await tunnel.goingAway;
      const other = [...this.open].find(({ draining }) => !draining);
      const { options, signal, slot } = this.given;
      if (other === undefined || signal.aborted) return { end, forMs: this.clock.now() - upAt };
      // The server ended the new one without taking it over: it still has the one over HTTP.
      this.tell(() => options.onDown?.(errorOf(end), slot));
      tunnel = other;
    }
  }

  /** Undefined: it has gone away instead. */
  private async movedBack(tunnel: Tunnel): Promise<Tunnel | undefined> {
    const { options, signal } = this.given;
    if (options.transport !== "auto" || tunnel.transport !== "http") return undefined;
    // It serves as it is: while another drains, the server may end whatever is dialled in the same way.
    await Promise.race([this.room(1), tunnel.goingAway]);
    return moveBack({
      tunnel,
      signal,
      clock: this.clock,
      dial: (wanted) => this.dial(wanted, "websocket"),
      ...(options.moveBackEveryMs !== undefined && { everyMs: options.moveBackEveryMs }),
    });
  }

  /** Returns when that was. */
  private join(tunnel: Tunnel): number {
    const { set, options, slot } = this.given;
    set.add(tunnel, { served: true });
    this.open.add(tunnel);
    void tunnel.closed.then(() => this.open.delete(tunnel));
    this.tell(() => options.onMember?.(tunnel, slot));
    return this.clock.now();
  }

  private tell(listener: () => void): void {
    tell(listener, this.given.options.onHandlerError);
  }

  /** Dice that fail must not end the dialling: then it waits for as long as ever. */
  private dice(): number {
    const { random = Math.random } = this.given.options;
    let dice = 1;
    this.tell(() => {
      dice = random();
    });
    return dice;
  }
}

function errorOf({ code, reason, retryAfterMs }: TunnelEnd): RevdialError {
  return new RevdialError(code, reason, retryAfterMs === undefined ? {} : { retryAfterMs });
}
