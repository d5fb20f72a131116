import { describe, expect, it } from "@jest/globals";
import type { PlacementConstraint } from "@wolfpack/api-contract";
import { aCandidate, aFleet, aWish, someSettings } from "../../test/a-candidate.ts";
import type { Candidate } from "./candidate.ts";
import { type Decision, place } from "./placement.ts";
import type { Wish } from "./wish.ts";

const NOW_MS = 1_000_000;

function decide(wolves: readonly Candidate[], wish: Partial<Wish> = {}): Decision {
  const random = () => {
    throw new Error("there is nothing to draw");
  };
  return place(aWish(wish), aFleet(wolves), { nowMs: NOW_MS, random, settings: someSettings });
}
const impossible = (...asked: Parameters<typeof decide>) => {
  const decision = decide(...asked);
  if (decision.outcome !== "impossible") throw new Error(`${decision.outcome}: ${decision.explanation.text}`);
  return decision;
};
const suggestions = (...asked: Parameters<typeof decide>) =>
  decide(...asked).explanation.counterfactuals.map(({ text }) => text);
const used = (max: number, claimed: number, other = 0) => ({ max, claimed, other });
const on = (
  attribute: string,
  op: PlacementConstraint["op"],
  ...values: string[]
): { constraints: PlacementConstraint[] } => ({ constraints: [{ attribute, op, values }] });

describe("placement when nothing fits", () => {
  it("says that there is no wolf, and never that it is impossible, while none is known or all are retired", () => {
    expect(decide([], { gpuType: "amd" })).toEqual({
      outcome: "not-now",
      explanation: {
        policy: "least-loaded",
        outcome: "not-now",
        candidates: 0,
        removed: [],
        ranked: [],
        counterfactuals: [],
        text: "There is no wolf in the fleet.",
      },
    });
    const retired = decide([aCandidate({ intent: "retired" })], { gpuType: "amd" });
    expect(retired).toMatchObject({
      outcome: "not-now",
      explanation: { text: "There is no wolf in the fleet." },
    });
  });

  const passing: [string, Partial<Candidate>, Partial<Wish>][] = [
    ["cordoned", { intent: "cordoned" }, {}],
    ["lost", { connectivity: "lost" }, {}],
    ["failed", { health: "failed" }, {}],
    ["degraded and not allowed", { health: "degraded" }, { allowDegraded: false }],
    ["quarantined", { quarantinedUntilMs: NOW_MS + 1 }, {}],
    ["without a tunnel", { tunnel: false }, {}],
    ["not reconciled", { reconciled: false }, {}],
    ["avoided", {}, { avoid: ["wlf_1"] }],
    ["full", { slots: used(1, 1) }, {}],
    ["short of free video memory", { vramMb: used(8, 8) }, { vramMb: 8 }],
    ["short of free encoders", { encoderSessions: used(1, 1) }, {}],
  ];
  it.each(passing)("waits for a wolf that is %s", (_what, wolf, wish) => {
    expect(decide([aCandidate(wolf)], wish).outcome).toBe("not-now");
  });

  it.each(["cordoned", "draining", "maintenance", "pending"] as const)(
    "calls a wish impossible by what a %s wolf is, but not by a retired one",
    (intent) => {
      const amd = aCandidate({ id: "amd", gpuType: "amd", intent });
      expect(decide([amd, aCandidate()], { gpuType: "amd" }).outcome).toBe("not-now");
      const gone = { ...amd, intent: "retired" as const };
      expect(decide([gone, aCandidate()], { gpuType: "amd" }).outcome).toBe("impossible");
    },
  );

  it("names a GPU type that no wolf has, and those there are", () => {
    const { errors, allowed, explanation } = impossible(
      [aCandidate({ id: "a" }), aCandidate({ id: "b", gpuType: "none" })],
      { gpuType: "amd" },
    );
    expect(errors).toEqual([{ path: "gpu_type", message: "No wolf has the GPU type amd." }]);
    expect(allowed).toEqual({ gpu_type: ["none", "nvidia"] });
    expect(explanation.text).toBe("None of 2 wolves fits for GPU amd, nor ever could: 2 with another GPU.");
  });

  it("names the field at which nothing is left when two exclude all only together", () => {
    const { errors, allowed } = impossible(
      [
        aCandidate({ id: "a", gpuType: "nvidia", region: "us" }),
        aCandidate({ id: "b", gpuType: "amd", region: "eu" }),
      ],
      { gpuType: "nvidia", region: "eu", regionRequired: true },
    );
    expect(errors).toEqual([{ path: "region", message: "No wolf that fits gpu_type is in region eu." }]);
    expect(allowed).toEqual({ region: ["us"] });
  });

  it("names the model, and models there are", () => {
    const { errors, allowed } = impossible([aCandidate({ gpuModel: "RTX 3060" }), aCandidate({ id: "b" })], {
      gpuModel: "4090",
    });
    expect(errors).toEqual([{ path: "gpu_model", message: "No wolf has a GPU whose model contains 4090." }]);
    expect(allowed).toEqual({ gpu_model: ["RTX 3060"] });
  });

  it("names each label and constraint that excludes all alone, with the values there are", () => {
    const wolves = [
      aCandidate({ id: "a", labels: { zone: "a", tier: "gold" }, region: "eu" }),
      aCandidate({ id: "b", labels: { zone: "b", tier: "gold" } }),
    ];
    const { errors, allowed } = impossible(wolves, {
      labels: { zone: "c", tier: "gold" },
      constraints: [
        { attribute: "tier", op: "in", values: ["gold"] },
        { attribute: "wolf:region", op: "in", values: ["us", "ap"] },
        { attribute: "rack", op: "exists", values: [] },
        { attribute: "wolf:id", op: "in", values: ["c"] },
      ],
    });
    expect(errors).toEqual([
      { path: "labels", message: "No wolf has the label zone=c." },
      { path: "constraints.1", message: "No wolf has wolf:region among us, ap." },
      { path: "constraints.2", message: "No wolf has any rack." },
      { path: "constraints.3", message: "No wolf has wolf:id among c." },
    ]);
    expect(allowed).toEqual({ "labels.zone": ["a", "b"], region: ["eu"], "labels.rack": [] });
  });

  it("names labels and constraints together when only all of them exclude all", () => {
    const wolves = [aCandidate({ id: "a", labels: { zone: "a" } }), aCandidate({ id: "b" })];
    const { errors } = impossible(wolves, { labels: { zone: "a" }, ...on("wolf:id", "in", "b") });
    expect(errors).toEqual([
      {
        path: "labels",
        message: "No wolf has the label zone=a together with the other labels and constraints.",
      },
      {
        path: "constraints.0",
        message: "No wolf has wolf:id among b together with the other labels and constraints.",
      },
    ]);
  });

  it("names resources that no wolf has, and the most there is", () => {
    const wolves = [
      aCandidate({ id: "a", vramMb: used(8192, 8192), encoderSessions: used(3, 0) }),
      aCandidate({ id: "b", gpuType: "amd", vramMb: used(24_576, 0), encoderSessions: used(8, 0) }),
      aCandidate({ id: "c" }),
    ];
    expect(impossible(wolves, { gpuType: "nvidia", vramMb: 8193 })).toMatchObject({
      errors: [
        {
          path: "resources.vram_mb",
          message: "No wolf that fits gpu_type is known to have 8193 MiB of video memory.",
        },
      ],
      allowed: { "resources.vram_mb": ["8192"] },
    });
    expect(impossible(wolves, { vramMb: 1, encoderSessions: 9 })).toMatchObject({
      errors: [
        {
          path: "resources.encoder_sessions",
          message: "No wolf that fits resources.vram_mb can encode 9 streams at once.",
        },
      ],
      allowed: { "resources.encoder_sessions": ["8"] },
    });
    expect(decide(wolves, { encoderSessions: 64 }).outcome).toBe("placed");
  });

  it("is none of a Wolf that is too old: an operator will end that, and the text says what it lacks", () => {
    const { outcome, explanation } = decide([
      aCandidate({ id: "a", missing: ["GET /b", "GET /a"] }),
      aCandidate({ id: "b", missing: ["GET /c", "GET /a"] }),
    ]);
    expect(outcome).toBe("not-now");
    expect(explanation.text).toBe(
      "None of 2 wolves fits: 2 whose Wolf is too old (it lacks GET /a, GET /b, GET /c).",
    );
  });

  it("shows at most sixteen values of a field", () => {
    const wolves = Array.from({ length: 40 }, (_, at) =>
      aCandidate({ id: `w${at}`, labels: { rack: `r${at}` } }),
    );
    expect(impossible(wolves, { labels: { rack: "no" } }).allowed["labels.rack"]).toHaveLength(16);
  });
});

describe("what would have to be different", () => {
  it("is nothing where something fits", () => {
    expect(suggestions([aCandidate(), aCandidate({ id: "b", slots: used(1, 1) })])).toEqual([]);
  });

  it("says which single wish to give up, the smallest first, but not two at once", () => {
    const here = { gpuModel: "RTX 4090", labels: { zone: "a", tier: "gold" }, region: "eu" };
    const wolves = [
      aCandidate({ id: "a", ...here, gpuType: "amd" }),
      aCandidate({ id: "b", ...here, region: "us" }),
      aCandidate({ id: "c", ...here, health: "degraded" }),
      aCandidate({ id: "d", ...here, labels: { tier: "gold" } }),
      aCandidate({ id: "e", ...here, gpuModel: null }),
      aCandidate({ id: "f", ...here, gpuType: "intel", region: "ap" }),
    ];
    const wish: Partial<Wish> = {
      gpuType: "nvidia",
      gpuModel: "4090",
      labels: { zone: "a", tier: "gold" },
      region: "eu",
      regionRequired: true,
      allowDegraded: false,
    };
    expect(suggestions(wolves, wish)).toEqual([
      "It would fit on a degraded wolf, with allow_degraded.",
      "It would fit in region us.",
      "It would fit without gpu_model.",
      "It would fit on amd.",
      "It would fit without the label zone=a.",
    ]);
    const { explanation } = decide(wolves, wish);
    expect(explanation.counterfactuals.map(({ change, value }) => [change, value])).toEqual([
      ["degraded", null],
      ["region", "us"],
      ["gpu_model", null],
      ["gpu_type", "amd"],
      ["labels", null],
    ]);
  });

  it("names of one field the two values that open the most wolves", () => {
    const regions = ["ap", "us", "us", "sa", "sa", "sa"];
    const wolves = regions.map((region, at) => aCandidate({ id: `w${at}`, region }));
    expect(suggestions(wolves, { region: "eu", regionRequired: true })).toEqual([
      "It would fit in region sa.",
      "It would fit in region us.",
    ]);
  });

  it("names the constraints that are broken, fewest first", () => {
    const wolves = [aCandidate({ id: "a" }), aCandidate({ id: "b", labels: { zone: "a" } })];
    const constraints: PlacementConstraint[] = [
      { attribute: "zone", op: "exists", values: [] },
      { attribute: "wolf:id", op: "in", values: ["c"] },
    ];
    expect(suggestions(wolves, { constraints })).toEqual([
      "It would fit without the constraint wolf:id in.",
      "It would fit without the constraints zone exists, wolf:id in.",
    ]);
  });

  it("waits for the wolf that is nearest to free, of those that lack only a slot", () => {
    const wolves = [
      aCandidate({ id: "over", slots: used(4, 6) }),
      aCandidate({ id: "full", slots: used(4, 4) }),
      aCandidate({ id: "lost", slots: used(4, 4), connectivity: "lost" }),
      aCandidate({ id: "avoided", slots: used(4, 4) }),
    ];
    expect(suggestions(wolves, { avoid: ["avoided"] })).toEqual([
      "It would fit if 1 slot were free on full.",
      "It would fit if 3 slots were free on over.",
    ]);
    expect(decide(wolves).explanation.counterfactuals[0]).toMatchObject({
      change: "slots",
      value: null,
      wolf_instance_id: "avoided",
    });
  });

  it("says how far to lower a resource, and how much would have to be free", () => {
    const wolves = [
      aCandidate({ id: "a", vramMb: used(8192, 6144) }),
      aCandidate({ id: "b", vramMb: used(8192, 4096, 1024) }),
      aCandidate({ id: "c", vramMb: used(2048, 0) }),
    ];
    expect(suggestions(wolves, { vramMb: 4096 })).toEqual([
      "It would fit on b with 3072 MiB of video memory.",
      "It would fit if 1024 MiB of video memory were free on b.",
      "It would fit if 2048 MiB of video memory were free on a.",
    ]);
    expect(suggestions([aCandidate()], { vramMb: 4096 })).toEqual([
      "It would fit on wlf_1 without video memory kept for it.",
    ]);
    expect(suggestions([aCandidate({ encoderSessions: used(3, 2) })], { encoderSessions: 2 })).toEqual([
      "It would fit on wlf_1 with 1 encoder session.",
      "It would fit if 1 encoder session were free on wlf_1.",
    ]);
  });

  it("is at most five, in a fleet that is full", () => {
    const wolves = Array.from({ length: 30 }, (_, at) => aCandidate({ id: `w${at}`, slots: used(1, 1) }));
    expect(suggestions(wolves)).toEqual(
      ["w0", "w1", "w10", "w11", "w12"].map((id) => `It would fit if 1 slot were free on ${id}.`),
    );
  });
});
