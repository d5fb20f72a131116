import { describe, expect, it } from "@jest/globals";
import type { PlacementExplanation } from "@wolfpack/api-contract";
import { changesOf, filterRows, policyOf, scoreTable, scoreText, weightText } from "./placement-words.ts";

const anExplanation = (given: Partial<PlacementExplanation> = {}): PlacementExplanation => ({
  policy: "weighted",
  outcome: "placed",
  candidates: 10,
  removed: [],
  ranked: [],
  counterfactuals: [],
  text: "",
  ...given,
});

describe("the filters of a placement", () => {
  it("are rows that count down to those that fit", () => {
    const removed = [
      { filter: "gpu_type" as const, count: 6 },
      { filter: "capacity" as const, count: 3 },
    ];
    const rows = filterRows(anExplanation({ removed }));
    expect(rows.map(({ what, removed: out, left }) => [what, out, left])).toEqual([
      ["With another GPU", 6, 4],
      ["Full", 3, 1],
    ]);
  });

  it("are shown as they are where they do not add up", () => {
    const rows = filterRows(anExplanation({ candidates: 2, removed: [{ filter: "labels", count: 5 }] }));
    expect(rows.map(({ removed, left }) => [removed, left])).toEqual([[5, 0]]);
  });

  it("have the name of their code where they are not known here", () => {
    const removed = [{ filter: "moon_phase" as "labels", count: 1 }];
    expect(filterRows(anExplanation({ removed }))[0]?.what).toBe("Moon phase");
    expect(policyOf("by-feel")).toBe("by-feel");
  });
});

describe("the scores of a placement", () => {
  const ranked = [
    { wolf_instance_id: "wlf_a", load: 0.5, score: 2.5, parts: { load: 0.5, region: 1 } },
    { wolf_instance_id: "wlf_b", load: 0.1, score: 0.95, parts: { load: 0.9, rtt: 0.05 } },
  ];

  it("have a column for every part that any wolf has, with its weight, and mark the wolf that was taken", () => {
    const { columns, rows } = scoreTable(anExplanation({ ranked }), "wlf_b", { load: 1, region: 2 });
    expect(columns.map(({ header, weight }) => [header, weight])).toEqual([
      ["Room", 1],
      ["Region", 2],
      ["Nearness", undefined],
    ]);
    expect(rows.map(({ parts, isTaken }) => [parts, isTaken])).toEqual([
      [[0.5, 1, undefined], false],
      [[0.9, undefined, 0.05], true],
    ]);
  });

  it("say in words why a wolf with a better score stands lower", () => {
    const [a, b] = ranked;
    if (a === undefined || b === undefined) throw new Error("there are two");
    const tiers = ["as-wished", "other-region", "degraded", "degraded-other-region"] as const;
    const rows = tiers.map((tier) => ({ ...a, tier }));
    const table = scoreTable(anExplanation({ ranked: rows }), null);
    expect([table.hasTiers, table.rows.map(({ tier }) => tier)]).toEqual([
      true,
      ["As wished", "In another region", "Degraded", "Degraded, in another region"],
    ]);
    const later = [{ ...a, tier: "on_the_moon" as "degraded" }, b];
    expect(scoreTable(anExplanation({ ranked: later }), null).rows.map(({ tier }) => tier)).toEqual([
      "On the moon",
      "–",
    ]);
  });

  it("say nothing of tiers where all wolves are as wished, nor where an old explanation does not say it", () => {
    const wished = ranked.map((one) => ({ ...one, tier: "as-wished" as const }));
    for (const some of [ranked, wished, []])
      expect(scoreTable(anExplanation({ ranked: some }), null).hasTiers).toBe(false);
  });

  it("have no weights where the policy is not made of them", () => {
    const { columns } = scoreTable(anExplanation({ ranked, policy: "cost" }), null, { load: 1 });
    expect(columns.map(({ weight }) => weight)).toEqual([undefined, undefined, undefined]);
  });

  it("stay narrow, whatever a host of parts is sent", () => {
    const parts = Object.fromEntries(Array.from({ length: 50 }, (_unused, index) => [`part${index}`, 1]));
    const many = [{ wolf_instance_id: "wlf_a", load: 0, score: 1, parts }];
    expect(scoreTable(anExplanation({ ranked: many }), null).columns).toHaveLength(8);
  });

  it("are written with two digits, and as a dash where they are no numbers", () => {
    expect([3.4846, 1, 0.5, 0].map(scoreText)).toEqual(["3.48", "1.00", "0.50", "0.00"]);
    expect([Number.NaN, undefined, Number.POSITIVE_INFINITY].map(scoreText)).toEqual(["–", "–", "–"]);
    expect([2, 0.5, 10, Number.NaN].map(weightText)).toEqual(["2", "0.5", "10", "–"]);
  });
});

describe("what would have to change", () => {
  const a = { change: "slots" as const, value: "1", wolf_instance_id: "wlf_a" };

  it("leaves room for the wolf's name where its id stands", () => {
    const [change] = changesOf([{ ...a, text: "It would fit if 1 slot were free on wlf_a." }]);
    expect(change).toEqual({
      what: "A free slot",
      before: "It would fit if 1 slot were free on ",
      wolf: "wlf_a",
      after: ".",
    });
  });

  it("is its text alone where that names no wolf, with what deceives the eye made visible", () => {
    const text = "It would fit on \u202eamd.";
    expect(changesOf([{ ...a, wolf_instance_id: null, text }])).toEqual([
      { what: "A free slot", before: "It would fit on \\u202eamd.", wolf: null, after: "" },
    ]);
    expect(changesOf([{ ...a, wolf_instance_id: "", text: "x" }])[0]?.before).toBe("x");
  });
});
