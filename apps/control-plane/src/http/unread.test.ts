import { beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { LINES_MAX, tellOfUnread, type Unread } from "./unread.ts";

let clock: ManualClock;
let lines: Record<string, unknown>[];
let counted: Unread[];
let tell: (unread: Unread) => void;
beforeEach(() => {
  clock = manualClock();
  lines = [];
  counted = [];
  tell = tellOfUnread({
    clock,
    log: createLogger("info", { write: (line) => void lines.push(JSON.parse(line)) }),
    count: (unread) => void counted.push(unread),
  });
});

const one = (n: number): Unread => ({ requestId: `request-${n}`, status: 400, code: "malformed-http" });
const some = (count: number) => {
  for (let n = 0; n < count; n += 1) tell(one(n));
};

describe("a request that is refused unread", () => {
  it("has one line with closed fields, and is counted", () => {
    tell(one(1));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      request_id: "request-1",
      res: { status: 400 },
      code: "malformed-http",
      msg: "request",
    });
    expect(Object.keys(lines[0] ?? {}).sort()).toEqual(["code", "level", "msg", "request_id", "res", "time"]);
    expect(counted).toEqual([one(1)]);
  });

  it("is one of a bounded number of lines in ten seconds; all are counted, and the rest is told in sum", () => {
    some(1000);
    expect(lines).toHaveLength(LINES_MAX);
    expect(counted).toHaveLength(1000);
    clock.advance(10_000);
    expect(lines.slice(LINES_MAX)).toMatchObject([{ untold: 1000 - LINES_MAX }]);
  });

  it("has its line again after the ten seconds, and nothing is told when nothing was left out", () => {
    some(LINES_MAX);
    clock.advance(10_000);
    expect(lines).toHaveLength(LINES_MAX);
    expect(clock.pending).toBe(0);
    tell(one(7));
    expect(lines).toHaveLength(LINES_MAX + 1);
  });
});
