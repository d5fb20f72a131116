/** The explanation of a placement as tables for people, as functions of values. */
import type { Counterfactual, PlacementExplanation } from "@wolfpack/api-contract";
import { plain, sentence } from "../ui/text.ts";

export interface FilterRow {
  id: string;
  /** `With another GPU`. */
  what: string;
  /** What it looks at. */
  note: string;
  /** How many wolves it took away, and how many were left then. */
  removed: number;
  left: number;
}

const filters: Record<string, readonly [what: string, note: string]> = {
  intent: ["Not taking sessions", "pending, cordoned, draining, in maintenance or retired"],
  connectivity: ["Not connected", "suspect or lost"],
  health: ["Failing", "or degraded, where only healthy ones are wanted"],
  quarantine: ["In quarantine", "sessions failed or were slow there lately"],
  tunnel: ["Without a tunnel here", "this replica cannot reach it"],
  capabilities: ["With a Wolf that is too old", "it lacks what a session needs"],
  reconciled: ["Not compared yet", "what runs there is not yet known for certain"],
  gpu_type: ["With another GPU", "not of the vendor that was asked for"],
  gpu_model: ["With another model of GPU", "not the model that was asked for"],
  labels: ["With other labels", "labels or constraints do not hold"],
  region: ["In another region", "and no other was wanted"],
  avoided: ["Where it failed before", "another one is tried first"],
  capacity: ["Full", "no free slot"],
  vram: ["Short of video memory", "too little is free"],
  encoder_sessions: ["Short of encoders", "too few video streams are free"],
};

/** In the order in which they looked; numbers that do not add up are shown as they are. */
export function filterRows({ candidates, removed }: PlacementExplanation): FilterRow[] {
  let left = candidates;
  return removed.map(({ filter, count }) => {
    left = Math.max(0, left - count);
    const [what, note] = filters[filter] ?? [sentence(filter), ""];
    return { id: filter, what, note, removed: count, left };
  });
}

const policies: Record<string, string> = {
  "least-loaded": "the lowest load",
  "bin-pack": "the fullest that has room",
  "random-of-best": "one of those with the lowest load, at random",
  cost: "the cheapest",
  weighted: "the highest weighted score",
};
/** What was looked for among those that fit. */
export const policyOf = (policy: string): string => policies[policy] ?? plain(policy);

const parts: Record<string, string> = {
  load: "Room",
  packing: "Fullness",
  cost: "Cheapness",
  region: "Region",
  image: "Image there",
  rtt: "Nearness",
};

export interface PartColumn {
  id: string;
  header: string;
  /** What it counts for; undefined where that is not known. */
  weight: number | undefined;
}

export interface ScoreTable {
  columns: PartColumn[];
  /** What goes before every score is to be shown. */
  hasTiers: boolean;
  rows: ScoreRow[];
}

interface ScoreRow {
  wolf: string;
  tier: string;
  load: number;
  score: number;
  parts: (number | undefined)[];
  isTaken: boolean;
}

const PARTS_MAX = 8;

const tiers: Record<string, string> = {
  "as-wished": "As wished",
  "other-region": "In another region",
  degraded: "Degraded",
  "degraded-other-region": "Degraded, in another region",
};

/** Empty: every wolf is as it was wished for, or nobody has said. */
function tierWords(ranked: PlacementExplanation["ranked"]): string[] {
  if (ranked.every(({ tier = "as-wished" }) => tier === "as-wished")) return [];
  return ranked.map(({ tier }) => (tier === undefined ? "–" : (tiers[tier] ?? sentence(tier))));
}

/** Every part that any of them has is a column. `taken` is the wolf that it went to. */
export function scoreTable(
  { ranked, policy }: PlacementExplanation,
  taken: string | null,
  weights?: Readonly<Record<string, number>> | null,
): ScoreTable {
  const found = new Set(ranked.flatMap((one) => Object.keys(one.parts)));
  const names = [...Object.keys(parts).filter((name) => found.delete(name)), ...found].slice(0, PARTS_MAX);
  const columns = names.map((id) => ({
    id,
    header: parts[id] ?? sentence(id),
    weight: policy === "weighted" ? weights?.[id] : undefined,
  }));
  const words = tierWords(ranked);
  const rows = ranked.map(({ wolf_instance_id: wolf, load, score, parts: its }, index) => ({
    wolf,
    tier: words[index] ?? "",
    load,
    score,
    parts: names.map((name) => its[name]),
    isTaken: wolf === taken,
  }));
  return { columns, hasTiers: words.length > 0, rows };
}

/** `0.5` → `0.50`, so that a column can be compared; what is no number is a dash. */
export function scoreText(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(2);
}
/** `2`, `0.5`: as somebody has written it. */
export const weightText = (weight: number): string => scoreText(weight).replace(/\.?0+$/, "");

const changes: Record<string, string> = {
  gpu_type: "Another GPU",
  gpu_model: "Another model of GPU",
  labels: "Other labels",
  constraints: "Other constraints",
  region: "Another region",
  vram: "Less video memory, or more of it free",
  encoder_sessions: "Fewer video streams, or more of them free",
  slots: "A free slot",
  degraded: "A degraded wolf",
};

export interface Change {
  what: string;
  /** What is said before the wolf, and after it; all of it is in `before` where it names none. */
  before: string;
  wolf: string | null;
  after: string;
}

/** Where the text names a wolf by its id, a name may stand in its place. */
export function changesOf(counterfactuals: readonly Counterfactual[]): Change[] {
  return counterfactuals.map(({ change, text, wolf_instance_id: wolf }) => {
    const what = changes[change] ?? sentence(change);
    const at = wolf === null || wolf === "" ? -1 : text.indexOf(wolf);
    if (wolf === null || at === -1) return { what, before: plain(text), wolf, after: "" };
    return { what, before: plain(text.slice(0, at)), wolf, after: plain(text.slice(at + wolf.length)) };
  });
}
