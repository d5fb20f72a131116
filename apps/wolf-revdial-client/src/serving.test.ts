import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { moveAgainMs } from "./serving.ts";

describe("the wait until a move is tried again", () => {
  const wait = moveAgainMs(30_000);

  it("doubles from half a second, and is as long as that of a reconnect at most", () => {
    const waits = [1, 2, 3, 6, 7, 8, 1000].map((failures) => wait(failures, new Error("refused")));
    expect(waits).toEqual([500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("is at least what the refusal says, also above that", () => {
    const busy = (retryAfterMs: number) => new RevdialError("DIAL_REFUSED", "busy", { retryAfterMs });
    expect(wait(1, busy(5000))).toBe(5000);
    expect(wait(1, busy(100))).toBe(500);
    expect(wait(1, busy(60_000))).toBe(60_000);
  });
});
