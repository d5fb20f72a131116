/** A list that grows at its top while it is read and at its end by pages, as functions of values. The newest comes first. */

export interface FeedRow {
  id: string;
  /** ISO 8601, UTC. */
  at: string;
}

export interface Feed<Row extends FeedRow> {
  rows: readonly Row[];
  /** Heard while nothing may move; shown when it is let go. */
  held: readonly Row[];
  /** Of the next older page; undefined where there is none. */
  cursor: string | undefined;
  /** False until the first page is there. */
  loaded: boolean;
  /** Some of what was heard is no longer held: the rows below are not the ones before it. */
  gap: boolean;
}

export interface Page<Row> {
  rows: readonly Row[];
  next: string | undefined;
}

export const emptyFeed: Feed<never> = { rows: [], held: [], cursor: undefined, loaded: false, gap: false };

/** What comes live makes a list no longer than this; whoever asks for older pages gets them. */
export const FEED_ROWS_MAX = 5000;
export const FEED_HELD_MAX = 1000;

/** By time, then by id: equal times come in one order, wherever they were read. */
const newestFirst = (a: FeedRow, b: FeedRow): number => {
  if (a.at !== b.at) return a.at < b.at ? 1 : -1;
  return a.id === b.id ? 0 : a.id < b.id ? 1 : -1;
};

function union<Row extends FeedRow>(...lists: readonly (readonly Row[])[]): Row[] {
  const byId = new Map<string, Row>();
  for (const list of lists) for (const row of list) if (!byId.has(row.id)) byId.set(row.id, row);
  return [...byId.values()].sort(newestFirst);
}

/** The newest page, read for the first time or anew. What does not reach down to what is known puts it aside. */
export function withHead<Row extends FeedRow>(feed: Feed<Row>, { rows, next }: Page<Row>): Feed<Row> {
  const known = new Set(feed.rows.map(({ id }) => id));
  const reaches = next === undefined || rows.some(({ id }) => known.has(id));
  if (feed.loaded && reaches) return trimmed({ ...feed, rows: union(rows, feed.rows), gap: false });
  const oldest = rows.at(-1);
  const newer = oldest ? feed.rows.filter((row) => newestFirst(row, oldest) < 0) : feed.rows;
  return { rows: union(rows, newer), held: feed.held, cursor: next, loaded: true, gap: false };
}

/** Heard as it happened. */
export function withHeard<Row extends FeedRow>(
  feed: Feed<Row>,
  heard: readonly Row[],
  hold: boolean,
): Feed<Row> {
  if (!hold) return trimmed({ ...feed, rows: union(feed.rows, heard) });
  const known = new Set(feed.rows.map(({ id }) => id));
  const held = union(
    feed.held,
    heard.filter(({ id }) => !known.has(id)),
  );
  const gap = feed.gap || held.length > FEED_HELD_MAX;
  return { ...feed, held: held.slice(0, FEED_HELD_MAX), gap };
}

/** Shows what was held. Where some of it is gone, the list begins with it, and goes on by pages. */
export function released<Row extends FeedRow>(feed: Feed<Row>): Feed<Row> {
  if (feed.held.length === 0) return feed;
  if (feed.gap) return { ...feed, rows: feed.held, held: [], cursor: feed.held.at(-1)?.id, gap: false };
  return trimmed({ ...feed, rows: union(feed.rows, feed.held), held: [] });
}

export function withOlder<Row extends FeedRow>(feed: Feed<Row>, { rows, next }: Page<Row>): Feed<Row> {
  return { ...feed, rows: union(feed.rows, rows), cursor: next };
}

function trimmed<Row extends FeedRow>(feed: Feed<Row>): Feed<Row> {
  if (feed.rows.length <= FEED_ROWS_MAX) return feed;
  const rows = feed.rows.slice(0, FEED_ROWS_MAX);
  return { ...feed, rows, cursor: rows.at(-1)?.id };
}
