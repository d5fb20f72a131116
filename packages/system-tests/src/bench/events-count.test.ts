/** What the bench counts as an event that was told, and what it calls lost. */
import { describe, expect, it } from "@jest/globals";
import { EventCount, lostOf } from "./events-count.ts";
import { dueTo, readerOf } from "./events-mix.ts";

const event = (n: number) => `id: evt_${n}\ndata: {"kind":"wolf.intent","detail":{"reason":"${n}"}}\n\n`;
const BEAT = ": beat\n\nevent: beat\ndata: {}\n\n";
const HELLO = 'event: hello\ndata: {"replica":"a"}\n\n';
const MISSED = 'event: missed\ndata: {"after":"evt_1","reason":"slow"}\n\n';

function counted(chunks: readonly Buffer[]) {
  const count = new EventCount();
  for (const chunk of chunks) count.take(chunk);
  return { events: count.events, missed: count.missed };
}
const inPieces = (text: string, bytes: number) =>
  Array.from({ length: Math.ceil(text.length / bytes) }, (_, n) =>
    Buffer.from(text.slice(n * bytes, (n + 1) * bytes)),
  );

describe("what a stream has told", () => {
  const text = HELLO + event(1) + BEAT + event(2) + MISSED + BEAT + event(3);

  it.each([1, 2, 3, 4, 5, 7, 14, 15, 16, 64, text.length])(
    "is its events and what it missed, in pieces of %d bytes",
    (bytes) => {
      expect(counted(inPieces(text, bytes))).toEqual({ events: 3, missed: 1 });
    },
  );

  it("is nothing where there are only greetings and beats", () => {
    expect(counted([Buffer.from(HELLO + BEAT + BEAT)])).toEqual({ events: 0, missed: 0 });
  });

  it("is no id that stands in an event's words", () => {
    const told = Buffer.from('id: 1\ndata: {"reason":"\\nid: 2\\nevent: missed\\n"}\n\n');
    expect(counted([told])).toEqual({ events: 1, missed: 0 });
  });

  it("is told also where the stream begins with an event", () => {
    expect(counted(inPieces(event(1), 1))).toEqual({ events: 1, missed: 0 });
  });
});

describe("what is lost", () => {
  it("is what did not arrive, and every gap that a reader was told of", () => {
    expect(lostOf({ due: 30, received: 30, missed: 0 })).toBe(0);
    expect(lostOf({ due: 30, received: 28, missed: 1 })).toBe(3);
  });

  it("is never less than nothing: more told than happened is a wrong count", () => {
    expect(() => lostOf({ due: 30, received: 31, missed: 0 })).toThrow(
      "31 events were told of 30 that were due",
    );
  });
});

describe("a thousand readers", () => {
  const wolves = Array.from({ length: 50 }, (_, n) => `wlf_${n}`);
  const readers = Array.from({ length: 1000 }, (_, n) => readerOf(n, wolves));

  it("listen in several ways, and a few of them not at all", () => {
    expect(readers.filter(({ stalled }) => stalled)).toHaveLength(20);
    expect(readers.filter(({ wolf }) => wolf !== undefined)).toHaveLength(80);
    const queries = new Set(readers.filter(({ wolf }) => wolf === undefined).map(({ query }) => query));
    expect([...queries].sort()).toEqual(["", "?kind=wolf.*", "?kind=wolf.intent"]);
  });

  it.each([
    [0, 1],
    [0, 50],
    [7, 120],
    [49, 2],
    [1000, 0],
  ])("from change %d on are due, of %d changes, what one by one is counted", (from, changes) => {
    const counted = readers.map(({ wolf, stalled }) => {
      const seen = Array.from({ length: changes }, (_, n) => (from + n) % wolves.length);
      return stalled ? 0 : seen.filter((at) => wolf === undefined || at === wolf).length;
    });
    expect(dueTo(readers, { from, changes }, wolves.length)).toBe(counted.reduce((sum, n) => sum + n, 0));
  });
});
