/** Requests that are the same as one that is being served: they wait for its answer, bounded by time and by their callers' patience. */
import type { Clock } from "../clock.ts";

/** Where the answer goes: once this has closed, nobody waits for it any more. An express Response is one. */
export interface Caller {
  readonly closed: boolean;
  once(event: "close", listener: () => void): unknown;
  off(event: "close", listener: () => void): unknown;
}

/** The one request of this process that is being served, or that asks how another process's gets on. */
export interface Flight<Asked, Answer> {
  readonly asked: Asked;
  /** What everybody who waits is to be told. */
  answer: Answer | undefined;
  readonly waiting: Set<() => void>;
}

export class Flights<Asked, Answer> {
  private readonly flights = new Map<string, Flight<Asked, Answer>>();

  get(id: string): Flight<Asked, Answer> | undefined {
    return this.flights.get(id);
  }

  /** `get` has just said that there is none. However it ends, everybody who waits looks again. */
  async fly<Result>(
    id: string,
    asked: Asked,
    run: (flight: Flight<Asked, Answer>) => Promise<Result>,
  ): Promise<Result> {
    const flight: Flight<Asked, Answer> = { asked, answer: undefined, waiting: new Set() };
    this.flights.set(id, flight);
    try {
      return await run(flight);
    } finally {
      this.flights.delete(id);
      for (const wake of [...flight.waiting]) wake();
    }
  }
}

/** Ends with the flight, after `ms`, or when the caller hangs up; whichever comes first, nothing of it stays. Look again then. */
export function wait(
  clock: Clock,
  ms: number,
  caller: Caller,
  flight?: { readonly waiting: Set<() => void> },
): Promise<void> {
  if (caller.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      timer.cancel();
      caller.off("close", end);
      flight?.waiting.delete(end);
      resolve();
    };
    const timer = clock.setTimer(ms, end);
    caller.once("close", end);
    flight?.waiting.add(end);
  });
}
