import { describe, expect, it } from "@jest/globals";
import type { SessionStatus } from "@wolfpack/api-contract";
import fc from "fast-check";
import { aSession } from "../../test/a-session.ts";
import { placeOfNext } from "./queue-places.ts";
import { sessionTransitions } from "./session-lifecycle.ts";
import type { QueueRow } from "./session-store.ts";
import { idleAt, statusDeadline } from "./session-times.ts";

const at = (ms: number) => new Date(Date.UTC(2026, 10, 23, 12) + ms);
const limits = { placedMs: 1, startingMs: 2, stoppingMs: 3, lostMs: 4 };

describe("the deadline of a status", () => {
  it.each<[SessionStatus, Date | undefined]>([
    ["queued", at(9)],
    ["placed", at(1)],
    ["starting", at(2)],
    ["stopping", at(3)],
    ["lost", at(4)],
    ["running", undefined],
    ["stopped", undefined],
    ["failed", undefined],
  ])("of %s is %p", (status, expected) => {
    const session = aSession({ status, statusSince: at(0), queueDeadline: at(9) });
    expect(statusDeadline(session, limits)).toEqual(expected);
  });

  it("is there for every status that has a way on by itself, and for no end", () => {
    for (const status of Object.keys(sessionTransitions) as SessionStatus[]) {
      const isEnd = Object.keys(sessionTransitions[status]).length === 0;
      const deadline = statusDeadline(aSession({ status, queueDeadline: at(0) }), limits);
      expect({ status, has: deadline !== undefined }).toEqual({
        status,
        has: !isEnd && status !== "running",
      });
    }
  });
});

describe("the end of idleness", () => {
  it("counts from the last use, or else from the start, and only while it runs and may not be idle", () => {
    const idle = { idleSeconds: 60, startedAt: at(0) };
    expect(idleAt(aSession({ ...idle, lastActiveAt: at(5000) }))).toEqual(at(65_000));
    expect(idleAt(aSession(idle))).toEqual(at(60_000));
    expect(idleAt(aSession({ ...idle, idleSeconds: null }))).toBeUndefined();
    expect(idleAt(aSession({ ...idle, status: "lost" }))).toBeUndefined();
    expect(idleAt(aSession({ idleSeconds: 60, startedAt: null }))).toBeUndefined();
  });
});

describe("the place of a session that is not there yet", () => {
  /** The store's order: by priority, then in turns for each owner, then by the time they came. */
  function inOrder(entries: readonly { owner: string; priority: number }[]): QueueRow[] {
    const turns = new Map<string, number>();
    return entries
      .map(({ owner, priority }, came) => {
        const key = `${owner} ${priority}`;
        const turn = (turns.get(key) ?? 0) + 1;
        turns.set(key, turn);
        return { owner, priority, turn, came };
      })
      .sort((a, b) => b.priority - a.priority || a.turn - b.turn || a.came - b.came)
      .map(({ owner, priority }, index) => ({
        session: aSession({ id: String(index), ownerId: owner, priority, status: "queued" }),
        position: index + 1,
      }));
  }

  it("is the one that it gets when it comes", () => {
    const entry = fc.record({ owner: fc.constantFrom("a", "b", "c"), priority: fc.constantFrom(0, 4, 9) });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 30 }), fc.constantFrom("a", "b", "d"), (entries, owner) => {
        const next = { owner, priority: 4 };
        const place = placeOfNext(inOrder(entries), owner);
        const after = inOrder([...entries, next]);
        const own = after.filter(({ session }) => session.ownerId === owner && session.priority === 4);
        // Among its owner's it is the last.
        expect(place).toBe(own.at(-1)?.position);
      }),
    );
  });
});
