/**
 * Which wolf gets a session: a pure function of the candidates. It reads nothing, never throws, gives the same answer for
 * the same input in any order, and says why. Taking the slot is the store's transaction.
 */
import type { GpuType, PlacementExplanation, PlacementFilter } from "@wolfpack/api-contract";
import type { Wolf } from "../wolves/wolf-store.ts";

export interface PlacementRequest {
  /** Undefined: any. */
  gpuType: GpuType | undefined;
}

export type Decision =
  | { outcome: "placed"; ranked: [Wolf, ...Wolf[]]; explanation: PlacementExplanation }
  | { outcome: "rejected"; explanation: PlacementExplanation };

type Filter = {
  name: PlacementFilter;
  keeps: (wolf: Wolf, request: PlacementRequest, hasTunnel: (wolfId: string) => boolean) => boolean;
};

const missingOf = (wolf: Wolf): readonly string[] => wolf.capabilities?.missing ?? [];

/** In order; each wolf is counted by the first filter that removes it. */
const filters: readonly Filter[] = [
  { name: "intent", keeps: (wolf) => wolf.intent === "active" },
  { name: "connectivity", keeps: (wolf) => wolf.connectivity === "connected" },
  { name: "health", keeps: (wolf) => wolf.health !== "failed" },
  { name: "tunnel", keeps: (wolf, _request, hasTunnel) => hasTunnel(wolf.id) },
  // What is not known is not refused.
  { name: "capabilities", keeps: (wolf) => missingOf(wolf).length === 0 },
  {
    name: "gpu_type",
    keeps: (wolf, request) => request.gpuType === undefined || wolf.gpuType === request.gpuType,
  },
  { name: "capacity", keeps: (wolf) => wolf.connectedSandboxes < wolf.maxSandboxes },
];

const RANKED_SHOWN = 5;

const loadOf = (wolf: Wolf) => wolf.connectedSandboxes / wolf.maxSandboxes;

/** Healthy wolves before degraded ones, then the lowest load; ties by fewest sessions, then by id. */
function better(a: Wolf, b: Wolf): number {
  const health = Number(a.health !== "ok") - Number(b.health !== "ok");
  return (
    health || loadOf(a) - loadOf(b) || a.connectedSandboxes - b.connectedSandboxes || (a.id < b.id ? -1 : 1)
  );
}

export function place(
  request: PlacementRequest,
  candidates: readonly Wolf[],
  hasTunnel: (wolfId: string) => boolean,
): Decision {
  const removed: PlacementExplanation["removed"] = [];
  let left = [...candidates];
  let lacking: string[] = [];
  for (const { name, keeps } of filters) {
    const kept = left.filter((wolf) => keeps(wolf, request, hasTunnel));
    if (kept.length < left.length) removed.push({ filter: name, count: left.length - kept.length });
    if (name === "capabilities") lacking = [...new Set(left.flatMap(missingOf))].sort();
    left = kept;
  }
  const [best, ...others] = left.sort(better);
  const explanation: PlacementExplanation = {
    policy: "least-loaded",
    candidates: candidates.length,
    removed,
    ranked: left.slice(0, RANKED_SHOWN).map((wolf) => ({ wolf_instance_id: wolf.id, load: loadOf(wolf) })),
    text: sentence(request, { count: candidates.length, removed, lacking, best }),
  };
  if (best === undefined) return { outcome: "rejected", explanation };
  return { outcome: "placed", ranked: [best, ...others], explanation };
}

const reasons: Record<PlacementFilter, string> = {
  intent: "not taking sessions",
  connectivity: "not connected",
  health: "failing",
  tunnel: "without a tunnel here",
  capabilities: "whose Wolf is too old",
  gpu_type: "with another GPU",
  capacity: "full",
};

const LACKING_SHOWN = 5;

interface Outcome {
  count: number;
  removed: PlacementExplanation["removed"];
  /** Routes of Wolf that those removed for it do not have. */
  lacking: readonly string[];
  best: Wolf | undefined;
}

function sentence(request: PlacementRequest, { count, removed, lacking, best }: Outcome): string {
  const gpu = request.gpuType === undefined ? "" : ` for GPU ${request.gpuType}`;
  const lacks = ` (it lacks ${lacking.slice(0, LACKING_SHOWN).join(", ")})`;
  const why = removed
    .map(({ filter, count: n }) => `${n} ${reasons[filter]}${filter === "capabilities" ? lacks : ""}`)
    .join(", ");
  const wolves = `${count} ${count === 1 ? "wolf" : "wolves"}`;
  if (best === undefined)
    return count === 0 ? "There is no wolf in the fleet." : `None of ${wolves} fits${gpu}: ${why}.`;
  const load = `${best.connectedSandboxes} of ${best.maxSandboxes}`;
  const degraded = best.health === "ok" ? "" : " and no healthier one fits";
  const rest = why === "" ? "" : `; left out: ${why}`;
  return `${best.name} has the lowest load (${load}) of ${wolves}${gpu}${degraded}${rest}.`;
}
