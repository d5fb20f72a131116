/** Who listens to what among the bench's readers: most to everything, by several filters; some to one wolf; a few stop reading. */

/** Of each hundred. */
const STALLED = 2;
const OF_ONE_WOLF = 8;
/** The bench changes intents and nothing else: each of these is told of every change. */
const everything = ["", "?kind=wolf.*", "?kind=wolf.intent"];

export interface Reader {
  query: string;
  /** The number of the wolf that it follows; undefined: it is told of all. */
  wolf?: number;
  /** It reads nothing once its stream is open, and nothing is due to it. */
  stalled?: true;
}

export function readerOf(n: number, wolfIds: readonly string[]): Reader {
  const place = n % 100;
  if (place < STALLED) return { query: "", stalled: true };
  if (place >= STALLED + OF_ONE_WOLF) return { query: everything[n % everything.length] ?? "" };
  const wolf = n % wolfIds.length;
  return { query: `?wolf_instance_id=${wolfIds[wolf]}`, wolf };
}

/** How many events are due to all of them: change by change goes to the next wolf, round and round. */
export function dueTo(
  readers: readonly Reader[],
  { from, changes }: { from: number; changes: number },
  wolves: number,
): number {
  /** Changes of this wolf before so many of all. */
  const before = (wolf: number, all: number) => Math.ceil(Math.max(0, all - wolf) / wolves);
  return readers
    .map(({ wolf, stalled }) => {
      if (stalled) return 0;
      return wolf === undefined ? changes : before(wolf, from + changes) - before(wolf, from);
    })
    .reduce((sum, due) => sum + due, 0);
}
