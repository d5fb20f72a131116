/** A fleet in health is quiet: nothing is said of what happens every few seconds. */
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { startHost, type TestHost } from "./host.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";
import { until } from "./tunnel-requests.ts";

let clock: ManualClock;
let api: TestControlPlane;
let host: TestHost;
beforeEach(async () => {
  clock = manualClock();
  api = await startControlPlane({ logLevel: "info", metricsToken: "metrics-token-of-the-tests" }, undefined, {
    clock,
  });
  host = await startHost(api, { name: "wolf-1" });
});
afterEach(async () => {
  await host.stop();
  await api.stop();
});

it("says nothing in ten minutes of heartbeats, comparisons, probes and scrapes", async () => {
  const listed = () => host.wolf.requests.filter((request) => request.path === "/api/v1/lobbies").length;
  await until(async () => listed() > 0);
  await until(async () => api.lines.some((line) => line.includes('"msg":"tunnel up"')));
  const [before, listedBefore] = [api.lines.length, listed()];
  for (let second = 0; second < 600; second += 5) {
    clock.advance(5000);
    await (await fetch(`${api.url}/readyz`)).text();
    const scraped = await fetch(`${api.url}/metrics`, {
      headers: { authorization: "Bearer metrics-token-of-the-tests" },
    });
    expect(scraped.status).toBe(200);
    await scraped.text();
  }
  expect(listed() - listedBefore).toBeGreaterThan(5);
  expect(api.lines.slice(before)).toEqual([]);
});
