/** What one reader of a stream has not taken: how much of it is kept, and what is said of the rest. */
import { describe, expect, it } from "@jest/globals";
import { type Frame, Outbox, type OutboxLimits } from "./event-outbox.ts";

const frame = (n: number, bytes = 10): Frame => ({
  id: `evt_${n}`,
  seq: BigInt(n),
  text: `<${n}>`.padEnd(bytes, "."),
  bytes,
});
const frames = (from: number, to: number, bytes?: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => frame(from + at, bytes));
const missed = (after: string | null) =>
  `event: missed\ndata: {"after":${JSON.stringify(after)},"reason":"slow"}\n\n`;

/** A reader that takes `room` pieces and then none until it is `drained`. */
function reader(limits: OutboxLimits = { eventsMax: 5, bytesMax: 1000 }, room = Number.POSITIVE_INFINITY) {
  const written: string[] = [];
  const state = { room };
  const outbox = new Outbox(limits);
  const write = (chunk: string | Buffer) => {
    written.push(String(chunk).replaceAll(".", ""));
    state.room -= 1;
    return state.room > 0;
  };
  return {
    outbox,
    written,
    begin: (replay: Frame[] = [], upTo = 0n) => outbox.open({ write }, "hello", "evt_0", replay, upTo),
    add: (some: Frame[]) => outbox.add(some, Buffer.from(some.map(({ text }) => text).join(""))),
    takes(pieces: number) {
      state.room = pieces;
      outbox.drained();
    },
  };
}

describe("an outbox", () => {
  it("writes what its reader takes as it comes, the events of a moment in one piece", () => {
    const { begin, add, written } = reader();
    begin();
    add(frames(1, 2));
    add(frames(3, 3));
    expect(written).toEqual(["hello", "<1><2>", "<3>"]);
  });

  it("keeps what comes before it begins, without what its beginning has told", () => {
    const { begin, add, written } = reader();
    add(frames(3, 4));
    begin(frames(1, 3), 3n);
    add(frames(5, 5));
    expect(written).toEqual(["hello", "<1><2><3><4>", "<5>"]);
  });

  it("keeps what a slow reader does not take, in order, up to its limit", () => {
    const { begin, add, takes, written } = reader(undefined, 1);
    begin();
    for (let n = 1; n <= 5; n += 1) add(frames(n, n));
    expect(written).toEqual(["hello"]);
    takes(9);
    add(frames(6, 6));
    expect(written).toEqual(["hello", "<1><2><3><4><5>", "<6>"]);
  });

  it.each([
    ["events", { eventsMax: 5, bytesMax: 1000 }, 10],
    ["bytes", { eventsMax: 1000, bytesMax: 50 }, 10],
  ])("drops all of it past its limit of %s, and says once behind which event", (_what, limits, bytes) => {
    const { begin, add, takes, written } = reader(limits, 2);
    begin();
    add(frames(1, 1, bytes));
    add(frames(2, 7, bytes));
    add(frames(8, 9, bytes));
    expect(written).toEqual(["hello", "<1>"]);
    takes(9);
    add(frames(10, 10, bytes));
    expect(written).toEqual(["hello", "<1>", missed("evt_1"), "<10>"]);
  });

  it("drops nothing of what its reader takes, however much comes at once", () => {
    const { begin, add, written } = reader({ eventsMax: 1000, bytesMax: 256 * 1024 });
    begin();
    add(frames(1, 500, 700));
    expect(written.join("")).toBe(
      `hello${frames(1, 500)
        .map(({ id }) => `<${id.slice(4)}>`)
        .join("")}`,
    );
  });

  it("tells nothing again that its beginning has told, when that comes later", () => {
    const { begin, add, written } = reader();
    begin(frames(1, 3), 3n);
    add(frames(2, 3));
    add(frames(3, 4));
    expect(written).toEqual(["hello", "<1><2><3>", "<4>"]);
  });

  it("holds next to nothing for a reader that never comes back, however much happens", () => {
    const { outbox, begin, add, takes, written } = reader({ eventsMax: 1000, bytesMax: 256 * 1024 }, 1);
    begin();
    for (let n = 0; n < 10_000; n += 1) add(frames(n, n, 400));
    expect(outbox.isStuck).toBe(true);
    takes(9);
    expect(written).toEqual(["hello", missed("evt_0")]);
  });

  it("says of what was too much before it began", () => {
    const { begin, add, written } = reader();
    add(frames(1, 6));
    begin();
    expect(written).toEqual(["hello", missed("evt_0")]);
  });

  it("misses again after it has caught up, and says so again", () => {
    const { begin, add, takes, written } = reader(undefined, 1);
    begin();
    add(frames(1, 6));
    takes(1);
    add(frames(7, 12));
    takes(9);
    expect(written).toEqual(["hello", missed("evt_0"), missed("evt_0")]);
  });

  it("beats for a reader that takes something, and for no other", () => {
    const { outbox, begin, takes, written } = reader(undefined, 2);
    outbox.beat(":");
    begin();
    outbox.beat(":");
    outbox.beat(":");
    takes(9);
    outbox.beat(":");
    expect(written).toEqual(["hello", ":", ":"]);
  });

  it("writes long ones piece by piece, so that a slow reader holds no more than a piece", () => {
    const limits = { eventsMax: 1000, bytesMax: 256 * 1024 };
    const { begin, add, takes, written } = reader(limits, 1);
    begin();
    add(frames(1, 5, 40_000));
    takes(1);
    expect(written).toEqual(["hello", "<1><2>"]);
    takes(2);
    expect(written.slice(2)).toEqual(["<3><4>", "<5>"]);
  });
});
