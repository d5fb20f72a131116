/**
 * Which wolf gets a session: a pure function of a wish and the fleet. It reads nothing, waits for nothing, never throws, gives
 * the same answer for the same fleet however that came about, and says why. Taking the slot is the store's transaction.
 */
import {
  type PlacementExplanation,
  type PlacementTier,
  type PlacementWeights,
  placementLimits,
} from "@wolfpack/api-contract";
import { type Candidate, loadOf } from "./candidate.ts";
import { prospectsOf } from "./counterfactuals.ts";
import type { Fleet } from "./fleet.ts";
import { blame } from "./impossible.ts";
import { filterAt, filters, tierNames } from "./profile.ts";
import { rank } from "./rank.ts";
import { lackingOf, NO_WOLF, sentenceOfBest, sentenceOfNone } from "./sentence.ts";
import { questionOf, sift } from "./sift.ts";
import type { Wish } from "./wish.ts";

export interface PlacementSettings {
  /** The policy `random-of-best` takes one of so many, 1 to 64. */
  randomBest: number;
  /** Of the policy `weighted` where a wish has none. */
  weights: PlacementWeights;
}

export interface PlacementContext {
  nowMs: number;
  /** At least 0 and below 1. */
  random: () => number;
  settings: PlacementSettings;
}

export type Decision =
  | { outcome: "placed"; ranked: [Candidate, ...Candidate[]]; explanation: PlacementExplanation }
  | { outcome: "not-now"; explanation: PlacementExplanation }
  | {
      /** No wolf that is known could ever take it. */
      outcome: "impossible";
      /** By field of the request. */
      errors: { path: string; message: string }[];
      /** By field: what there is instead. */
      allowed: Record<string, string[]>;
      explanation: PlacementExplanation;
    };

export function place(wish: Wish, fleet: Fleet, { nowMs, random, settings }: PlacementContext): Decision {
  const question = questionOf(wish, fleet, nowMs);
  const { fitting, counts } = sift(question);
  const removed = filters.flatMap((filter, at) => {
    const count = counts[at] ?? 0;
    return count === 0 ? [] : [{ filter, count }];
  });
  const isLacking = (counts[filterAt.capabilities] ?? 0) > 0;
  const removal = { removed, lacking: isLacking ? lackingOf(fleet, question.verdicts) : [] };
  const { policy } = wish;
  const candidates = fleet.size;
  if (fitting > 0) {
    const ranking = rank(wish, fleet, fitting, { random, ...settings });
    const ranked = ranking.best.map(({ row }) => fleet.candidates[row] as Candidate);
    const [best, ...others] = ranked as [Candidate, ...Candidate[]];
    const shown = ranking.best.slice(0, placementLimits.rankedMax).map(({ row, tier }, at) => {
      const wolf = ranked[at] as Candidate;
      return {
        wolf_instance_id: wolf.id,
        tier: tierNames[tier] as PlacementTier,
        load: loadOf(wolf),
        ...ranking.score(row),
      };
    });
    const text = sentenceOfBest(wish, { count: candidates, fitting }, removal, { best, ranking });
    const explanation = { policy, candidates, removed, ranked: shown, counterfactuals: [], text };
    return {
      outcome: "placed",
      ranked: [best, ...others],
      explanation: { outcome: "placed", ...explanation },
    };
  }
  const nothing = { policy, candidates, removed, ranked: [] };
  if (fleet.candidates.every(({ intent }) => intent === "retired"))
    return {
      outcome: "not-now",
      explanation: { outcome: "not-now", ...nothing, counterfactuals: [], text: NO_WOLF },
    };
  const { isPossible, counterfactuals } = prospectsOf(question);
  const outcome = isPossible ? "not-now" : "impossible";
  const text = sentenceOfNone(wish, candidates, removal, !isPossible);
  const explanation = { outcome, ...nothing, counterfactuals, text } as const;
  return isPossible
    ? { outcome: "not-now", explanation }
    : { outcome: "impossible", ...blame(question), explanation };
}
