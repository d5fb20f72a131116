import { describe, expect, it } from "@jest/globals";
import type { SessionStatus } from "@wolfpack/api-contract";
import { aSession } from "../../test/a-session.ts";
import { sessionTransitions } from "./session-lifecycle.ts";
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
