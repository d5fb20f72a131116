import { describe, expect, it } from "@jest/globals";
import {
  emptyFeed,
  FEED_HELD_MAX,
  FEED_ROWS_MAX,
  type Feed,
  type FeedRow,
  released,
  withHead,
  withHeard,
  withOlder,
} from "./feed-rows.ts";

/** The row of a second since the hour began. */
const row = (second: number): FeedRow => ({
  id: `evt_${String(second).padStart(8, "0")}`,
  at: new Date(Date.UTC(2026, 10, 26, 12) + second * 1000).toISOString(),
});
const rows = (...seconds: number[]): FeedRow[] => seconds.map(row);
const range = (from: number, to: number): number[] =>
  Array.from({ length: from - to + 1 }, (_unused, index) => from - index);
const shown = ({ rows: list }: Feed<FeedRow>): number[] => list.map(({ id }) => Number(id.slice(4)));
const started = withHead(emptyFeed as Feed<FeedRow>, { rows: rows(5, 4, 3), next: "evt_00000003" });

describe("a log that grows at both ends", () => {
  it("begins with its newest page and knows whether there is an older one", () => {
    expect(shown(started)).toEqual([5, 4, 3]);
    expect(started).toMatchObject({ loaded: true, cursor: "evt_00000003" });
    expect(withHead(emptyFeed, { rows: [], next: undefined })).toMatchObject({ loaded: true, rows: [] });
  });

  it("puts what it hears on top, in order of time, each once, however it comes", () => {
    const heard = withHeard(started, rows(7, 6, 5), false);
    expect(shown(withHeard(heard, rows(6, 8), false))).toEqual([8, 7, 6, 5, 4, 3]);
  });

  it("keeps what it heard before its first page was there", () => {
    const early = withHeard(emptyFeed as Feed<FeedRow>, rows(6), false);
    expect(shown(withHead(early, { rows: rows(5, 4), next: "evt_00000004" }))).toEqual([6, 5, 4]);
  });

  it("goes on below by pages until there is none", () => {
    const older = withOlder(started, { rows: rows(3, 2, 1), next: undefined });
    expect(shown(older)).toEqual([5, 4, 3, 2, 1]);
    expect(older.cursor).toBeUndefined();
  });

  it("adds a newer page that reaches down to what it has, and keeps its older pages", () => {
    const older = withOlder(started, { rows: rows(2, 1), next: undefined });
    const again = withHead(older, { rows: rows(7, 6, 5), next: "evt_00000005" });
    expect(shown(again)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    expect(again.cursor).toBeUndefined();
  });

  it("puts its rows aside where a newer page does not reach down to them: what is between is not known", () => {
    const again = withHead(started, { rows: rows(19, 18), next: "evt_00000018" });
    expect(shown(again)).toEqual([19, 18]);
    expect(again.cursor).toBe("evt_00000018");
  });

  it("moves nothing while it is held, counts each once, and shows it when it is let go", () => {
    const held = withHeard(withHeard(started, rows(6), true), rows(7, 6, 5), true);
    expect(shown(held)).toEqual([5, 4, 3]);
    expect(held.held).toHaveLength(2);
    const free = released(held);
    expect(shown(free)).toEqual([7, 6, 5, 4, 3]);
    expect(free.held).toEqual([]);
    expect(released(started)).toBe(started);
  });

  it("holds no more than its limit, and then begins anew with what it holds, to go on by pages", () => {
    const held = withHeard(started, rows(...range(5000, 100)), true);
    expect(held.held).toHaveLength(FEED_HELD_MAX);
    expect(held.gap).toBe(true);
    const free = released(held);
    expect(shown(free)).toEqual(range(5000, 5001 - FEED_HELD_MAX));
    expect(free).toMatchObject({ cursor: row(5001 - FEED_HELD_MAX).id, gap: false });
  });

  it("lets its oldest rows go when what comes live is too much, and finds them again by pages", () => {
    const full = withHeard(started, rows(...range(FEED_ROWS_MAX + 99, 6)), false);
    expect(full.rows).toHaveLength(FEED_ROWS_MAX);
    expect(full.cursor).toBe(full.rows.at(-1)?.id);
    expect(shown(full)[0]).toBe(FEED_ROWS_MAX + 99);
  });
});
