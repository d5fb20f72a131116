import { describe, expect, it } from "@jest/globals";
import { mergeRows } from "../src/api/merge-rows.ts";
import { parseSearch, stringifySearch } from "../src/app/search-text.ts";
import { loadStep, regionsWith, tileState } from "../src/fleet/regions.ts";
import { filterWolves, regionsOf, summaryOf } from "../src/fleet/summary.ts";
import { safeNext } from "../src/pages/login/safe-next.ts";
import { linesOf } from "../src/pages/wolf/disk-lines.ts";
import { offered } from "../src/pages/wolf/offered.ts";
import { aWolf } from "./a-wolf.ts";

const everything = { text: "", status: "", gpu: "", region: "" };

describe("the fleet at a glance", () => {
  it("counts capacity of wolves that take sessions, and nothing of those that are gone", () => {
    const summary = summaryOf([
      aWolf({ connected_sandboxes: 4 }),
      aWolf({ intent: "cordoned", connected_sandboxes: 2 }),
      aWolf({ status: "offline", connectivity: "lost", connected_sandboxes: 5 }),
      aWolf({ intent: "retired" }),
    ]);
    expect(summary).toMatchObject({
      wolves: 3,
      online: 2,
      offline: 1,
      heldBack: 1,
      slots: { used: 6, other: 0, max: 12 },
    });
  });

  it("is all zeros for no wolves", () => {
    expect(summaryOf([])).toMatchObject({ wolves: 0, online: 0, slots: { used: 0, max: 0 } });
  });
});

describe("the filter of wolves", () => {
  const rows = [
    aWolf({ name: "fra-1", labels: { zone: "a" }, region: "eu", gpu_model: "NVIDIA RTX 4090" }),
    aWolf({ name: "iad-1", labels: { zone: "b" }, region: null, gpu_type: "amd", intent: "cordoned" }),
  ];
  const found = (changes: Partial<typeof everything>) =>
    filterWolves(rows, { ...everything, ...changes }).map(({ name }) => name);

  it("finds words in any order, in names, labels and cards", () => {
    expect(found({ text: "4090 FRA" })).toEqual(["fra-1"]);
    expect(found({ text: "zone=b" })).toEqual(["iad-1"]);
    expect(found({ text: "   " })).toEqual(["fra-1", "iad-1"]);
    expect(found({ text: "nobody" })).toEqual([]);
  });

  it("takes what looks like a pattern for plain text", () => {
    expect(found({ text: ".*" })).toEqual([]);
    expect(found({ text: "(" })).toEqual([]);
  });

  it("joins status, GPU and region", () => {
    expect(found({ status: "cordoned" })).toEqual(["iad-1"]);
    expect(found({ region: "-" })).toEqual(["iad-1"]);
    expect(found({ gpu: "nvidia", region: "eu" })).toEqual(["fra-1"]);
    expect(found({ status: "no-such-status" })).toEqual([]);
    expect(regionsOf(rows)).toEqual(["-", "eu"]);
  });
});

describe("rows that come anew", () => {
  it("replace theirs, keep the order, and add those that nobody had", () => {
    const [a, b] = [aWolf({ id: "a" }), aWolf({ id: "b" })];
    const newer = aWolf({ id: "b", intent: "cordoned", updated_at: "2026-11-27T00:00:00.000Z" });
    const merged = mergeRows([a, b], [newer, aWolf({ id: "c" })]);
    expect(merged.map(({ id, intent }) => `${id} ${intent}`)).toEqual(["a active", "b cordoned", "c active"]);
    expect(merged[0]).toBe(a);
  });

  it("do not undo what an event told later than their page was read", () => {
    const shown = aWolf({ intent: "cordoned", updated_at: "2026-11-27T00:00:00.000Z" });
    expect(mergeRows([shown], [aWolf()])).toEqual([shown]);
  });
});

describe("the topology", () => {
  it("has regions by size, wolves by name, and none that is retired", () => {
    const regions = regionsWith([
      aWolf({ name: "b-10", region: "eu" }),
      aWolf({ name: "b-9", region: "eu", connectivity: "lost" }),
      aWolf({ name: "x", region: null }),
      aWolf({ name: "old", intent: "retired" }),
    ]);
    expect(regions.map(({ name, wolves }) => [name, wolves.map((wolf) => wolf.name)])).toEqual([
      ["eu", ["b-9", "b-10"]],
      [null, ["x"]],
    ]);
    expect(regions[0]).toMatchObject({ connected: 1, lost: 1, max: 10 });
  });

  it("is full only to the last slot", () => {
    expect([0, 0.12, 0.13, 0.5, 0.99, 1, 7].map(loadStep)).toEqual([0, 0, 1, 2, 3, 4, 4]);
    expect(tileState(aWolf({ connectivity: "lost", intent: "cordoned" }))).toBe("lost");
    expect(tileState(aWolf({ intent: "cordoned" }))).toBe("held");
  });
});

describe("what an address keeps", () => {
  it("is plain strings both ways, bounded, whatever somebody has written there", () => {
    expect(parseSearch('?q=5&status=online&x={"a":1}')).toEqual({ q: "5", status: "online", x: '{"a":1}' });
    expect(stringifySearch({ q: "a b", none: undefined, empty: "", number: 5 })).toBe("?q=a+b");
    expect(stringifySearch({})).toBe("");
    expect(parseSearch(`?q=${"x".repeat(12_000)}&r=1`)).toEqual({ q: "x".repeat(12_000), r: "1" });
    expect(parseSearch(`?q=${"x".repeat(12_001)}&r=1`)).toEqual({ r: "1" });
    expect(Object.getPrototypeOf(parseSearch("?__proto__=x"))).toBe(Object.prototype);
  });

  it("leads nowhere else after the login", () => {
    expect(safeNext("/wolves/wlf_1?tab=events")).toBe("/wolves/wlf_1?tab=events");
    for (const next of [
      "https://evil.example",
      "//evil.example",
      "/\\evil.example",
      "javascript:alert(1)",
      "",
      undefined,
      "/login?next=/",
    ])
      expect(safeNext(next)).toBe("/");
  });
});

describe("what is offered for a wolf", () => {
  it("makes sense for its intent, and removal only where it is gone", () => {
    expect(offered(aWolf())).toEqual(["cordon", "drain", "retire", "maintain"]);
    expect(offered(aWolf({ intent: "draining" }))).toEqual(["cordon", "uncordon", "retire"]);
    expect(offered(aWolf({ intent: "retired", connectivity: "lost" }))).toEqual(["uncordon", "remove"]);
  });
});

describe("the lines of disks", () => {
  it("have one value for each time and a gap where a mount has none", () => {
    const sample = (at: string, mount: string, used: number) => ({
      id: "dsk_01KB00000000000000000000DS",
      at,
      mount,
      total_bytes: 100,
      used_bytes: used,
      available_bytes: 100 - used,
      level: "ok" as const,
    });
    const [early, late] = ["2026-11-26T12:00:00.000Z", "2026-11-26T12:05:00.000Z"];
    const { times, series } = linesOf(
      [sample(late, "/", 60), sample(early, "/", 50), sample(late, "/data", 0)],
      [],
    );
    expect(times).toEqual([Date.parse(early), Date.parse(late)]);
    expect(series).toEqual([
      { label: "/", values: [50, 60] },
      { label: "/data", values: [null, 0] },
    ]);
  });
});
