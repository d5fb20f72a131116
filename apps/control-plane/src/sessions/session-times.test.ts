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
  /** As the store gives turns, and its order: by priority, by turn, by the time they came. Some have been served since. */
  function inOrder(entries: readonly { owner: string; priority: number; isServed?: boolean }[]): QueueRow[] {
    let rows: { owner: string; priority: number; turn: number; came: number }[] = [];
    const sorted = () => rows.sort((a, b) => b.priority - a.priority || a.turn - b.turn || a.came - b.came);
    for (const [came, { owner, priority, isServed }] of entries.entries()) {
      if (isServed) {
        rows = sorted().slice(1);
        continue;
      }
      const peers = rows.filter((row) => row.priority === priority);
      const own = peers.filter((row) => row.owner === owner).map(({ turn }) => turn + 1);
      const first = peers.length === 0 ? 0 : Math.min(...peers.map(({ turn }) => turn));
      rows.push({ owner, priority, turn: Math.max(first, ...own), came });
    }
    return sorted().map(({ owner, priority, turn }, index) => ({
      session: aSession({ id: String(index), ownerId: owner, priority, turn, status: "queued" }),
      position: index + 1,
    }));
  }

  it("is the one that it gets when it comes", () => {
    const entry = fc.record({
      owner: fc.constantFrom("a", "b", "c"),
      priority: fc.constantFrom(0, 4, 9),
      isServed: fc.boolean(),
    });
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
