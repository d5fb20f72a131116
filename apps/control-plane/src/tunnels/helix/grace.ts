/**
 * Requests while an agent of Helix is away. It loses its tunnel with every hiccup of the network and comes back within seconds, so
 * that what is asked meanwhile waits for the next tunnel, in order and bounded, instead of failing at once.
 */

import { refusedHeader } from "@wolfpack/wolf-api";
import { RevdialError, type Tunnel, type TunnelEnd, type TunnelRequest, type TunnelResponse } from "revdial";
import type { Clock, Timer } from "../../clock.ts";
import { isRepeatable, wasNotSent } from "../asked-again.ts";
import type { Opener } from "../opener.ts";

/** What requests go through: a tunnel, or the wait for one. */
export type TunnelLink = Pick<Tunnel, "request">;
export type Live = Pick<Tunnel, "request" | "draining" | "closed" | "transport">;

export interface Grace {
  /** The live tunnel, or the wait for the next one; undefined when none is waited for. */
  link(key: string): TunnelLink | undefined;
  /** The tunnel of this key is lost: the next one is waited for. */
  begin(key: string): void;
  /** There is a tunnel again: whoever waits goes on through it. */
  arrived(key: string, tunnel: TunnelLink): void;
  /** None will come any more. */
  end(key: string): void;
  /** The same for all keys, now and later. */
  close(): void;
  /** Requests that wait. */
  readonly waiting: number;
}

export interface GraceOptions {
  clock: Clock;
  live: (key: string) => Live | undefined;
  /** Whether this one is of an agent that loses its tunnel often. Default: all are. */
  isOfHelix?: (tunnel: Live) => boolean;
  /** Default 30,000. */
  graceMs?: number;
  /** Requests that wait, of each key; more are refused. Default 100. */
  waitingMax?: number;
}

const GRACE_MS = 30_000;
const WAITING_MAX = 100;

interface Waiter {
  go(tunnel: TunnelLink): void;
  fail(error: RevdialError): void;
}

interface Away {
  waiters: Set<Waiter>;
  timer: Timer;
}

export function createGrace(options: GraceOptions): Grace {
  const { clock, live, isOfHelix = () => true, graceMs = GRACE_MS, waitingMax = WAITING_MAX } = options;
  const away = new Map<string, Away>();
  let closed = false;

  function end(key: string): void {
    const entry = away.get(key);
    if (entry === undefined) return;
    away.delete(key);
    entry.timer.cancel();
    for (const waiter of [...entry.waiters]) waiter.fail(gone());
  }

  function ask(key: string, request: TunnelRequest): Promise<TunnelResponse> {
    const tunnel = live(key);
    if (tunnel !== undefined) return through(key, tunnel, request);
    const entry = away.get(key);
    if (entry === undefined) return Promise.reject(gone());
    if (entry.waiters.size >= waitingMax)
      return Promise.reject(notSent("REFUSED", "too many requests wait for this tunnel"));
    return wait(entry, request);
  }

  /** What a tunnel was lost with before anything of it had left waits for the next one, as what is asked afterwards does. */
  async function through(key: string, tunnel: Live, request: TunnelRequest): Promise<TunnelResponse> {
    const since = clock.now().getTime();
    const again = async () => {
      await tunnel.closed;
      return ask(key, { ...request, deadlineMs: left(request.deadlineMs, since) });
    };
    try {
      const response = await tunnel.request(request);
      if (!tunnel.draining || !wasUnheard(response) || !isRepeatable(request)) return response;
      await response.body[Symbol.asyncIterator]().return?.();
    } catch (error) {
      if (!wasNotSent(error) || !tunnel.draining || !isRepeatable(request)) throw error;
    }
    return again();
  }

  function wait({ waiters }: Away, request: TunnelRequest): Promise<TunnelResponse> {
    const { deadlineMs, signal } = request;
    const since = clock.now().getTime();
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiters.delete(waiter);
        timer?.cancel();
        signal?.removeEventListener("abort", cancel);
      };
      const waiter: Waiter = {
        go(tunnel) {
          leave();
          resolve(tunnel.request({ ...request, deadlineMs: left(deadlineMs, since) }));
        },
        fail(error) {
          leave();
          reject(error);
        },
      };
      const cancel = () => waiter.fail(notSent("CANCELLED", "the caller gave up", signal?.reason));
      const timer =
        deadlineMs === undefined
          ? undefined
          : clock.setTimer(deadlineMs, () => waiter.fail(notSent("DEADLINE", "no tunnel came in time")));
      if (signal?.aborted) return cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      waiters.add(waiter);
    });
  }

  /** Of its milliseconds, those that are left. The wall clock may step: never more than there were. */
  function left(deadlineMs: number | undefined, since: number): number | undefined {
    if (deadlineMs === undefined) return undefined;
    const waited = clock.now().getTime() - since;
    return Math.max(1, deadlineMs - Math.max(0, waited));
  }

  return {
    link(key) {
      const tunnel = live(key);
      if (tunnel !== undefined && !isOfHelix(tunnel)) return tunnel;
      if (tunnel === undefined && !away.has(key)) return undefined;
      return { request: (request) => ask(key, request) };
    },

    begin(key) {
      if (closed || away.has(key)) return;
      away.set(key, { waiters: new Set(), timer: clock.setTimer(graceMs, () => end(key)) });
    },

    arrived(key, tunnel) {
      const entry = away.get(key);
      if (entry === undefined) return;
      away.delete(key);
      entry.timer.cancel();
      for (const waiter of [...entry.waiters]) waiter.go(tunnel);
    },

    end,

    close() {
      closed = true;
      for (const key of [...away.keys()]) end(key);
    },

    get waiting() {
      let count = 0;
      for (const { waiters } of away.values()) count += waiters.size;
      return count;
    },
  };
}

/** The stand-in found no way to the agent. */
function wasUnheard({ headers }: TunnelResponse): boolean {
  return headers.some(([name, value]) => name === refusedHeader && value === "upstream-unreachable");
}

/** Its network failed, or it was started again; what was ended on purpose does not come back by itself. */
export function mayComeBack({ code }: TunnelEnd, { protocol }: Opener): boolean {
  return protocol === "helix" && (code === "TRANSPORT_LOST" || code === "DEAD_PEER");
}

/** Nothing has left: the request may be made again. */
function notSent(code: "REFUSED" | "CANCELLED" | "DEADLINE" | "CLOSED", detail: string, cause?: unknown) {
  return new RevdialError(code, detail, { sent: "not-sent", cause });
}

const gone = () => notSent("CLOSED", "the agent did not come back");
