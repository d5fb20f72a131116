/** The explanation in one sentence for people. */
import type { PlacementExplanation, PlacementFilter } from "@wolfpack/api-contract";
import type { Candidate } from "./candidate.ts";
import type { Fleet } from "./fleet.ts";
import { filterAt, MAYBE_QUARANTINED, TIER_DEGRADED, TIER_OTHER_REGION } from "./profile.ts";
import type { Ranking } from "./rank.ts";
import type { Wish } from "./wish.ts";

const reasons: Record<PlacementFilter, string> = {
  intent: "not taking sessions",
  connectivity: "not connected",
  health: "failing",
  quarantine: "in quarantine",
  tunnel: "without a tunnel here",
  reconciled: "not yet compared with what should run there",
  capabilities: "whose Wolf is too old",
  gpu_type: "with another GPU",
  gpu_model: "with another model of GPU",
  labels: "with other labels",
  region: "in another region",
  avoided: "where it failed before",
  capacity: "full",
  vram: "without enough free video memory",
  encoder_sessions: "without a free encoder",
};

const LACKING_SHOWN = 5;

export interface Removal {
  removed: PlacementExplanation["removed"];
  /** Routes of Wolf that those removed for it do not have. */
  lacking: readonly string[];
}

/** All that wolves of these profiles lack. */
export function lackingOf(fleet: Fleet, verdicts: Uint8Array): string[] {
  const lacking = new Set<string>();
  for (let id = 0; id < fleet.profiles.idsEnd; id += 1)
    if ((verdicts[id] as number) % MAYBE_QUARANTINED === filterAt.capabilities)
      for (const route of fleet.profiles.get(id)?.missing ?? []) lacking.add(route);
  return [...lacking].sort();
}

const counted = (count: number) => `${count} ${count === 1 ? "wolf" : "wolves"}`;
const gpuOf = ({ gpuType }: Wish) => (gpuType === null ? "" : ` for GPU ${gpuType}`);

function whyOf(wish: Wish, { removed, lacking }: Removal): string {
  const lacks = ` (it lacks ${lacking.slice(0, LACKING_SHOWN).join(", ")})`;
  const reason = (filter: PlacementFilter) => {
    if (filter === "health" && !wish.allowDegraded) return "not healthy";
    return `${reasons[filter]}${filter === "capabilities" ? lacks : ""}`;
  };
  return removed.map(({ filter, count }) => `${count} ${reason(filter)}`).join(", ");
}

export const NO_WOLF = "There is no wolf in the fleet.";

export function sentenceOfNone(wish: Wish, count: number, removal: Removal, isImpossible: boolean): string {
  const ever = isImpossible ? ", nor ever could" : "";
  return `None of ${counted(count)} fits${gpuOf(wish)}${ever}: ${whyOf(wish, removal)}.`;
}

const isDegraded = (tier: number) => (tier & TIER_DEGRADED) !== 0;
const isElsewhere = (tier: number) => (tier & TIER_OTHER_REGION) !== 0;

interface Best {
  best: Candidate;
  ranking: Ranking;
}

/** Of so many wolves so many fit: those that were left out are the others. */
export function sentenceOfBest(
  wish: Wish,
  { count, fitting }: { count: number; fitting: number },
  removal: Removal,
  { best, ranking }: Best,
): string {
  const tier = ranking.best[0]?.tier ?? 0;
  const all = fitting === count ? counted(count) : `the ${fitting} of ${counted(count)} that fit`;
  const praise =
    fitting === 1 && count > 1
      ? `${slotsOf(best)} is the only one of ${counted(count)} that fits`
      : `${standingOf(wish, { best, ranking }, tier, fitting)} ${all}`;
  const why = whyOf(wish, removal);
  const left = why === "" ? "" : `; left out: ${why}`;
  const regret = regretOf(wish, tier, ranking.fitting);
  return `${best.name} ${praise}${gpuOf(wish)}${regret}${passedOver(tier, ranking.fitting)}${left}.`;
}

const slotsOf = ({ slots }: Candidate) => `(${slots.claimed} of ${slots.max})`;

/** It is the best of its tier, and of nothing else. */
function standingOf(wish: Wish, { best, ranking }: Best, tier: number, fitting: number): string {
  const peers = ranking.fitting[tier] as number;
  const praise = praiseOf(wish, best, ranking);
  if (peers === fitting) return `${praise} of`;
  const { health, region } = peculiarity(wish, tier, ranking.fitting);
  if (peers === 1) return `${slotsOf(best)} is the only ${health}one${region} among`;
  return `${praise} of the ${peers} ${health}ones${region} among`;
}

/** What those of a tier have that the others that fit have not. */
function peculiarity(wish: Wish, tier: number, fitting: Int32Array): { health: string; region: string } {
  const isThere = (other: number) => (fitting[other] as number) > 0;
  const degraded = isThere(TIER_DEGRADED) || isThere(TIER_DEGRADED | TIER_OTHER_REGION);
  const elsewhere = !isElsewhere(tier) && isThere(tier | TIER_OTHER_REGION);
  return {
    health: !isDegraded(tier) && degraded ? "healthy " : "",
    region: elsewhere ? ` in region ${wish.region}` : "",
  };
}

/** What the best is not, since none that fits is. */
function regretOf(wish: Wish, tier: number, fitting: Int32Array): string {
  const healthier = isDegraded(tier) ? " and no healthier one fits" : "";
  if (!isElsewhere(tier)) return healthier;
  // A degraded one there comes after every healthy one.
  const isNear = (fitting[TIER_DEGRADED] as number) > 0;
  return `${healthier} and ${isNear ? "no healthy one" : "none"} in region ${wish.region} fits`;
}

const lowerTiers = {
  [TIER_OTHER_REGION]: "in another region",
  [TIER_DEGRADED]: "degraded",
  [TIER_DEGRADED | TIER_OTHER_REGION]: "degraded and in another region",
};

/** Those that fit and may have been better but for their tier. */
function passedOver(tier: number, fitting: Int32Array): string {
  const lower = Object.entries(lowerTiers).flatMap(([other, words]) => {
    const count = fitting[Number(other)] as number;
    return Number(other) > tier && count > 0 ? [`${count} ${words}`] : [];
  });
  return lower.length === 0 ? "" : `; passed over: ${lower.join(", ")}`;
}

function praiseOf({ policy }: Wish, best: Candidate, ranking: Ranking): string {
  const load = slotsOf(best);
  switch (policy) {
    case "least-loaded":
      return `has the lowest load ${load}`;
    case "random-of-best":
      return ranking.drawnOf === 1
        ? `has the lowest load ${load}`
        : `${load} was drawn from the ${ranking.drawnOf} with the lowest load`;
    case "bin-pack":
      return `has the highest load that leaves room ${load}`;
    case "cost":
      return best.costPerHour === null
        ? `has the lowest load ${load}, with no cost known,`
        : `has the lowest cost (${best.costPerHour} per hour)`;
    case "weighted":
      return `has the highest score (${ranking.score(ranking.best[0]?.row ?? 0).score})`;
  }
}
