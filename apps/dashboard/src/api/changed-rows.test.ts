import { describe, expect, it } from "@jest/globals";
import { ManualTimers, settled } from "../../test/manual-timers.ts";
import { type ChangedRows, createChangedRows } from "./changed-rows.ts";
import { ApiFailure } from "./failure.ts";

type Answer = string | undefined;

/** A list of a test's own: reads are answered at once unless they are held. */
function list() {
  const timers = new ManualTimers();
  const state = {
    shown: true,
    readingAll: false,
    allSucceeds: true,
    held: undefined as PromiseWithResolvers<Answer> | undefined,
    failure: undefined as ApiFailure | undefined,
  };
  const read: string[] = [];
  const merged: Record<string, Answer>[] = [];
  const counts = { all: 0, stale: 0 };
  const rows: ChangedRows = createChangedRows<string>({
    async read(id) {
      read.push(id);
      if (state.failure) throw state.failure;
      return state.held ? await state.held.promise : `row ${id}`;
    },
    merge: (found) => void merged.push(Object.fromEntries(found)),
    async readAll() {
      counts.all += 1;
      return state.allSucceeds;
    },
    isReadingAll: () => state.readingAll,
    isShown: () => state.shown,
    markStale: () => {
      counts.stale += 1;
    },
    timers,
  });
  const change = (count: number) => {
    for (let at = 0; at < count; at += 1) rows.add(`r${at}`);
  };
  return { timers, state, read, merged, counts, rows, change };
}

const failure = (status: number, retryAfterMs?: number) =>
  new ApiFailure("some-code", "No", "No.", status, {}, retryAfterMs);

describe("rows that events name", () => {
  it("are read at once when it was quiet, and then put into the list together, once in 100 ms", async () => {
    const { rows, timers, read, merged } = list();
    rows.add("a");
    await settled();
    expect(merged).toEqual([{ a: "row a" }]);
    for (const id of ["b", "c", "b", "d"]) rows.add(id);
    await timers.pass(200);
    expect(read).toEqual(["a", "b", "c", "d"]);
    expect(merged).toEqual([{ a: "row a" }, { b: "row b" }, { c: "row c", d: "row d" }]);
  });

  it("are read at most ten times a second", async () => {
    const { timers, read, change, counts } = list();
    change(25);
    await timers.pass(999);
    expect(read.length).toBe(10);
    await timers.pass(2000);
    expect(read.length).toBe(25);
    expect(counts.all).toBe(0);
  });

  it("are read as one list when more than 30 wait, each five seconds at most", async () => {
    const { timers, read, change, counts } = list();
    change(40);
    await timers.pass(1000);
    expect(counts.all).toBe(1);
    expect(read.length).toBeLessThan(10);
    change(40);
    await timers.pass(3000);
    expect(counts.all).toBe(1);
    change(60);
    await timers.pass(2000);
    expect(counts.all).toBe(2);
  });

  it("wait for a read that is under way instead of beginning another, and for one more after it", async () => {
    const { timers, state, rows, counts } = list();
    state.readingAll = true;
    for (let at = 0; at < 20; at += 1) {
      rows.all();
      await timers.pass(1000);
    }
    expect(counts.all).toBe(0);
    state.readingAll = false;
    await timers.pass(10_000);
    expect(counts.all).toBe(1);
  });

  it("are put into the list again behind a list that was read meanwhile, also those that are gone", async () => {
    const { timers, state, rows, merged } = list();
    state.readingAll = true;
    rows.add("a");
    await timers.pass(100);
    state.held = Promise.withResolvers();
    state.held.resolve(undefined);
    rows.add("b");
    await timers.pass(300);
    expect(merged).toEqual([{ a: "row a" }, { b: undefined }]);
    state.readingAll = false;
    await timers.pass(100);
    expect(merged.slice(2)).toEqual([{ a: "row a", b: undefined }]);
    await timers.pass(1000);
    expect(merged.length).toBe(3);
    expect(timers.count).toBe(0);
  });

  it("are read one after the other, so that no older answer comes last", async () => {
    const { timers, state, rows, read, merged } = list();
    const first = Promise.withResolvers<Answer>();
    state.held = first;
    rows.add("a");
    await settled();
    state.held = undefined;
    rows.add("a");
    await timers.pass(1000);
    expect(read).toEqual(["a"]);
    first.resolve("older");
    await timers.pass(1000);
    expect(read).toEqual(["a", "a"]);
    expect(merged).toEqual([{ a: "older" }, { a: "row a" }]);
  });
});

describe("rows that could not be read", () => {
  it("are left alone for as long as the server says, then read", async () => {
    const { timers, state, rows, read, merged } = list();
    state.failure = failure(429, 7000);
    rows.add("a");
    await settled();
    state.failure = undefined;
    rows.add("b");
    await timers.pass(6900);
    expect(read).toEqual(["a"]);
    await timers.pass(300);
    expect(merged).toEqual([{ a: "row a" }, { b: "row b" }]);
  });

  it("are asked for ever more seldom where nobody says when", async () => {
    const { timers, state, rows, read } = list();
    state.failure = failure(503);
    rows.add("a");
    await timers.pass(8000);
    expect(read.length).toBe(4);
    await timers.pass(600_000);
    expect(read.length).toBeLessThan(18);
  });

  it("are forgotten where it was refused", async () => {
    const { timers, state, rows, read } = list();
    state.failure = failure(403);
    rows.add("a");
    await timers.pass(60_000);
    expect(read).toEqual(["a"]);
    expect(timers.count).toBe(0);
  });

  it("are read by the next list when one has failed", async () => {
    const { timers, state, change, counts } = list();
    state.allSucceeds = false;
    change(40);
    await timers.pass(200);
    state.allSucceeds = true;
    expect(counts.all).toBe(1);
    await timers.pass(5000);
    expect(counts.all).toBe(2);
  });
});

describe("a list that nobody looks at", () => {
  it("is marked as outdated, and nothing is read", async () => {
    const { timers, state, change, rows, read, counts } = list();
    state.shown = false;
    change(5);
    rows.all();
    await timers.pass(10_000);
    expect(read).toEqual([]);
    expect(counts).toMatchObject({ all: 0 });
    expect(counts.stale).toBeGreaterThan(0);
    expect(timers.count).toBe(0);
  });

  it("hears nothing after its end, not even what was asked before", async () => {
    const { timers, state, rows, merged, read } = list();
    state.held = Promise.withResolvers();
    rows.add("a");
    await settled();
    rows.stop();
    state.held.resolve("late");
    rows.add("b");
    rows.all();
    await timers.pass(10_000);
    expect(read).toEqual(["a"]);
    expect(merged).toEqual([]);
    expect(timers.count).toBe(0);
  });
});
