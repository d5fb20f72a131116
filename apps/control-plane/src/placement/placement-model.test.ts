/** Placement against its model: any fleet, however it came about, any wish, every policy. */
import { describe, expect, it } from "@jest/globals";
import { type PlacementConstraint, PlacementExplanation, PlacementTier } from "@wolfpack/api-contract";
import fc from "fast-check";
import { aCandidate, aFleet, aWish, weigh } from "../../test/a-candidate.ts";
import { untrue } from "../../test/placement-claims.ts";
import { expectedPlacement } from "../../test/placement-model.ts";
import type { Candidate } from "./candidate.ts";
import { Fleet } from "./fleet.ts";
import { place } from "./placement.ts";
import { RANKED } from "./rank.ts";
import type { Wish } from "./wish.ts";

const NOW_MS = 1_000_000;
const one = fc.constantFrom;
const ids = Array.from({ length: 24 }, (_, index) => `w${index}`);
const names = ["zone", "tier", "constructor", "__proto__"];
const values = ["a", "b", "c"];
const models = ["NVIDIA GeForce RTX 4090", "AMD Radeon Pro", "rtx a6000"];
const regions = ["eu", "us", "ap"];
/** Own properties whatever their names are. */
const labels = fc.dictionary(one(...names), one(...values), { maxKeys: 3 });
const often = <Value>(usual: Value, ...others: Value[]) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: one(usual, ...others) });
const nullable = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: null });
const resource = (max: fc.Arbitrary<number | null>, used: number) =>
  fc.record({ max, claimed: fc.integer({ min: 0, max: used }), other: fc.integer({ min: 0, max: 2 }) });

const candidate: fc.Arbitrary<Candidate> = fc
  .record({
    id: one(...ids),
    intent: often<Candidate["intent"]>("active", "cordoned", "draining", "retired"),
    connectivity: often<Candidate["connectivity"]>("connected", "suspect", "lost"),
    health: often<Candidate["health"]>("ok", "degraded", "failed"),
    quarantinedUntilMs: often<number | null>(null, NOW_MS, NOW_MS + 1),
    tunnel: often(true, false),
    reconciled: often(true, false),
    missing: often<string[]>([], ["GET /x"]),
    gpuType: one("nvidia", "amd", "none"),
    gpuModel: nullable(one(...models)),
    labels,
    region: nullable(one(...regions)),
    costPerHour: nullable(one(0, 0.5, 1, 2)),
    images: nullable(fc.subarray(["xfce", "steam"])),
    rttMs: nullable(one(0, 10, 50)),
    slots: resource(fc.integer({ min: 1, max: 6 }), 6) as fc.Arbitrary<Candidate["slots"]>,
    vramMb: resource(nullable(fc.integer({ min: 1, max: 8 })), 4),
    encoderSessions: resource(nullable(fc.integer({ min: 1, max: 8 })), 4),
  })
  .map((fields) => aCandidate({ ...fields, name: `name-${fields.id}` }));

const constraint: fc.Arbitrary<PlacementConstraint> = fc.oneof(
  fc.record({
    attribute: one(...names, "wolf:region"),
    op: one("in", "not-in"),
    values: fc.subarray([...values, ...regions], { minLength: 1 }),
  }),
  fc.record({
    attribute: one(...names, "wolf:region"),
    op: one("exists", "absent"),
    values: fc.constant<string[]>([]),
  }),
  fc.record({
    attribute: one("wolf:id", "wolf:name"),
    op: one("in", "not-in"),
    values: fc.subarray(
      ids.flatMap((id) => [id, `name-${id}`]),
      { minLength: 1 },
    ),
  }),
);
const seldom = <Value>(none: Value, some: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(none) }, { weight: 1, arbitrary: some });
const weights = fc
  .record(Object.fromEntries(Object.keys(weigh({})).map((name) => [name, one(0, 0.5, 1)])))
  .map((some) => weigh(some));

const wish: fc.Arbitrary<Wish> = fc
  .record({
    gpuType: seldom<Wish["gpuType"]>(null, one("nvidia", "amd", "intel")),
    gpuModel: seldom<string | null>(null, one("RTX", "radeon", "a")),
    labels: seldom({}, labels),
    constraints: seldom<PlacementConstraint[]>([], fc.array(constraint, { maxLength: 2 })),
    region: nullable(one(...regions)),
    regionRequired: seldom(false, fc.constant(true)),
    vramMb: seldom(0, fc.integer({ min: 0, max: 9 })),
    encoderSessions: seldom(1, fc.integer({ min: 0, max: 9 })),
    policy: one("least-loaded", "bin-pack", "random-of-best", "cost", "weighted"),
    weights: nullable(weights),
    allowDegraded: fc.boolean(),
    avoid: seldom<string[]>([], fc.subarray(ids)),
  })
  .map((fields) => aWish({ ...fields, regionRequired: fields.regionRequired && fields.region !== null }));

const step = fc.oneof(
  { weight: 6, arbitrary: candidate.map((put) => ({ put })) },
  { weight: 1, arbitrary: one(...ids).map((remove) => ({ remove })) },
  {
    weight: 2,
    arbitrary: fc.tuple(one(...ids), wish).map(([id, { ...claims }]) => ({ reserve: id, claims })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(one(...ids), wish).map(([id, { ...claims }]) => ({ release: id, claims })),
  },
);
type Step =
  | { put: Candidate }
  | { remove: string }
  | { reserve: string; claims: Wish }
  | { release: string; claims: Wish };

/** What a fleet should be, as a map of wolves and a list of reservations. */
class FleetModel {
  readonly #put = new Map<string, Candidate>();
  readonly #reserved = new Map<string, { slots: number; vramMb: number; encoderSessions: number }>();

  take(step: Step): void {
    if ("put" in step) {
      this.#put.set(step.put.id, step.put);
      this.#reserved.delete(step.put.id);
    } else if ("remove" in step) {
      this.#put.delete(step.remove);
      this.#reserved.delete(step.remove);
    } else {
      const id = "reserve" in step ? step.reserve : step.release;
      if (!this.#put.has(id)) return;
      const sign = "reserve" in step ? 1 : -1;
      const { vramMb, encoderSessions } = step.claims;
      const before = this.#reserved.get(id) ?? { slots: 0, vramMb: 0, encoderSessions: 0 };
      const after = {
        slots: Math.max(0, before.slots + sign),
        vramMb: Math.max(0, before.vramMb + sign * vramMb),
        encoderSessions: Math.max(0, before.encoderSessions + sign * encoderSessions),
      };
      this.#reserved.set(id, after.slots === 0 ? { slots: 0, vramMb: 0, encoderSessions: 0 } : after);
    }
  }

  wolves(): Candidate[] {
    return [...this.#put.values()].map((wolf) => {
      const { slots, vramMb, encoderSessions } = this.#reserved.get(wolf.id) ?? {
        slots: 0,
        vramMb: 0,
        encoderSessions: 0,
      };
      return {
        ...wolf,
        slots: { ...wolf.slots, claimed: wolf.slots.claimed + slots },
        vramMb: { ...wolf.vramMb, claimed: wolf.vramMb.claimed + vramMb },
        encoderSessions: {
          ...wolf.encoderSessions,
          claimed: wolf.encoderSessions.claimed + encoderSessions,
        },
      };
    });
  }
}

function apply(fleet: Fleet, step: Step): void {
  if ("put" in step) fleet.put(step.put);
  else if ("remove" in step) fleet.remove(step.remove);
  else if ("reserve" in step) fleet.reserve(step.reserve, step.claims);
  else fleet.release(step.release, step.claims);
}

const contextOf = (chance: number) => ({
  nowMs: NOW_MS,
  random: () => chance,
  settings: { randomBest: 3, weights: weigh({ load: 1, region: 0.5 }) },
});
// Not `fc.double`, which is nearly always nearly 0.
const chances = fc.integer({ min: 0, max: 99 }).map((percent) => percent / 100);

describe("placement beside its model", () => {
  it("agrees with it after every change of a fleet: outcome, counts, ranking and scores", () => {
    const seen = { placed: 0, "not-now": 0, impossible: 0 };
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 60 }),
        fc.array(wish, { minLength: 3, maxLength: 6 }),
        chances,
        (steps, wishes, chance) => {
          const fleet = new Fleet();
          const model = new FleetModel();
          steps.forEach((step, at) => {
            apply(fleet, step);
            model.take(step);
            // Now and then, so that answers of before are there to be wrong.
            if (at % 7 !== 0 && at !== steps.length - 1) return;
            const wolves = model.wolves();
            expect([...fleet.ids()].sort()).toEqual(wolves.map(({ id }) => id).sort());
            for (const wolf of wolves) expect(fleet.get(wolf.id)).toEqual(wolf);
            for (const wished of wishes) {
              const expected = expectedPlacement(wished, wolves, contextOf(chance));
              const decision = place(wished, fleet, contextOf(chance));
              seen[decision.outcome] += 1;
              const { outcome, explanation } = decision;
              const ranked = decision.outcome === "placed" ? decision.ranked.map(({ id }) => id) : [];
              expect({ outcome, removed: explanation.removed, ranked }).toEqual({
                outcome: expected.outcome,
                removed: expected.removed,
                ranked: expected.ranked.slice(0, RANKED).map(({ id }) => id),
              });
              expect(
                explanation.ranked.map(({ wolf_instance_id: id, tier, score }) => ({ id, tier, score })),
              ).toEqual(expected.ranked.slice(0, 5));
            }
          });
        },
      ),
      { numRuns: 400 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100);
  });

  it("agrees with it where many more fit than are handed out, and many are equal", () => {
    const fitting = fc
      .tuple(candidate, one(1, 2, 4), fc.integer({ min: 0, max: 3 }))
      .map(([wolf, quarters, used]): Candidate => {
        const slots = { max: quarters * 4, claimed: used * quarters, other: 0 };
        const sound = {
          intent: "active",
          connectivity: "connected",
          tunnel: true,
          reconciled: true,
        } as const;
        const idle = { max: null, claimed: 0, other: 0 };
        return { ...wolf, ...sound, missing: [], slots, encoderSessions: idle };
      });
    const many = fc.array(fitting, { minLength: 20, maxLength: 60 });
    fc.assert(
      fc.property(many, wish, chances, (some, wished, chance) => {
        const wolves = some.map((wolf, at) => ({ ...wolf, id: `w${at}` }));
        const open = { ...wished, gpuType: null, gpuModel: null, labels: {}, constraints: [], vramMb: 0 };
        const expected = expectedPlacement(open, wolves, contextOf(chance)).ranked;
        const decision = place(open, aFleet(wolves), contextOf(chance));
        const ranked = decision.outcome === "placed" ? decision.ranked.map(({ id }) => id) : [];
        expect(ranked).toEqual(expected.slice(0, RANKED).map(({ id }) => id));
      }),
      { numRuns: 300 },
    );
  });

  it("says the same of the same wolves in whatever order they came, in the contract's shape", () => {
    const shuffled = fc
      .uniqueArray(candidate, { selector: ({ id }) => id, maxLength: 24 })
      .chain((wolves) =>
        fc.tuple(fc.constant(wolves), fc.shuffledSubarray(wolves, { minLength: wolves.length })),
      );
    fc.assert(
      fc.property(shuffled, wish, chances, ([wolves, others], wished, chance) => {
        const [one, other] = [wolves, others].map((list) => {
          const fleet = new Fleet();
          for (const wolf of list) fleet.put(wolf);
          return place(wished, fleet, contextOf(chance));
        });
        expect(one).toEqual(other);
        const explanation = PlacementExplanation.parse(one?.explanation);
        expect(explanation).toEqual(one?.explanation);
        const removed = explanation.removed.reduce((sum, { count }) => sum + count, 0);
        if (one?.outcome !== "placed") expect(removed).toBe(wolves.length);
      }),
      { numRuns: 300 },
    );
  });

  it("claims nothing in its sentence that is not so of the wolves that fit", () => {
    const seen = {
      placed: 0,
      "passed over": 0,
      "no healthy one": 0,
      "is the only healthy": 0,
      "in region": 0,
    };
    // Many fit, of every tier: sentences of one tier alone say little.
    const sound = { intent: "active", connectivity: "connected", tunnel: true, reconciled: true } as const;
    const fitting = fc
      .tuple(candidate, one<Candidate["health"]>("ok", "degraded"))
      .map(([wolf, health]): Candidate => ({ ...wolf, ...sound, health, missing: [] }));
    const open = { regionRequired: false, labels: {}, constraints: [], vramMb: 0, encoderSessions: 0 };
    const asked = fc
      .tuple(wish, one(null, ...regions))
      .map(([some, region]) => ({ ...some, ...open, region }));
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.oneof(fitting, candidate), {
          selector: ({ id }) => id,
          minLength: 1,
          maxLength: 12,
        }),
        asked,
        chances,
        (wolves, wished, chance) => {
          const decision = place(wished, aFleet(wolves), contextOf(chance));
          if (decision.outcome !== "placed") return;
          const { text, ranked } = decision.explanation;
          seen.placed += 1;
          for (const words of Object.keys(seen) as (keyof typeof seen)[])
            if (text.includes(words)) seen[words] += 1;
          const expected = expectedPlacement(wished, wolves, contextOf(chance));
          expect([text, untrue(text, wished, wolves, expected)]).toEqual([text, []]);
          // Whoever stands lower with a better score is of a lower tier, or the first was drawn.
          const places = ranked.map(({ tier }) => PlacementTier.options.indexOf(tier as PlacementTier));
          expect(places).toEqual(places.toSorted());
        },
      ),
      { numRuns: 3000 },
    );
    // The rarest comes some seven times in a thousand.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(0);
  });

  it("only ever suggests a change that makes it fit now", () => {
    let suggested = 0;
    fc.assert(
      fc.property(
        fc.array(candidate, { minLength: 1, maxLength: 12 }),
        wish,
        chances,
        (wolves, wished, chance) => {
          const fleet = new Fleet();
          for (const wolf of wolves) fleet.put(wolf);
          const { explanation } = place(wished, fleet, contextOf(chance));
          for (const { change, value, wolf_instance_id: id } of explanation.counterfactuals) {
            suggested += 1;
            const wolf = id === null ? undefined : fleet.get(id);
            const changed: Partial<Wish> = {
              gpu_type: { gpuType: value as Wish["gpuType"] },
              gpu_model: { gpuModel: value },
              region: value === null ? { regionRequired: false } : { region: value },
              labels: { labels: {} },
              constraints: { constraints: [] },
              degraded: { allowDegraded: true },
              vram: { vramMb: Number(value) },
              encoder_sessions: { encoderSessions: Number(value) },
              slots: {},
            }[change];
            if (wolf !== undefined && value === null) {
              const idle = { claimed: 0, other: 0 };
              const freed = {
                slots: { ...wolf, slots: { ...wolf.slots, ...idle } },
                vram: { ...wolf, vramMb: { ...wolf.vramMb, ...idle } },
                encoder_sessions: { ...wolf, encoderSessions: { ...wolf.encoderSessions, ...idle } },
              };
              const other = new Fleet();
              other.put(freed[change as keyof typeof freed]);
              expect(place(wished, other, contextOf(chance)).outcome).toBe("placed");
            } else expect(place({ ...wished, ...changed }, fleet, contextOf(chance)).outcome).toBe("placed");
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(suggested).toBeGreaterThan(50);
  });
});
