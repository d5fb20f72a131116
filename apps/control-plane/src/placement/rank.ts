/**
 * The policies: which of the wolves that fit are the best, and what the explanation says of each. Every policy is one number
 * per wolf; equal ones go by load, then by fewest sessions, then by id. Tiers come before all of it.
 */
import type { PlacementWeights } from "@wolfpack/api-contract";
import type { Candidate } from "./candidate.ts";
import type { Fleet } from "./fleet.ts";
import { TIER_DEGRADED, TIER_OTHER_REGION, TIERS } from "./profile.ts";
import type { Wish } from "./wish.ts";

/** How many of the best are handed out: whoever loses the race for one claims the next. */
export const RANKED = 8;
/** Above it herding is no better, and keeping the best costs. */
const RANDOM_BEST_MAX = 64;

export interface Chances {
  random: () => number;
  /** Of how many of the best the policy `random-of-best` takes one. */
  randomBest: number;
  /** Of the policy `weighted` where the wish has none. */
  weights: PlacementWeights;
}

export interface Place {
  row: number;
  /** Where a tier is none to the policy, it is not in it. */
  tier: number;
}

export interface Ranking {
  /** Best first, at most `RANKED`. */
  best: Place[];
  /** How many fit, by tier. */
  fitting: Int32Array;
  /** Of how many it was drawn; 1: there was nothing to draw. */
  drawnOf: number;
  score: (row: number) => { score: number; parts: Record<string, number> };
}

export function rank(
  wish: Wish,
  fleet: Fleet,
  fitting: number,
  { random, randomBest, weights }: Chances,
): Ranking {
  const { policy } = wish;
  const weighed = policy === "weighted" ? (wish.weights ?? weights) : weightsOf[policy];
  const dearest = weighed.cost > 0 ? dearestOf(fleet, fitting) : 0;
  const scorer = scorerOf(wish, fleet, dearest, weighed);
  const wanted = policy === "random-of-best" ? Math.min(RANDOM_BEST_MAX, Math.floor(randomBest)) : 1;
  // A region that is wished for is a weight there.
  const tierMask = policy === "weighted" ? TIER_DEGRADED : TIER_DEGRADED | TIER_OTHER_REGION;
  const best = bestOf(fleet, fitting, {
    column:
      policy === "weighted"
        ? scoresOf(fleet, fitting, scorer)
        : policy === "cost"
          ? fleet.columns.cost
          : fleet.columns.load,
    sign: policy === "weighted" || policy === "bin-pack" ? -1 : 1,
    tierMask,
    keep: Math.max(RANKED, wanted || 1),
  });
  const first = best[0]?.tier ?? 0;
  const drawnOf = Math.max(1, Math.min(wanted || 1, best.filter(({ tier }) => tier === first).length));
  if (drawnOf > 1) {
    const at = Math.min(drawnOf - 1, Math.floor(random() * drawnOf) || 0);
    best.unshift(...best.splice(Math.max(0, at), 1));
  }
  return {
    best: best.slice(0, RANKED),
    fitting: countTiers(fleet, fitting, tierMask),
    drawnOf,
    score: (row) => scorer.explain(row),
  };
}

function countTiers(fleet: Fleet, fitting: number, tierMask: number): Int32Array {
  const { tiers } = fleet.scratch;
  const counts = new Int32Array(TIERS);
  for (let at = 0; at < fitting; at += 1) {
    const tier = (tiers[at] as number) & tierMask;
    counts[tier] = (counts[tier] as number) + 1;
  }
  return counts;
}

/** The highest known cost of those that fit; 0 if none is known. */
function dearestOf(fleet: Fleet, fitting: number): number {
  const { cost } = fleet.columns;
  const { fits } = fleet.scratch;
  let dearest = 0;
  for (let at = 0; at < fitting; at += 1) {
    const one = cost[fits[at] as number] as number;
    if (one > dearest && one < Number.POSITIVE_INFINITY) dearest = one;
  }
  return dearest;
}

interface Scorer {
  weights: PlacementWeights;
  isRegionWished: boolean;
  dearest: number;
  /** 1 by id of a set of images. */
  hasImage: Uint8Array;
  explain: (row: number) => { score: number; parts: Record<string, number> };
}

const only = (part: "load" | "packing" | "cost"): PlacementWeights => ({
  load: 0,
  packing: 0,
  cost: 0,
  region: 0,
  image: 0,
  rtt: 0,
  [part]: 1,
});
/** What a policy's score is of, as weights. */
const weightsOf = {
  "least-loaded": only("load"),
  "random-of-best": only("load"),
  "bin-pack": only("packing"),
  cost: only("cost"),
};
const NO_IMAGES = new Uint8Array();

function scorerOf(wish: Wish, fleet: Fleet, dearest: number, weights: PlacementWeights): Scorer {
  const hasImage =
    weights.image > 0
      ? fleet.imageSets.answers(wish.image, () => (images) => (images.includes(wish.image) ? 1 : 0))
      : NO_IMAGES;
  const explain = (row: number) => {
    const { load, cost, nearness, images } = fleet.columns;
    const { region } = fleet.candidates[row] as Candidate;
    const all: PlacementWeights = {
      load: 1 - (load[row] as number),
      packing: load[row] as number,
      cost: cheapness(cost[row] as number, dearest),
      region: wish.region !== null && region === wish.region ? 1 : 0,
      image: hasImage[images[row] as number] ?? 0,
      rtt: nearness[row] as number,
    };
    const names = (Object.keys(all) as (keyof PlacementWeights)[]).filter((name) => weights[name] > 0);
    const score = names.reduce((sum, name) => sum + weights[name] * all[name], 0);
    const parts = Object.fromEntries(names.map((name) => [name, rounded(all[name])]));
    return { score: rounded(score), parts };
  };
  return { weights, isRegionWished: wish.region !== null, dearest, hasImage, explain };
}

/** 0 where it is not known. The dearest of all is 0 too, unless all of them are free. */
function cheapness(cost: number, dearest: number): number {
  return Math.max(0, 1 - cost / (dearest || 1));
}

const rounded = (value: number) => Math.round(value * 10_000) / 10_000;

/** By row. The sum of `explain`, in its order, without anything made on the way. */
function scoresOf(fleet: Fleet, fitting: number, scorer: Scorer): Float64Array {
  const { weights, isRegionWished, dearest, hasImage } = scorer;
  const { load, cost, nearness, images } = fleet.columns;
  const { fits, tiers, score } = fleet.scratch;
  const { load: byLoad, packing, cost: byCost, region, image, rtt } = weights;
  const inRegion = isRegionWished ? region : 0;
  for (let at = 0; at < fitting; at += 1) {
    const row = fits[at] as number;
    const loaded = load[row] as number;
    let sum = byLoad * (1 - loaded) + packing * loaded;
    if (byCost > 0) sum += byCost * cheapness(cost[row] as number, dearest);
    sum += inRegion * (1 - ((tiers[at] as number) & TIER_OTHER_REGION));
    if (image > 0) sum += image * (hasImage[images[row] as number] as number);
    score[row] = sum + rtt * (nearness[row] as number);
  }
  return score;
}

interface Order {
  /** By row. */
  column: Float64Array;
  /** -1: the highest is best. */
  sign: 1 | -1;
  tierMask: number;
  keep: number;
}

/** Of wolves with equal keys and of one tier: the load, then the sessions, then the order of rows, which is that of ids. */
interface Mark {
  tier: number;
  key: number;
  load: number;
  claimed: number;
}

/** The best of those that fit, best first, in one pass. */
function bestOf(fleet: Fleet, fitting: number, order: Order): Place[] {
  const { load, slotsClaimed } = fleet.columns;
  const { fits, tiers } = fleet.scratch;
  const best: (Mark & Place)[] = [];
  let worst: Mark = { tier: TIERS, key: 0, load: 0, claimed: 0 };
  for (
    let index = nextBefore(fleet, fitting, 0, order, worst);
    index < fitting;
    index = nextBefore(fleet, fitting, index + 1, order, worst)
  ) {
    const row = fits[index] as number;
    const mark = {
      row,
      tier: (tiers[index] as number) & order.tierMask,
      key: order.sign * (order.column[row] as number),
      load: load[row] as number,
      claimed: slotsClaimed[row] as number,
    };
    let at = best.length;
    while (at > 0 && isBefore(mark, best[at - 1] as Mark)) at -= 1;
    best.splice(at, 0, mark);
    if (best.length > order.keep) best.pop();
    if (best.length === order.keep) worst = best[order.keep - 1] as Mark;
  }
  return best;
}

function isBefore(one: Mark, other: Mark): boolean {
  if (one.tier !== other.tier) return one.tier < other.tier;
  if (one.key !== other.key) return one.key < other.key;
  if (one.load !== other.load) return one.load < other.load;
  return one.claimed < other.claimed;
}

/** From `from` on, where the next is that comes before `worst`. As `isBefore`, but without a call, which would cost more than all the rest. */
function nextBefore(
  fleet: Fleet,
  fitting: number,
  from: number,
  { column, sign, tierMask }: Order,
  worst: Mark,
): number {
  const { load, slotsClaimed } = fleet.columns;
  const { fits, tiers } = fleet.scratch;
  const { tier: worstTier, key: worstKey, load: worstLoad, claimed: worstClaimed } = worst;
  for (let index = from; index < fitting; index += 1) {
    const tier = (tiers[index] as number) & tierMask;
    if (tier > worstTier) continue;
    if (tier < worstTier) return index;
    const row = fits[index] as number;
    const key = sign * (column[row] as number);
    if (key > worstKey) continue;
    if (key < worstKey) return index;
    const loaded = load[row] as number;
    if (loaded > worstLoad) continue;
    if (loaded < worstLoad || (slotsClaimed[row] as number) < worstClaimed) return index;
  }
  return fitting;
}
