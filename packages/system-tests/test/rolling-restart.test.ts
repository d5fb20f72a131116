/** A full rolling restart of two replicas under load, as real processes. The long form is `npm run bench -- rolling`. */
import { describe, expect, it } from "@jest/globals";
import { startBalancer } from "../src/balancer.ts";
import { haproxyVersion, startHaproxy } from "../src/rolling/haproxy.ts";
import { type RollingOptions, rollingRestart } from "../src/rolling/rolling.ts";

/** It is in the long form in any case; here it would double the time of the suite. */
const haproxyAsked = process.env.TEST_HAPROXY === "1";

async function failsNothing(balance: RollingOptions["balance"]): Promise<void> {
  const figures = await rollingRestart({
    replicas: 2,
    agents: 2,
    shortRequests: 1000,
    atOnce: 8,
    streams: 5,
    longMs: 1500,
    noticeMs: 1000,
    checkMs: 100,
    balance,
  });
  expect(figures).toMatchObject({
    failures: [],
    failedShortRequests: 0,
    failedLongAnswers: 0,
    failedCreations: 0,
    streamEndsUntold: 0,
    missedEvents: 0,
  });
  expect(figures.streamEndsTold).toBeGreaterThan(0);
  expect(figures.longAnswers).toBeGreaterThan(0);
  expect(figures.sessionsCreated).toBeGreaterThan(0);
  expect(figures.shortRequests).toBeGreaterThanOrEqual(1000);
}

describe("a rolling restart of two replicas", () => {
  it("behind a balancer fails no request of 1,000, cuts off no answer, and tells event streams when to come back", async () => {
    await failsNothing((backends, checkEveryMs) => startBalancer({ backends, checkEveryMs }));
  }, 90_000);

  const skipped = haproxyVersion() === undefined ? "haproxy is not installed" : "TEST_HAPROXY is not 1";
  (haproxyAsked && haproxyVersion() !== undefined ? it : it.skip)(
    `behind haproxy does the same (skipped where ${skipped})`,
    () => failsNothing(startHaproxy),
    90_000,
  );
});
