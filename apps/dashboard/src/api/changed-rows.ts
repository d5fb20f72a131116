/**
 * Keeps a long list true by its changed rows: each that an event names is read anew, so that a change among ten thousand costs one
 * row; where too many change at once the whole list is read instead. Nothing that was heard is forgotten while it is shown.
 */

import { ApiFailure } from "./failure.ts";
import { browserTimers, createPace, type PaceTimers } from "./pace.ts";

export interface ChangedRowsOptions<Row> {
  /** The row as it is now; undefined where there is none any more. */
  read(id: string): Promise<Row | undefined>;
  /** Puts what was read into the list, unless the list knows better. */
  merge(found: ReadonlyMap<string, Row | undefined>): void;
  /** Reads the list anew; false where that failed. */
  readAll(): Promise<boolean>;
  /** Whether the list is being read, whoever asked for it. */
  isReadingAll(): boolean;
  /** What nobody looks at is not read, but said to be outdated. */
  isShown(): boolean;
  markStale(): void;
  timers?: PaceTimers;
}

export interface ChangedRows {
  /** An event names this row. */
  add(id: string): void;
  /** Nobody knows which rows have changed. */
  all(): void;
  stop(): void;
}

/** Ids and answers are gathered for so long: each time the list is shown anew costs a walk over all of it. */
const GATHER_MS = 100;
/** Single reads that are under way at once. */
const READERS = 4;
/** And in a second; a credential may send 50 requests in one. */
const READS_PER_SECOND = 10;
/** With more than these waiting, pages are quicker. */
const SINGLE_MAX = 30;
/** The whole list is read so often at most. */
const ALL_MS = 5000;
/** After a failure that may pass, at first and at most. */
const BACKOFF_MS = 1000;
const BACKOFF_MS_MAX = 60_000;

export function createChangedRows<Row>(options: ChangedRowsOptions<Row>): ChangedRows {
  const { timers = browserTimers } = options;
  const pace = createPace(timers);
  const waiting = new Set<string>();
  const flying = new Set<string>();
  /** Read, and not yet in the list. */
  const found = new Map<string, Row | undefined>();
  /** Put into the list while it was being read: its pages may be older, so it is put in once more behind them. */
  const again = new Map<string, Row | undefined>();
  let wantsAll = false;
  let lastAllAt = Number.NEGATIVE_INFINITY;
  let starts: number[] = [];
  let pausedUntil = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let stopped = false;

  const wake = () => pace.ask("turn", turn, GATHER_MS);

  function turn(): void {
    if (!options.isShown()) return leave();
    if (again.size > 0 && !options.isReadingAll()) {
      options.merge(again);
      again.clear();
    }
    if (timers.now() >= pausedUntil) {
      if (wantsAll || waiting.size > SINGLE_MAX) startAll();
      startSingles();
    }
    if (waiting.size > 0 || wantsAll || again.size > 0) wake();
  }

  function leave(): void {
    for (const held of [waiting, found, again]) held.clear();
    wantsAll = false;
    options.markStale();
  }

  function startAll(): void {
    // One that is under way goes on: begun anew at each change it might never end.
    if (options.isReadingAll() || timers.now() - lastAllAt < ALL_MS) return;
    wantsAll = false;
    lastAllAt = timers.now();
    const covered = [...waiting];
    waiting.clear();
    void options.readAll().then((done) => {
      if (done || stopped) return;
      for (const id of covered) waiting.add(id);
      wantsAll = true;
      pause();
      wake();
    });
  }

  function startSingles(): void {
    const now = timers.now();
    starts = starts.filter((at) => now - at < 1000);
    for (const id of waiting) {
      if (flying.size >= READERS || starts.length >= READS_PER_SECOND) return;
      // One after the other, so that the newer answer comes last.
      if (flying.has(id)) continue;
      waiting.delete(id);
      starts.push(now);
      void readOne(id);
    }
  }

  async function readOne(id: string): Promise<void> {
    flying.add(id);
    try {
      const row = await options.read(id);
      failures = 0;
      found.set(id, row);
    } catch (error) {
      if (mayPass(error)) {
        waiting.add(id);
        pause(error instanceof ApiFailure ? error.retryAfterMs : undefined);
      }
    } finally {
      flying.delete(id);
    }
    if (stopped) return;
    if (found.size > 0) pace.ask("put", put, GATHER_MS);
    if (waiting.size > 0) wake();
  }

  function put(): void {
    if (found.size === 0) return;
    options.merge(new Map(found));
    if (options.isReadingAll()) {
      for (const [id, row] of found) again.set(id, row);
      wake();
    }
    found.clear();
  }

  function pause(toldMs?: number): void {
    const backoff = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(10, failures));
    failures += 1;
    pausedUntil = Math.max(pausedUntil, timers.now() + (toldMs ?? backoff));
  }

  return {
    add(id) {
      if (stopped) return;
      waiting.add(id);
      wake();
    },
    all() {
      if (stopped) return;
      wantsAll = true;
      wake();
    },
    stop() {
      stopped = true;
      pace.close();
      for (const held of [waiting, found, again]) held.clear();
    },
  };
}

/** What is refused stays refused; anything else is asked once more. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof ApiFailure)) return true;
  return error.status < 400 || error.status === 429 || error.status >= 500;
}
