import { describe, expect, it } from "@jest/globals";
import { type GpuType, PlacementExplanation } from "@wolfpack/api-contract";
import fc from "fast-check";
import { aWolf } from "../../test/a-wolf.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { place } from "./placement.ts";

const everywhere = () => true;
const any = { gpuType: undefined };

const ids = (wolves: readonly Wolf[]) => wolves.map(({ id }) => id);
const placed = (candidates: Wolf[], gpuType?: GpuType, hasTunnel: (id: string) => boolean = everywhere) => {
  const decision = place({ gpuType }, candidates, hasTunnel);
  if (decision.outcome !== "placed") throw new Error(decision.explanation.text);
  return decision;
};
const rejected = (
  candidates: Wolf[],
  gpuType?: GpuType,
  hasTunnel: (id: string) => boolean = everywhere,
): PlacementExplanation => {
  const decision = place({ gpuType }, candidates, hasTunnel);
  expect(decision.outcome).toBe("rejected");
  return decision.explanation;
};

describe("placement", () => {
  it("prefers the lowest share of used slots, not the lowest number", () => {
    const small = aWolf({ id: "small", connectedSandboxes: 2, maxSandboxes: 4 });
    const large = aWolf({ id: "large", connectedSandboxes: 4, maxSandboxes: 12 });
    expect(ids(placed([small, large]).ranked)).toEqual(["large", "small"]);
  });

  it("breaks equal shares by fewer sessions, then by id", () => {
    const wolves = [
      aWolf({ id: "c", connectedSandboxes: 2, maxSandboxes: 8 }),
      aWolf({ id: "b", connectedSandboxes: 1, maxSandboxes: 4 }),
      aWolf({ id: "a", connectedSandboxes: 2, maxSandboxes: 8 }),
    ];
    expect(ids(placed(wolves).ranked)).toEqual(["b", "a", "c"]);
  });

  it("takes a degraded wolf only after every healthy one that fits, however loaded those are", () => {
    const idle = aWolf({ id: "idle", name: "idle", health: "degraded" });
    const busy = aWolf({ id: "busy", name: "busy", connectedSandboxes: 11 });
    const full = aWolf({ id: "full", name: "full", connectedSandboxes: 12 });
    expect(ids(placed([idle, busy, full]).ranked)).toEqual(["busy", "idle"]);
    const { ranked, explanation } = placed([idle, full]);
    expect(ids(ranked)).toEqual(["idle"]);
    expect(explanation.text).toBe(
      "idle has the lowest load (0 of 12) of 2 wolves and no healthier one fits; left out: 1 full.",
    );
  });

  it("leaves out a Wolf without lobbies and names what it lacks, but not one whose capabilities are unknown", () => {
    const known = (missing: string[]) => ({ schema_hash: "a", features: [], missing });
    const old = aWolf({ id: "old", capabilities: known(["GET /api/v1/lobbies"]) });
    const older = aWolf({ id: "older", capabilities: known(["GET /api/v1/lobbies", "POST /x"]) });
    const { removed, text } = rejected([old, older]);
    expect(removed).toEqual([{ filter: "capabilities", count: 2 }]);
    expect(text).toBe(
      "None of 2 wolves fits: 2 whose Wolf is too old (it lacks GET /api/v1/lobbies, POST /x).",
    );
    expect(ids(placed([old, aWolf({ id: "unknown", capabilities: null })]).ranked)).toEqual(["unknown"]);
  });

  it("says that there is no wolf when there is none", () => {
    expect(rejected([])).toEqual({
      policy: "least-loaded",
      candidates: 0,
      removed: [],
      ranked: [],
      text: "There is no wolf in the fleet.",
    });
  });

  it("counts each wolf at the first filter that removes it, in order, and says so in one sentence", () => {
    const wrongInEveryWay: Partial<Wolf> = {
      intent: "draining",
      connectivity: "lost",
      health: "failed",
      gpuType: "amd",
      connectedSandboxes: 12,
    };
    const wolves = [
      aWolf({ id: "1", ...wrongInEveryWay }),
      aWolf({ id: "2", ...wrongInEveryWay, intent: "active" }),
      aWolf({ id: "3", ...wrongInEveryWay, intent: "active", connectivity: "connected" }),
      aWolf({ id: "no-tunnel", gpuType: "amd", connectedSandboxes: 12 }),
      aWolf({ id: "5", gpuType: "amd", connectedSandboxes: 12 }),
      aWolf({ id: "6", connectedSandboxes: 12 }),
      aWolf({ id: "7", connectedSandboxes: 12 }),
    ];
    const explanation = rejected(wolves, "nvidia", (id) => id !== "no-tunnel");
    expect(explanation.removed).toEqual([
      { filter: "intent", count: 1 },
      { filter: "connectivity", count: 1 },
      { filter: "health", count: 1 },
      { filter: "tunnel", count: 1 },
      { filter: "gpu_type", count: 1 },
      { filter: "capacity", count: 2 },
    ]);
    expect(explanation.text).toBe(
      "None of 7 wolves fits for GPU nvidia: 1 not taking sessions, 1 not connected, 1 failing, 1 without a tunnel here, 1 with another GPU, 2 full.",
    );
  });

  it.each(["pending", "cordoned", "draining", "retired"] as const)(
    "never uses a wolf that is %s",
    (intent) => {
      expect(rejected([aWolf({ intent })]).removed).toEqual([{ filter: "intent", count: 1 }]);
    },
  );

  it.each(["suspect", "lost"] as const)(
    "never uses a wolf that is %s, even with a tunnel",
    (connectivity) => {
      expect(rejected([aWolf({ connectivity })]).removed).toEqual([{ filter: "connectivity", count: 1 }]);
    },
  );

  it("never uses a wolf that counts as connected but has no tunnel here", () => {
    expect(rejected([aWolf()], undefined, () => false).removed).toEqual([{ filter: "tunnel", count: 1 }]);
  });

  it("asks for a GPU type only when told, and `none` is a type like the others", () => {
    const wolves = [aWolf({ id: "gpu" }), aWolf({ id: "cpu", gpuType: "none" })];
    expect(placed(wolves).ranked).toHaveLength(2);
    expect(ids(placed(wolves, "none").ranked)).toEqual(["cpu"]);
    expect(rejected(wolves, "intel").removed).toEqual([{ filter: "gpu_type", count: 2 }]);
  });

  it("fills the last slot and not one more, and leaves out a wolf that has more sessions than slots", () => {
    expect(placed([aWolf({ connectedSandboxes: 11 })]).outcome).toBe("placed");
    expect(rejected([aWolf({ connectedSandboxes: 12 })]).removed).toEqual([{ filter: "capacity", count: 1 }]);
    expect(rejected([aWolf({ connectedSandboxes: 13 })]).text).toBe("None of 1 wolf fits: 1 full.");
  });

  it("shows the best five and ranks all", () => {
    const wolves = Array.from({ length: 9 }, (_, i) => aWolf({ id: `w${i}`, connectedSandboxes: i }));
    const { ranked, explanation } = placed(wolves);
    expect(ids(ranked)).toEqual(ids(wolves));
    expect(explanation.ranked).toEqual(
      [0, 1, 2, 3, 4].map((i) => ({ wolf_instance_id: `w${i}`, load: i / 12 })),
    );
  });

  it("does not touch the candidates it is given", () => {
    const wolves = [aWolf({ id: "b", connectedSandboxes: 5 }), aWolf({ id: "a" })];
    placed(Object.freeze(wolves.map((wolf) => Object.freeze(wolf))) as Wolf[]);
    expect(ids(wolves)).toEqual(["b", "a"]);
  });
});

const gpuTypes = ["nvidia", "amd", "intel", "none"] as const;
const anyWolf = fc.record({
  connectivity: fc.constantFrom("connected", "connected", "connected", "suspect", "lost"),
  health: fc.constantFrom("ok", "ok", "degraded", "failed"),
  intent: fc.constantFrom("active", "active", "active", "pending", "cordoned", "draining", "retired"),
  gpuType: fc.constantFrom(...gpuTypes),
  maxSandboxes: fc.integer({ min: 1, max: 6 }),
  connectedSandboxes: fc.integer({ min: 0, max: 7 }),
  tunnel: fc.boolean(),
});
const fleet = fc
  .array(anyWolf, { maxLength: 12 })
  .map((wolves) =>
    wolves.map(({ tunnel, ...wolf }, i) => ({ tunnel, wolf: aWolf({ ...wolf, id: `w${i}` }) })),
  );
const request = fc.record({ gpuType: fc.constantFrom(undefined, ...gpuTypes) });

describe("placement of any fleet", () => {
  it("ranks exactly the wolves that pass every filter", () => {
    fc.assert(
      fc.property(fleet, request, (wolves, wish) => {
        const withTunnel = new Set(wolves.filter(({ tunnel }) => tunnel).map(({ wolf }) => wolf.id));
        const fits = (wolf: Wolf) =>
          wolf.intent === "active" &&
          wolf.connectivity === "connected" &&
          wolf.health !== "failed" &&
          withTunnel.has(wolf.id) &&
          (wish.gpuType === undefined || wolf.gpuType === wish.gpuType) &&
          wolf.connectedSandboxes < wolf.maxSandboxes;
        const candidates = wolves.map(({ wolf }) => wolf);
        const decision = place(wish, candidates, (id) => withTunnel.has(id));
        const ranked = decision.outcome === "placed" ? decision.ranked : [];
        expect(ids(ranked).sort()).toEqual(ids(candidates.filter(fits)).sort());
        expect(decision.outcome).toBe(ranked.length > 0 ? "placed" : "rejected");
      }),
    );
  });

  it("counts every candidate once, in an explanation of the contract's shape", () => {
    fc.assert(
      fc.property(fleet, request, (wolves, wish) => {
        const decision = place(
          wish,
          wolves.map(({ wolf }) => wolf),
          (id) => wolves[Number(id.slice(1))]?.tunnel === true,
        );
        const explanation = PlacementExplanation.parse(decision.explanation);
        const removed = explanation.removed.reduce((sum, { count }) => sum + count, 0);
        const ranked = decision.outcome === "placed" ? decision.ranked.length : 0;
        expect(removed + ranked).toBe(wolves.length);
        expect(explanation.candidates).toBe(wolves.length);
      }),
    );
  });

  it("is the same for the same wolves in any order", () => {
    const shuffled = fleet.chain((wolves) =>
      fc.tuple(
        fc.constant(wolves),
        fc.shuffledSubarray(wolves, { minLength: wolves.length, maxLength: wolves.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, request, ([wolves, others], wish) => {
        const [one, other] = [wolves, others].map((list) =>
          place(
            wish,
            list.map(({ wolf }) => wolf),
            everywhere,
          ),
        );
        expect(one).toEqual(other);
      }),
    );
  });

  it("never ranks a more loaded wolf of the same health before a less loaded one", () => {
    fc.assert(
      fc.property(fleet, (wolves) => {
        const decision = place(
          any,
          wolves.map(({ wolf }) => wolf),
          everywhere,
        );
        const ranked = decision.outcome === "placed" ? decision.ranked : [];
        for (const [i, wolf] of ranked.slice(1).entries()) {
          const before = ranked[i] as Wolf;
          if (before.health !== wolf.health) expect(before.health).toBe("ok");
          else
            expect(before.connectedSandboxes / before.maxSandboxes).toBeLessThanOrEqual(
              wolf.connectedSandboxes / wolf.maxSandboxes,
            );
        }
      }),
    );
  });
});
