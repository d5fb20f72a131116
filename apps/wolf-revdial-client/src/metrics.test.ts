import { describe, expect, it } from "@jest/globals";
import { createMetrics } from "./metrics.ts";

describe("counters", () => {
  it("add up by name and labels, whatever the order of the labels", () => {
    const metrics = createMetrics();
    metrics.count("refusals", { code: "b", service: "wolf" });
    metrics.count("refusals", { service: "wolf", code: "b" });
    metrics.count("refusals", { code: "a" });
    metrics.count("started");
    expect(metrics.counters()).toEqual([
      { name: "refusals", labels: { code: "a" }, value: 1 },
      { name: "refusals", labels: { code: "b", service: "wolf" }, value: 2 },
      { name: "started", labels: {}, value: 1 },
    ]);
  });

  it("are given as values: what a reader does to them changes nothing", () => {
    const metrics = createMetrics();
    metrics.count("x");
    for (const counter of metrics.counters()) counter.value = 9;
    expect(metrics.counters()).toMatchObject([{ value: 1 }]);
  });
});
