/**
 * How many agents are taken in at once, and when those that find no room are to come back. A fleet that lost its replica comes back as
 * one: each who is refused is told a moment of its own, one after the other at the pace at which agents are really taken in.
 */
import type { Clock } from "../clock.ts";

export interface Turns {
  /** Undefined: it is this one's turn, until `end`. Otherwise seconds after which to come back, and there is nothing to end. */
  begin(): number | undefined;
  end(): void;
  /** What `begin` would say, for who is about to need a turn. */
  waitSeconds(): number | undefined;
}

export interface TurnsOptions {
  clock: Clock;
  max: number;
  /** What is under way besides, and keeps others waiting. Default: nothing. */
  others?: () => number;
  /** Whether this process is late: late ones take a few in at a time. Default: never. */
  isLate?: () => boolean;
  /** How many may still come, at most; asked once a second while there is no room. Default, and where it rejects: nobody knows. */
  away?: () => Promise<number>;
}

/** Until it is known better. */
const PER_SECOND_FIRST = 200;
const PER_SECOND_MIN = 100;
/** Of the pace so far: who comes when told to shows only that it was not too many, so a few more are told each time. */
const FASTER = 1.5;
/** While it is late, as in the first seconds of a process, users go first. Not none: what makes it late may be something else. */
const WHILE_LATE_MAX = 2;
/** An agent that is told more than this might as well be told nothing. */
const WAIT_MS_MAX = 60_000;
const MEASURED_OVER_MS = 1000;

export function createTurns({
  clock,
  max,
  others = () => 0,
  isLate = () => false,
  away = async () => Number.POSITIVE_INFINITY,
}: TurnsOptions): Turns {
  let open = 0;
  let ended = 0;
  let measuredFromMs = clock.now().getTime();
  let perSecond = PER_SECOND_FIRST;
  /** The moment that was told last. */
  let toldMs = Number.NEGATIVE_INFINITY;
  let awayMax = Number.POSITIVE_INFINITY;

  function learnAway(count: number): void {
    awayMax = count;
  }

  /** How many turns ended a second, while there was no room: one that is idle says nothing of how fast it could be. */
  function measure(nowMs: number): void {
    const overMs = nowMs - measuredFromMs;
    if (overMs >= 0 && overMs < MEASURED_OVER_MS) return;
    if (overMs > 0 && overMs < 2 * MEASURED_OVER_MS)
      perSecond = Math.max(PER_SECOND_MIN, (FASTER * ended * 1000) / overMs);
    ended = 0;
    measuredFromMs = nowMs;
    void away().then(learnAway, () => learnAway(Number.POSITIVE_INFINITY));
  }

  const isFull = () => open + others() >= (isLate() ? Math.min(max, WHILE_LATE_MAX) : max);

  function nextMoment(): number {
    const nowMs = clock.now().getTime();
    measure(nowMs);
    const eachMs = 1000 / perSecond;
    toldMs = Math.max(toldMs, nowMs) + eachMs;
    // Who is refused again takes one moment more, and those after them would come long after the last one has found room. So moments
    // are given anew from the first one on, past the time that all who are away take. The wall clock may step back, too.
    if (toldMs > nowMs + Math.min(WAIT_MS_MAX, awayMax * eachMs)) toldMs = nowMs + eachMs;
    return Math.max(1, Math.ceil((toldMs - nowMs) / 1000));
  }

  return {
    begin() {
      if (isFull()) return nextMoment();
      open += 1;
      return undefined;
    },
    end() {
      open -= 1;
      ended += 1;
    },
    waitSeconds: () => (isFull() ? nextMoment() : undefined),
  };
}
