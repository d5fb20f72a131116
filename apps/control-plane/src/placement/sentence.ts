/** The explanation in one sentence for people. */
import type { PlacementExplanation, PlacementFilter } from "@wolfpack/api-contract";
import type { Candidate } from "./candidate.ts";
import type { Fleet } from "./fleet.ts";
import { filterAt, MAYBE_QUARANTINED } from "./profile.ts";
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

/** Of so many wolves so many fit: those that were left out are the others. */
export function sentenceOfBest(
  wish: Wish,
  { count, fitting }: { count: number; fitting: number },
  removal: Removal,
  { best, ranking }: { best: Candidate; ranking: Ranking },
): string {
  const healthier = ranking.isDegraded ? " and no healthier one fits" : "";
  const nearer = ranking.isElsewhere ? ` and none in region ${wish.region} fits` : "";
  const why = whyOf(wish, removal);
  const rest = why === "" ? "" : `; left out: ${why}`;
  const load = `(${best.slots.claimed} of ${best.slots.max})`;
  const among = fitting === count ? counted(count) : `the ${fitting} of ${counted(count)} that fit`;
  const praise =
    fitting === 1 && count > 1
      ? `${load} is the only one of ${counted(count)} that fits`
      : `${praiseOf(wish, best, ranking, load)} of ${among}`;
  return `${best.name} ${praise}${gpuOf(wish)}${healthier}${nearer}${rest}.`;
}

function praiseOf({ policy }: Wish, best: Candidate, ranking: Ranking, load: string): string {
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
      return `has the highest score (${ranking.score(ranking.rows[0] ?? 0).score})`;
  }
}
