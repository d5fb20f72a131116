import { describe, expect, it } from "@jest/globals";
import { type PlacementConstraint, PlacementExplanation, type PlacementFilter } from "@wolfpack/api-contract";
import { aCandidate, aFleet, aWish, someSettings, weigh } from "../../test/a-candidate.ts";
import type { Candidate } from "./candidate.ts";
import { type Decision, type PlacementContext, place } from "./placement.ts";
import type { Wish } from "./wish.ts";

const NOW_MS = 1_000_000;

function decide(
  wolves: readonly Candidate[],
  wish: Partial<Wish> = {},
  context: Partial<PlacementContext> = {},
): Decision {
  const random = () => {
    throw new Error("there is nothing to draw");
  };
  return place(aWish(wish), aFleet(wolves), { nowMs: NOW_MS, random, settings: someSettings, ...context });
}
function ranked(...asked: Parameters<typeof decide>): string[] {
  const decision = decide(...asked);
  return decision.outcome === "placed" ? decision.ranked.map(({ id }) => id) : [];
}
const removedBy = (wolf: Candidate, wish: Partial<Wish> = {}) =>
  decide([wolf], wish).explanation.removed.map(({ filter }) => filter);
const textOf = (...asked: Parameters<typeof decide>) => decide(...asked).explanation.text;
const impossible = (...asked: Parameters<typeof decide>) => {
  const decision = decide(...asked);
  if (decision.outcome !== "impossible") throw new Error(`${decision.outcome}: ${decision.explanation.text}`);
  return decision;
};
const used = (max: number, claimed: number, other = 0) => ({ max, claimed, other });
const on = (
  attribute: string,
  op: PlacementConstraint["op"],
  ...values: string[]
): { constraints: PlacementConstraint[] } => ({ constraints: [{ attribute, op, values }] });

describe("the filters of placement", () => {
  const rtx = { gpuModel: "NVIDIA GeForce RTX 4090" };
  const zone = { labels: { zone: "a" } };
  const removed: [PlacementFilter, string, Partial<Candidate>, Partial<Wish>][] = [
    ["intent", "pending", { intent: "pending" }, {}],
    ["intent", "cordoned", { intent: "cordoned" }, {}],
    ["intent", "draining", { intent: "draining" }, {}],
    ["intent", "in maintenance", { intent: "maintenance" }, {}],
    ["intent", "retired", { intent: "retired" }, {}],
    ["connectivity", "suspect, even with a tunnel", { connectivity: "suspect" }, {}],
    ["connectivity", "lost", { connectivity: "lost" }, {}],
    ["health", "failed", { health: "failed" }, {}],
    ["health", "degraded, if the wish says so", { health: "degraded" }, { allowDegraded: false }],
    ["quarantine", "quarantined for 1 ms more", { quarantinedUntilMs: NOW_MS + 1 }, {}],
    ["tunnel", "connected elsewhere", { tunnel: false }, {}],
    ["capabilities", "too old", { missing: ["GET /api/v1/lobbies"] }, {}],
    ["reconciled", "not compared yet", { reconciled: false }, {}],
    ["gpu_type", "of another type", {}, { gpuType: "amd" }],
    ["gpu_type", "with a GPU, where none is wished for", {}, { gpuType: "none" }],
    ["gpu_model", "of another model", rtx, { gpuModel: "RTX 3090" }],
    ["gpu_model", "of a model that nobody knows", {}, { gpuModel: "RTX" }],
    ["labels", "without the label", {}, { labels: { zone: "a" } }],
    ["labels", "with another value", zone, { labels: { zone: "b" } }],
    ["labels", "with a value in other capitals", zone, { labels: { zone: "A" } }],
    ["labels", "not among the values", zone, on("zone", "in", "b", "c")],
    ["labels", "without a label that is to be among some", {}, on("zone", "in", "a")],
    ["labels", "among the values it must not have", zone, on("zone", "not-in", "b", "a")],
    ["labels", "without a label that must be there", {}, on("zone", "exists")],
    ["labels", "with a label that must not be there", zone, on("zone", "absent")],
    ["labels", "another than the one named by id", {}, on("wolf:id", "in", "wlf_2")],
    ["labels", "the one that is not wanted by name", { name: "grey" }, on("wolf:name", "not-in", "grey")],
    ["labels", "in no region, where one has to be", {}, on("wolf:region", "exists")],
    ["region", "in another region", { region: "us" }, { region: "eu", regionRequired: true }],
    ["region", "in no region", {}, { region: "eu", regionRequired: true }],
    ["avoided", "where it failed before", {}, { avoid: ["wlf_0", "wlf_1"] }],
    ["capacity", "full", { slots: used(12, 12) }, {}],
    ["capacity", "over-full", { slots: used(12, 14) }, {}],
    ["capacity", "full of other lobbies", { slots: used(4, 1, 3) }, {}],
    ["vram", "with video memory that nobody knows", {}, { vramMb: 1 }],
    ["vram", "1 MiB short", { vramMb: used(8, 3, 2) }, { vramMb: 4 }],
    ["encoder_sessions", "with all encoders busy", { encoderSessions: used(3, 2, 1) }, {}],
    ["encoder_sessions", "1 encoder short", { encoderSessions: used(3, 0, 1) }, { encoderSessions: 3 }],
  ];
  it.each(removed)("%s removes a wolf that is %s", (filter, _what, wolf, wish) => {
    expect(removedBy(aCandidate(wolf), wish)).toEqual([filter]);
  });

  const kept: [string, Partial<Candidate>, Partial<Wish>][] = [
    ["degraded, if nothing else fits", { health: "degraded" }, {}],
    ["of a quarantine that ends now", { quarantinedUntilMs: NOW_MS }, {}],
    ["of the type `none`, which is a type like others", { gpuType: "none" }, { gpuType: "none" }],
    ["of the model in other capitals", rtx, { gpuModel: "geforce rtx 40" }],
    ["in another region, if it is only wished for", { region: "us" }, { region: "eu" }],
    ["without a label that must not have a value", {}, on("zone", "not-in", "a")],
    ["named", { name: "grey" }, on("wolf:name", "in", "blue", "grey")],
    ["in a region that is among some", { region: "eu" }, on("wolf:region", "in", "eu")],
    ["with its last slot free", { slots: used(12, 10, 1) }, {}],
    ["with just enough video memory", { vramMb: used(8, 3, 2) }, { vramMb: 3 }],
    ["short of video memory that is not asked for", { vramMb: used(8, 9) }, {}],
    ["with just enough encoders", { encoderSessions: used(3, 1) }, { encoderSessions: 2 }],
    ["without limit of encoders", { encoderSessions: { max: null, claimed: 99, other: 0 } }, {}],
    ["short of encoders that are not asked for", { encoderSessions: used(1, 2) }, { encoderSessions: 0 }],
    ["avoided under another id", {}, { avoid: ["wlf_2"] }],
  ];
  it.each(kept)("keep a wolf that is %s", (_what, wolf, wish) => {
    expect(removedBy(aCandidate(wolf), wish)).toEqual([]);
  });

  it("count each wolf once, at the first that removes it, in their order", () => {
    const wrong: Partial<Candidate>[] = [
      { intent: "draining" },
      { connectivity: "lost" },
      { health: "failed" },
      { quarantinedUntilMs: NOW_MS + 1 },
      { tunnel: false },
      { missing: ["GET /x"] },
      { reconciled: false },
      { gpuType: "amd" },
      { gpuModel: "other" },
      { labels: {} },
      { region: "us" },
      { name: "avoided" },
      { slots: used(1, 1) },
      { vramMb: used(1, 1) },
      { encoderSessions: used(1, 1) },
    ];
    const right = { gpuModel: "this", labels: { zone: "a" }, region: "eu", vramMb: used(9, 0) };
    // The first is wrong in every way, the last in one.
    const wolves = wrong.map((_, at) =>
      aCandidate({ ...right, ...Object.assign({}, ...wrong.slice(at)), id: String.fromCharCode(97 + at) }),
    );
    const { explanation } = decide(wolves, {
      gpuType: "nvidia",
      gpuModel: "this",
      labels: { zone: "a" },
      region: "eu",
      regionRequired: true,
      vramMb: 2,
      avoid: [...wolves.slice(0, 12).map(({ id }) => id), "l"],
    });
    expect(explanation.removed).toEqual(PlacementExplanation.shape.removed.parse(explanation.removed));
    expect(explanation.removed.map(({ count }) => count)).toEqual(Array(15).fill(1));
    expect(explanation.removed.map(({ filter }) => filter)).toEqual([
      ...new Set(removed.map(([name]) => name)),
    ]);
    expect(explanation.text).toBe(
      "None of 15 wolves fits for GPU nvidia: 1 not taking sessions, 1 not connected, 1 failing, 1 in quarantine, 1 without a tunnel here, 1 whose Wolf is too old (it lacks GET /x), 1 not yet compared with what should run there, 1 with another GPU, 1 with another model of GPU, 1 with other labels, 1 in another region, 1 where it failed before, 1 full, 1 without enough free video memory, 1 without a free encoder.",
    );
  });
});

describe("the policies of placement", () => {
  const loaded = (id: string, claimed: number, max: number, more: Partial<Candidate> = {}) =>
    aCandidate({ id, slots: used(max, claimed), ...more });

  it("least-loaded prefers the lowest share of used slots, not the lowest number", () => {
    expect(ranked([loaded("small", 2, 4), loaded("large", 4, 12)])).toEqual(["large", "small"]);
  });

  it("least-loaded breaks equal shares by fewer sessions, then by id", () => {
    expect(ranked([loaded("c", 2, 8), loaded("b", 1, 4), loaded("a", 2, 8)])).toEqual(["b", "a", "c"]);
  });

  it("bin-pack prefers the highest share that leaves room", () => {
    const wolves = [loaded("a", 1, 4), loaded("b", 3, 4), loaded("full", 4, 4), loaded("c", 0, 4)];
    expect(ranked(wolves, { policy: "bin-pack" })).toEqual(["b", "a", "c"]);
    expect(textOf(wolves, { policy: "bin-pack" })).toBe(
      "b has the highest load that leaves room (3 of 4) of the 3 of 4 wolves that fit; left out: 1 full.",
    );
  });

  it("cost prefers the cheapest, then the least loaded, and one of unknown cost last", () => {
    const wolves = [
      loaded("unknown", 0, 4),
      loaded("dear", 0, 4, { costPerHour: 2 }),
      loaded("cheap-busy", 2, 4, { costPerHour: 0.5 }),
      loaded("cheap", 1, 4, { costPerHour: 0.5 }),
    ];
    expect(ranked(wolves, { policy: "cost" })).toEqual(["cheap", "cheap-busy", "dear", "unknown"]);
    const { explanation } = decide(wolves, { policy: "cost" });
    expect(explanation.text).toBe("cheap has the lowest cost (0.5 per hour) of 4 wolves.");
    expect(explanation.ranked.map(({ score }) => score)).toEqual([0.75, 0.75, 0, 0]);
    expect(textOf(wolves.slice(0, 1), { policy: "cost" })).toBe(
      "unknown has the lowest load (0 of 4), with no cost known, of 1 wolf.",
    );
  });

  it("random-of-best draws among the best few and ranks the others behind in their order", () => {
    const wolves = ["a", "b", "c", "d"].map((id, at) => loaded(id, at, 12));
    const drawn = (chance: number) =>
      ranked(wolves, { policy: "random-of-best" }, { random: () => chance }).join("");
    expect([0, 0.34, 0.67, 0.999].map(drawn)).toEqual(["abcd", "bacd", "cabd", "cabd"]);
    expect(textOf(wolves, { policy: "random-of-best" }, { random: () => 0.5 })).toBe(
      "b (1 of 12) was drawn from the 3 with the lowest load of 4 wolves.",
    );
  });

  it("random-of-best never draws a degraded wolf or another region while a better one fits", () => {
    const wolves = [
      loaded("a", 0, 4, { health: "degraded", region: "eu" }),
      loaded("b", 0, 4, { region: "us" }),
      loaded("c", 3, 4, { region: "eu" }),
    ];
    expect(ranked(wolves, { policy: "random-of-best", region: "eu" })).toEqual(["c", "b", "a"]);
  });

  it.each([1, Number.NaN, -1, 2, 1e9])(
    "random-of-best keeps to what there is if chance says %d",
    (chance) => {
      const wolves = [loaded("a", 0, 4), loaded("b", 1, 4)];
      const settings = { ...someSettings, randomBest: 1e9 };
      const ids = ranked(wolves, { policy: "random-of-best" }, { random: () => chance, settings });
      expect(ids.toSorted()).toEqual(["a", "b"]);
    },
  );

  it("weighted adds up the weighted parts and shows each", () => {
    const wolf = loaded("a", 1, 4, { costPerHour: 1, region: "eu", images: ["xfce"], rttMs: 50 });
    const dear = loaded("b", 4, 4, { costPerHour: 90 });
    const other = loaded("c", 0, 4, { costPerHour: 4, region: "us", images: ["steam"] });
    const weights = weigh({ load: 1, cost: 2, region: 3, image: 4, rtt: 5 });
    const { explanation } = decide([wolf, dear, other], { policy: "weighted", weights, region: "eu" });
    expect(explanation.ranked).toEqual([
      {
        wolf_instance_id: "a",
        tier: "as-wished",
        load: 0.25,
        score: 0.75 + 2 * 0.75 + 3 + 4 + 5 * 0.5,
        parts: { load: 0.75, cost: 0.75, region: 1, image: 1, rtt: 0.5 },
      },
      {
        wolf_instance_id: "c",
        tier: "as-wished",
        load: 0,
        score: 1,
        parts: { load: 1, cost: 0, region: 0, image: 0, rtt: 0 },
      },
    ]);
    expect(explanation.text).toBe(
      "a has the highest score (11.75) of the 2 of 3 wolves that fit; left out: 1 full.",
    );
  });

  it("weighted takes the default weights where the wish has none, and lets a region weigh no more than it should", () => {
    const wolves = [loaded("a", 3, 4, { region: "eu" }), loaded("b", 0, 4, { region: "us" })];
    const settings = { ...someSettings, weights: weigh({ load: 1, region: 0.5 }) };
    expect(ranked(wolves, { policy: "weighted", region: "eu" }, { settings })).toEqual(["b", "a"]);
    const weights = weigh({ load: 1, region: 1 });
    expect(ranked(wolves, { policy: "weighted", region: "eu", weights }, { settings })).toEqual(["a", "b"]);
  });

  const policies = ["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"] as const;
  it.each(policies)("%s takes a degraded wolf only after every healthy one that fits", (policy) => {
    const perfect = { costPerHour: 0, region: "eu", images: ["xfce"], rttMs: 0 };
    const wolves = [
      loaded("a", 0, 12, { ...perfect, health: "degraded" }),
      loaded("b", 11, 12, { ...perfect, health: "degraded" }),
      loaded("c", 6, 12),
    ];
    expect(ranked(wolves, { policy, region: "eu" })[0]).toBe("c");
    expect(textOf(wolves.slice(0, 1), { policy })).toMatch(/of 1 wolf and no healthier one fits\.$/);
  });

  it.each(["least-loaded", "bin-pack", "cost"] as const)(
    "%s takes a region that is wished for before load, and says when it had to take another",
    (policy) => {
      const wolves = [
        loaded("a", 6, 12, { region: "us" }),
        loaded("b", policy === "bin-pack" ? 0 : 11, 12, { region: "eu", costPerHour: 9 }),
      ];
      expect(ranked(wolves, { policy, region: "eu" })).toEqual(["b", "a"]);
      expect(textOf(wolves, { policy, region: "ap" })).toContain(" and none in region ap fits");
    },
  );

  it.each(["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"] as const)(
    "%s says of how many wolves it is the best as its counts do",
    (policy) => {
      const wolves = [
        ...["a", "b", "c", "d"].map((id, at) => loaded(id, at, 12, { costPerHour: at })),
        loaded("full", 12, 12),
        loaded("other", 0, 12, { gpuType: "amd" }),
      ];
      const { explanation } = decide(wolves, { policy, gpuType: "nvidia" }, { random: () => 0.5 });
      const left = explanation.removed.reduce((sum, { count }) => sum - count, explanation.candidates);
      expect([left, explanation.candidates]).toEqual([4, 6]);
      expect(explanation.text).toContain("of the 4 of 6 wolves that fit for GPU nvidia; left out: ");
    },
  );

  it("says why the best is the best, in the words for an ordinary day", () => {
    const busy = [loaded("a", 2, 12), loaded("b", 3, 12), loaded("amd", 0, 12, { gpuType: "amd" })];
    expect(textOf(busy, { gpuType: "nvidia" })).toBe(
      "a has the lowest load (2 of 12) of the 2 of 3 wolves that fit for GPU nvidia; left out: 1 with another GPU.",
    );
    expect(textOf([loaded("idle", 0, 12), loaded("full", 12, 12)], { gpuType: "nvidia" })).toBe(
      "idle (0 of 12) is the only one of 2 wolves that fits for GPU nvidia; left out: 1 full.",
    );
  });

  it("claims the lowest load among those of its tier only, and names who was passed over", () => {
    const wolves = [
      loaded("idle-degraded", 0, 4, { health: "degraded", region: "eu" }),
      loaded("idle-far", 0, 4, { region: "us" }),
      loaded("idle-both", 0, 4, { health: "degraded", region: "us" }),
      loaded("a", 1, 4, { region: "eu" }),
      loaded("b", 2, 4, { region: "eu" }),
      loaded("full", 4, 4, { region: "eu" }),
    ];
    expect(textOf(wolves)).toBe(
      "idle-far has the lowest load (0 of 4) of the 3 healthy ones among the 5 of 6 wolves that fit; passed over: 2 degraded; left out: 1 full.",
    );
    const { explanation } = decide(wolves, { region: "eu", gpuType: "nvidia" });
    expect(explanation.text).toBe(
      "a has the lowest load (1 of 4) of the 2 healthy ones in region eu among the 5 of 6 wolves that fit for GPU nvidia; passed over: 1 in another region, 1 degraded, 1 degraded and in another region; left out: 1 full.",
    );
    expect(explanation.ranked.map(({ wolf_instance_id: id, tier }) => [id, tier])).toEqual([
      ["a", "as-wished"],
      ["b", "as-wished"],
      ["idle-far", "other-region"],
      ["idle-degraded", "degraded"],
      ["idle-both", "degraded-other-region"],
    ]);
    expect(textOf(wolves.slice(0, 4), { region: "eu" })).toBe(
      "a (1 of 4) is the only healthy one in region eu among 4 wolves; passed over: 1 in another region, 1 degraded, 1 degraded and in another region.",
    );
  });

  it("does not say that none in the region fits where a degraded one there does", () => {
    const wolves = [
      loaded("near", 0, 4, { health: "degraded", region: "eu" }),
      loaded("far", 1, 4, { region: "us" }),
      loaded("farther", 2, 4, { region: "us" }),
    ];
    expect(textOf(wolves, { region: "eu" })).toBe(
      "far has the lowest load (1 of 4) of the 2 healthy ones among 3 wolves and no healthy one in region eu fits; passed over: 1 degraded.",
    );
  });

  it("knows no tier of regions where a region is a weight", () => {
    const wolves = [loaded("near", 3, 4, { region: "eu" }), loaded("far", 0, 4, { region: "us" })];
    const { explanation } = decide(wolves, { policy: "weighted", region: "eu" });
    expect(explanation.ranked.map(({ tier }) => tier)).toEqual(["as-wished", "as-wished"]);
    expect(explanation.text).toBe("far has the highest score (1) of 2 wolves.");
  });

  it("hands out the best eight and shows the best five", () => {
    const wolves = Array.from({ length: 12 }, (_, at) => loaded(`w${String(at).padStart(2, "0")}`, at, 12));
    expect(ranked(wolves.toReversed())).toEqual(wolves.slice(0, 8).map(({ id }) => id));
    const { explanation } = decide(wolves);
    expect(explanation.ranked).toHaveLength(5);
    expect(explanation.ranked[1]).toEqual({
      wolf_instance_id: "w01",
      tier: "as-wished",
      load: 1 / 12,
      score: 0.9167,
      parts: { load: 0.9167 },
    });
  });
});

describe("placement among hostile hosts and users", () => {
  it.each(["constructor", "toString", "__proto__", "hasOwnProperty"])(
    "takes the label %s only from those who have it",
    (name) => {
      const labelled = aCandidate({ id: "a", labels: JSON.parse(`{"${name}":"x"}`) });
      const wish = aWish({ labels: JSON.parse(`{"${name}":"x"}`) });
      const context = { nowMs: NOW_MS, random: Math.random, settings: someSettings };
      expect(place(wish, aFleet([aCandidate()]), context).outcome).toBe("impossible");
      expect(place(wish, aFleet([aCandidate(), labelled]), context)).toMatchObject({ ranked: [{ id: "a" }] });
      expect(ranked([aCandidate(), labelled], on(name, "absent"))).toEqual(["wlf_1"]);
      const { allowed } = impossible([labelled], on(name, "in", "y"));
      expect(allowed).toEqual({ [`labels.${name}`]: ["x"] });
    },
  );

  it.each(["wolf:id", "wolf:name", "wolf:region"])(
    "does not believe a label that calls itself %s",
    (name) => {
      const liar = aCandidate({ labels: { [name]: "other" } });
      expect(decide([liar], on(name, "in", "other")).outcome).toBe("impossible");
    },
  );

  it("does not mix up labels whose names and values run together", () => {
    const wolves = [
      aCandidate({ id: "a", labels: { a: 'b","c":"d' } }),
      aCandidate({ id: "b", labels: { a: "b", c: "d" } }),
    ];
    expect(ranked(wolves, { labels: { c: "d" } })).toEqual(["b"]);
  });

  const absurd = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -1,
    0,
    0.5,
    1e308,
    -1e308,
    2 ** 31,
  ];
  it.each(absurd)("decides without an error, in the contract's shape, where a number is %d", (value) => {
    const resource = (which: "max" | "claimed" | "other") => ({ ...used(4, 1), [which]: value });
    const wolves = (["max", "claimed", "other"] as const).flatMap((which) => [
      aCandidate({ id: `slots-${which}`, slots: resource(which), vramMb: used(9, 0) }),
      aCandidate({ id: `vram-${which}`, vramMb: resource(which) }),
      aCandidate({ id: `encoders-${which}`, encoderSessions: resource(which), vramMb: used(9, 0) }),
    ]);
    wolves.push(aCandidate({ id: "others", costPerHour: value, rttMs: value, quarantinedUntilMs: value }));
    for (const policy of ["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"] as const)
      for (const wish of [{}, { vramMb: 2 }, { vramMb: value, encoderSessions: value }, { vramMb: 1e6 }]) {
        const asked = { ...wish, policy, weights: weigh({ load: 1, packing: 1, cost: 1, rtt: 1 }) };
        const { explanation } = decide(wolves, asked, { random: () => value });
        expect(PlacementExplanation.safeParse(explanation).error).toBeUndefined();
        for (const wolf of wolves) decide([wolf], asked, { random: () => value });
      }
  });

  it("gives nothing to a wolf whose numbers are not numbers", () => {
    expect(removedBy(aCandidate({ slots: used(Number.NaN, 0) }))).toEqual(["capacity"]);
    expect(removedBy(aCandidate({ slots: used(4, Number.NaN) }))).toEqual(["capacity"]);
    expect(removedBy(aCandidate({ vramMb: used(4, Number.NaN) }), { vramMb: 1 })).toEqual(["vram"]);
    expect(removedBy(aCandidate({ encoderSessions: used(Number.NaN, 0) }))).toEqual(["encoder_sessions"]);
  });

  it("does not touch the wolves or the wish it is given", () => {
    const wolves = [aCandidate({ id: "b", slots: used(12, 5) }), aCandidate({ id: "a" })];
    const before = structuredClone(wolves);
    const fleet = aFleet(wolves.map((wolf) => Object.freeze(wolf)));
    place(Object.freeze(aWish()), fleet, { nowMs: NOW_MS, random: Math.random, settings: someSettings });
    expect(wolves).toEqual(before);
    expect([...fleet.ids()]).toEqual(["a", "b"]);
  });
});
