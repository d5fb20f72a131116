/**
 * Many calls, one statement. Whoever asks while a statement is under way shares the next one, so a storm of callers costs as many
 * statements as fit one after the other with a moment in between, and a single caller waits for nobody.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { type Clock, pause, systemClock } from "../clock.ts";
import { type Pace, paced } from "../pace.ts";
import { isDatabaseUnanswered } from "./database-down.ts";
import { POOL_CONNECTIONS } from "./prisma.prisma.ts";

export interface BatchOptions {
  /** Of one statement. Default 500: it holds its locks for a moment only. */
  itemsMax?: number;
  /** How often a statement may begin. Default: as often as it can. */
  pace?: Pace;
  /** Users wait for it, too, so it waits for no other. Default: it is one of the few that run at once for agents. */
  isForUsers?: boolean;
  /** Of the moment in which a crowd gathers. Default: the system's. */
  clock?: Clock;
}

/**
 * Of a crowd: when several have come while a statement ran, more are about to, and each statement costs as much as what several rows of
 * it do. Agents that come back have some ten such waits, within the 5 s after which they give up on a WebSocket. Whoever comes alone waits
 * for nobody; a user whose call shares a batch of agents, as one that names a wolf, waits as they do.
 */
const GATHER_MS = 100;
const GATHER_FOR_USERS_MS = 20;

/**
 * Of all batches of this process that are not for users: half of a pool. With all of it taken by a fleet that comes back a user waits for a
 * connection before each of a dozen statements. Who waits here gathers more meanwhile. No batch may ask for another from within.
 */
export const FOR_AGENTS_MAX = Math.floor(POOL_CONNECTIONS / 2);

let forAgents = 0;
const waitingForPlace: (() => void)[] = [];

/** Runs when there is a place, in the order in which they came. */
async function inPlace(run: () => Promise<void>): Promise<void> {
  if (forAgents >= FOR_AGENTS_MAX) await new Promise<void>((resolve) => void waitingForPlace.push(resolve));
  else forAgents += 1;
  try {
    await run();
  } finally {
    const next = waitingForPlace.shift();
    // Handed on, it stays taken.
    if (next === undefined) forAgents -= 1;
    else next();
  }
}

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/** Of a batch, which is nobody's request: what its first caller was about is not what all of it is about. */
const nowhere = AsyncLocalStorage.snapshot();

/**
 * `run` gets items in the order they came in, and gives a result for each. When it fails for several, each is tried alone: what one item
 * cannot have does not keep the others from it. Without a database that answers all fail.
 */
export function inBatches<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  { itemsMax = 500, pace, isForUsers = false, clock = systemClock }: BatchOptions = {},
): (item: Item) => Promise<Result> {
  const turn = pace === undefined ? undefined : paced(pace);
  const gatherMs = isForUsers ? GATHER_FOR_USERS_MS : GATHER_MS;
  let waiting: Waiting<Item, Result>[] = [];
  let running = false;

  async function settle(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await run(batch.map(({ item }) => item));
      if (results.length !== batch.length)
        throw new Error("a batch has another number of results than of items");
      for (const [at, { resolve }] of batch.entries()) resolve(results[at] as Result);
    } catch (error) {
      // Where nobody answers, each alone would wait as long again, one after the other, and what was done unheard would be done twice.
      if (batch.length === 1 || isDatabaseUnanswered(error)) for (const { reject } of batch) reject(error);
      else for (const one of batch) await settle([one]);
    }
  }

  /** Of all that have come until it begins. */
  function settleNext(): Promise<void> {
    const batch = waiting.slice(0, itemsMax);
    waiting = waiting.slice(itemsMax);
    return settle(batch);
  }

  async function work(): Promise<void> {
    running = true;
    // Those of this turn of the event loop come along.
    await Promise.resolve();
    while (waiting.length > 0) {
      await turn?.();
      await (isForUsers ? settleNext() : inPlace(settleNext));
      if (waiting.length > 1 && waiting.length < itemsMax) await pause(clock, gatherMs);
    }
    running = false;
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!running) nowhere(() => void work());
    });
}
