import { describe, expect, it } from "@jest/globals";
import { createAttempts } from "./attempts.ts";

function attempts() {
  let keys = 0;
  return createAttempts(() => `key ${++keys}`);
}

describe("the key of a wish", () => {
  it.each([
    ["network-failed", 0, "nothing was answered"],
    ["unexpected-reply", 201, "the answer that it was made broke off"],
    ["unexpected-reply", 502, "a proxy answered with a page of its own"],
    ["unexpected-reply", 504, "a proxy did not wait"],
    ["unexpected-reply", 403, "a proxy refused, in its own words"],
    ["idempotency-key-in-use", 409, "the first request is still being served"],
    ["internal", 500, "the control plane failed, before or after"],
    ["draining", 503, "the control plane ends"],
  ])("stays after %s with status %i: %s", (code, status) => {
    const { keyOf, failed } = attempts();
    expect(keyOf("a desk")).toBe("key 1");
    failed({ code, status });
    expect(keyOf("a desk")).toBe("key 1");
  });

  it.each([
    ["invalid-request", 400],
    ["unauthorized", 401],
    ["forbidden", 403],
    ["idempotency-key-reused", 422],
    ["quota-exceeded", 429],
  ])("is another one after %s, for nothing was made and the refusal is kept with the key", (code, status) => {
    const { keyOf, failed } = attempts();
    keyOf("a desk");
    failed({ code, status });
    expect(keyOf("a desk")).toBe("key 2");
  });

  it("is another one for another wish, also while the first is in doubt", () => {
    const { keyOf, failed } = attempts();
    keyOf("a desk");
    failed({ code: "network-failed", status: 0 });
    expect(keyOf("a larger desk")).toBe("key 2");
    expect(keyOf("a larger desk")).toBe("key 2");
  });
});
