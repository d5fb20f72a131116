import { describe, expect, it } from "@jest/globals";
import { clipboardProblem } from "./clipboard-text.ts";
import { restMs } from "./look-pace.ts";
import { remaining } from "./remaining.ts";
import { waysToEnd } from "./ways.ts";

describe("how often a screen is looked at", () => {
  it("is every two seconds where it answers at once", () => {
    expect(restMs(100, 0)).toBe(1900);
  });

  it("is half of the time at most where it answers slowly", () => {
    expect(restMs(5000, 0)).toBe(5000);
    expect(restMs(1900, 0)).toBe(1900);
  });

  it("is less and less where it does not answer, and never more than a minute apart", () => {
    expect([1, 2, 3, 20, 1e9].map((failures) => restMs(10, failures))).toEqual([
      4000, 8000, 16_000, 60_000, 60_000,
    ]);
  });

  it("is not hastened by a clock that goes back", () => {
    expect(restMs(-10_000, 0)).toBe(2000);
  });
});

describe("how long there is still", () => {
  const min = 60_000;
  it("is said in two units, and in seconds only near the end", () => {
    expect([45_000, 5 * min + 7000, 29 * min + 57_000, 119 * min, 120 * min].map(remaining)).toEqual([
      "in 45 s",
      "in 5 min 7 s",
      "in 29 min",
      "in 1 h 59 min",
      "in 2 h",
    ]);
    expect(remaining(50 * 60 * min)).toBe("in 2 d 2 h");
  });

  it("is now for what is past, and for what is no time", () => {
    expect([0, 999, -5000, Number.NaN].map(remaining)).toEqual(["now", "now", "now", "now"]);
  });
});

describe("the ways to end a session", () => {
  it("are to cancel one that waits, to stop one that runs, and none for one that has ended", () => {
    expect(waysToEnd({ status: "queued", reachable: false })).toEqual(["cancel"]);
    expect(waysToEnd({ status: "running", reachable: true })).toEqual(["stop"]);
    expect(waysToEnd({ status: "failed", reachable: false })).toEqual([]);
  });

  it("are force too where its wolf may not hear of it", () => {
    expect(waysToEnd({ status: "running", reachable: false })).toEqual(["stop", "force"]);
    expect(waysToEnd({ status: "lost", reachable: true })).toEqual(["stop", "force"]);
    expect(waysToEnd({ status: "stopping", reachable: true })).toEqual(["force"]);
  });
});

describe("a text for a session's clipboard", () => {
  it("may be empty, and as long as 48 KiB of UTF-8", () => {
    expect(clipboardProblem("")).toBeUndefined();
    expect(clipboardProblem("a".repeat(48 * 1024))).toBeUndefined();
  });

  it("is refused where it is longer, by bytes and not by letters, or holds half a character", () => {
    expect(clipboardProblem("ü".repeat(24 * 1024 + 1))).toBe(
      "49,154 bytes are more than the 49,152 that fit.",
    );
    expect(clipboardProblem("\ud800")).toBe("It holds half a character.");
  });
});
