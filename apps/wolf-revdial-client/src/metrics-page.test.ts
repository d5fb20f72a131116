import { describe, expect, it } from "@jest/globals";
import { createCondition } from "./condition.ts";
import { createMetrics } from "./metrics.ts";
import { createMetricsPage } from "./metrics-page.ts";

function aPage() {
  let nowMs = 0;
  const condition = createCondition({
    wolfId: "wolf-1",
    controlPlane: "cp.test",
    version: "1.2.3",
    now: () => nowMs,
  });
  const metrics = createMetrics();
  const timers = new Map<number, () => void>();
  const stop = new AbortController();
  const page = createMetricsPage({
    condition,
    counters: metrics.counters,
    signal: stop.signal,
    every(ms, run) {
      timers.set(ms, run);
      return () => void timers.delete(ms);
    },
  });
  metrics.onObserved(page.observed);
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { condition, metrics, page, timers, stop, pass };
}

describe("the agent's page of metrics", () => {
  it("is Prometheus' text: each family once with its type, and nothing names a wolf or a session", async () => {
    const { condition, metrics, page } = aPage();
    condition.ended("DIAL_FAILED", "no route");
    metrics.count("refusals", { code: "path-invalid" });
    metrics.count("events_not_sent", { why: "malformed" });
    metrics.count("pickups_failed");
    const text = await page.text();
    const types = text.match(/^# TYPE \S+/gm) ?? [];
    expect(types.length).toBeGreaterThan(20);
    expect(new Set(types).size).toBe(types.length);
    for (const line of text.split("\n").filter((line) => line !== ""))
      expect(line).toMatch(/^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{.*\})? [0-9.e+-]+)$/);
    expect(text).toContain('wolfpack_agent_info{version="1.2.3"} 1\n');
    expect(text).toContain('wolfpack_agent_endings_total{cause="DIAL_FAILED"} 1\n');
    expect(text).toContain('wolfpack_agent_refusals_total{code="path-invalid"} 1\n');
    expect(text).toContain('wolfpack_agent_events_not_sent_total{why="malformed"} 1\n');
    expect(text).toContain("wolfpack_agent_pickups_failed_total 1\n");
    expect(text).not.toMatch(/wolf-1|cp\.test|no route/);
  });

  it("counts what is made up as other: a flood of causes and codes adds one series", async () => {
    const { condition, metrics, page } = aPage();
    const before = (await page.text()).split("\n").length;
    for (let number = 0; number < 500; number += 1) {
      condition.ended(`MADE_UP_${number}"} 1\n`, "");
      metrics.count("refusals", { code: `made-up-${number}` });
      metrics.observed({
        name: "request",
        ms: 1,
        service: `s${number}`,
        outcome: "answered",
        code: undefined,
      });
    }
    const text = await page.text();
    expect(text).not.toMatch(/made/i);
    expect(text).toContain('wolfpack_agent_endings_total{cause="other"} 1\n');
    // One of each counter, and one histogram with its buckets.
    expect(text.split("\n").length - before).toBeLessThan(25);
  });

  it("reads the same twice: what is kept elsewhere is shown, not added up", async () => {
    const { metrics, page } = aPage();
    metrics.count("refusals", { code: "queue-full" });
    await page.text();
    expect(await page.text()).toContain('wolfpack_agent_refusals_total{code="queue-full"} 1\n');
  });

  it("shows times as histograms, refusals by their code", async () => {
    const { metrics, page } = aPage();
    metrics.observed({ name: "request", ms: 300, service: "wolf", outcome: "refused", code: "queue-full" });
    metrics.observed({ name: "wolf", ms: 20, outcome: "upstream-timeout" });
    metrics.observed({ name: "reconnect", ms: 1500 });
    const text = await page.text();
    expect(text).toContain(
      'wolfpack_agent_request_duration_seconds_count{service="wolf",outcome="refused"} 1\n',
    );
    expect(text).toContain('wolfpack_agent_refusal_duration_seconds_bucket{le="0.1",code="queue-full"} 0\n');
    expect(text).toContain('wolfpack_agent_refusal_duration_seconds_bucket{le="0.5",code="queue-full"} 1\n');
    expect(text).toContain('wolfpack_agent_wolf_duration_seconds_count{outcome="upstream-timeout"} 1\n');
    expect(text).toContain('wolfpack_agent_reconnect_duration_seconds_bucket{le="2"} 1\n');
  });

  it("has no round trip while there is no tunnel, and leaves no timer behind", async () => {
    const { page, timers, stop } = aPage();
    timers.get(10_000)?.();
    expect(await page.text()).toContain("wolfpack_agent_tunnel_rtt_seconds_count 0\n");
    expect(timers.size).toBe(2);
    stop.abort();
    expect(timers.size).toBe(0);
  });

  it("says how long another agent has kept Wolf's events from it", async () => {
    const { condition, page, pass } = aPage();
    condition.eventsWait(true);
    pass(300_000);
    expect(await page.text()).toContain("wolfpack_agent_events_wait_seconds 300\n");
  });
});
