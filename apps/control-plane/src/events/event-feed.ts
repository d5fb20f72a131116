/**
 * What happens, for whoever listens on this replica: read once for all of them, in the order of events, when the database tells of
 * news, and twice a second in case that was lost. Nobody listens: nothing is read.
 */
import { BEFORE_ALL_EVENTS } from "@wolfpack/api-contract";
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { EventStore, FleetEventRecord } from "./event-store.ts";

export interface EventFeedOptions {
  store: Pick<EventStore, "horizon" | "between" | "lastUpTo">;
  clock: Clock;
  log: Log;
  /** What happens within this time is read together. Default 20 ms. */
  togetherMs?: number;
}

/** A place in the order, with the event that has it. */
export interface Place {
  seq: bigint;
  /** The cursor. */
  id: string;
}

/** Throws and rejects nothing. What comes next is told once it has ended. */
export type EventListener = (events: readonly FleetEventRecord[]) => void | Promise<void>;

export interface EventFeed {
  /** From the next event on. */
  add(listener: EventListener): void;
  remove(listener: EventListener): void;
  /**
   * Where the listeners are, which is now, as far as all is settled; what comes later, each hears that was added before this was
   * asked. Rejects without a database.
   */
  place(): Promise<Place>;
  /** Somebody has written, here or elsewhere. */
  wake(): void;
  start(): void;
  stop(): Promise<void>;
}

const TOGETHER_MS = 20;
/** A transaction that has told for others, too, may be rolled back. */
export const POLL_MS = 500;
const PAGE = 500;
/** While somebody may still write what comes before what is there. */
const AGAIN_MIN_MS = 10;
const AGAIN_MAX_MS = 320;
/** Nobody's transaction takes that long but one that somebody has left open. */
const STUCK_MS = 30_000;
export const BEFORE_ALL: Place = { seq: 0n, id: BEFORE_ALL_EVENTS };

export function createEventFeed(options: EventFeedOptions): EventFeed {
  const { store, clock, log, togetherMs = TOGETHER_MS } = options;
  const listeners = new Set<EventListener>();
  /** Everything up to there was told; undefined: nobody listens, or nobody has looked yet. */
  let place: Place | undefined;
  let reading: Promise<void> | undefined;
  /** What begins after it. */
  let next: Promise<void> | undefined;
  let planned: { timer: Timer; at: number } | undefined;
  let polling: Timer | undefined;
  let again = false;
  let againMs = AGAIN_MIN_MS;
  let stuck: { at: bigint; since: number; said: boolean } | undefined;
  let failing = false;
  let stopped = false;

  async function tellAll(): Promise<void> {
    if (listeners.size === 0) {
      place = undefined;
      return;
    }
    const { settled, waiting } = await store.horizon();
    if (place === undefined) place = (await store.lastUpTo(settled)) ?? BEFORE_ALL;
    while (place.seq < settled && listeners.size > 0) {
      const events = await store.between(place.seq, settled, PAGE);
      const last = events.at(-1);
      // Places that nobody took, or of what is removed already.
      place = { seq: events.length < PAGE ? settled : (last?.seq ?? settled), id: last?.id ?? place.id };
      if (events.length > 0) for (const listener of [...listeners]) await listener(events);
    }
    wait(settled, waiting);
  }

  /** The end of those that may still write is perhaps told by nobody. */
  function wait(settled: bigint, waiting: boolean): void {
    const now = clock.now().getTime();
    if (!waiting || stuck?.at !== settled) stuck = { at: settled, since: now, said: false };
    if (!waiting) {
      againMs = AGAIN_MIN_MS;
      return;
    }
    plan(againMs);
    againMs = Math.min(againMs * 2, AGAIN_MAX_MS);
    if (stuck.said || now - stuck.since < STUCK_MS) return;
    stuck.said = true;
    log.warn("events wait for the end of a transaction that has changed the fleet");
  }

  /** One at a time; whoever asks meanwhile gets another one after it. Rejects as the store does. */
  function read(): Promise<void> {
    if (reading !== undefined) {
      again = true;
      return reading;
    }
    planned?.timer.cancel();
    planned = undefined;
    reading = tellAll().finally(() => {
      reading = undefined;
      if (again) plan(togetherMs);
      again = false;
    });
    return reading;
  }

  async function look(): Promise<void> {
    try {
      await read();
      failing = false;
    } catch (err) {
      if (!failing) log.warn({ err }, "events not read yet");
      failing = true;
    }
  }

  /** After so long at the latest. */
  function plan(ms: number): void {
    const at = clock.now().getTime() + ms;
    if (stopped || (planned !== undefined && planned.at <= at)) return;
    planned?.timer.cancel();
    const timer = clock.setTimer(ms, () => {
      planned = undefined;
      void look();
    });
    planned = { timer, at };
  }

  return {
    add: (listener) => void listeners.add(listener),
    remove: (listener) => void listeners.delete(listener),

    async place() {
      // What is being read may be from before.
      next ??= (reading ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => {
          next = undefined;
          return read();
        });
      await next;
      if (place === undefined) throw new Error("nobody listens");
      return place;
    },

    wake() {
      if (listeners.size === 0) return;
      if (reading !== undefined) again = true;
      else plan(togetherMs);
    },

    start() {
      polling = repeat(clock, POLL_MS, look);
    },

    async stop() {
      stopped = true;
      polling?.cancel();
      planned?.timer.cancel();
      await reading?.catch(() => undefined);
    },
  };
}
