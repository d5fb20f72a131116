import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { ApiError } from "./problem.ts";
import { createRateLimiter } from "./rate-limit.ts";

function limiter(perMinute: number, keysMax?: number) {
  const clock = manualClock();
  const { take } = createRateLimiter({ name: "test", perMinute }, clock, keysMax);
  const refusal = (key: string) => {
    try {
      take(key);
      return undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(ApiError);
      expect((error as ApiError).code).toBe("rate-limited");
      return (error as ApiError).headers;
    }
  };
  const allowed = (key: string, tries: number) =>
    Array.from({ length: tries }, () => refusal(key)).filter((headers) => headers === undefined).length;
  return { clock, take, refusal, allowed };
}

describe("a rate limit", () => {
  it.each([1, 7, 60, 997, 6000])(
    "of %d a minute takes exactly as many at once, of each caller",
    (perMinute) => {
      const { allowed } = limiter(perMinute);
      expect(allowed("a", perMinute + 50)).toBe(perMinute);
      expect(allowed("b", perMinute + 50)).toBe(perMinute);
    },
  );

  it("takes the next request when the time for it has come, and not a millisecond before", () => {
    const { clock, allowed } = limiter(6);
    expect(allowed("a", 10)).toBe(6);
    clock.advance(9999);
    expect(allowed("a", 1)).toBe(0);
    clock.advance(1);
    expect(allowed("a", 2)).toBe(1);
    clock.advance(60_000);
    expect(allowed("a", 10)).toBe(6);
  });

  it("takes no more in the long run than it says, however the requests are spread", () => {
    const { clock, allowed } = limiter(7);
    let taken = 0;
    for (let step = 0; step < 10_000; step += 1) {
      taken += allowed("a", 1);
      clock.advance(60);
    }
    // What was there at the beginning, and what ten minutes less 60 ms bring.
    expect(taken).toBe(7 + 69);
  });

  it("says what is left, when all of it is back, and how long to wait", () => {
    const { clock, take, refusal } = limiter(6);
    expect(take("a")).toEqual({ "ratelimit-policy": '"test";q=6;w=60', ratelimit: '"test";r=5;t=10' });
    for (let left = 4; left >= 0; left -= 1)
      expect(take("a").ratelimit).toBe(`"test";r=${left};t=${(6 - left) * 10}`);
    expect(refusal("a")).toEqual({
      "ratelimit-policy": '"test";q=6;w=60',
      ratelimit: '"test";r=0;t=60',
      "retry-after": "10",
    });
    clock.advance(9999);
    expect(refusal("a")?.["retry-after"]).toBe("1");
  });

  it("is kept by whoever waits as long as Retry-After says", () => {
    const { clock, allowed, refusal } = limiter(7);
    allowed("a", 7);
    for (let round = 0; round < 20; round += 1) {
      clock.advance(Number(refusal("a")?.["retry-after"]) * 1000);
      expect(refusal("a")).toBeUndefined();
    }
  });

  it("gives nothing back when the clock is set back", () => {
    const { clock, allowed } = limiter(6);
    expect(allowed("a", 10)).toBe(6);
    clock.advance(-3_600_000);
    expect(allowed("a", 10)).toBe(0);
    clock.advance(10_000);
    expect(allowed("a", 10)).toBe(1);
  });

  it("remembers so many callers and no more; the one not seen for longest starts anew", () => {
    const { allowed } = limiter(1, 2);
    expect(["a", "b", "a", "c", "a", "b"].map((key) => allowed(key, 1))).toEqual([1, 1, 0, 1, 0, 1]);
  });
});
