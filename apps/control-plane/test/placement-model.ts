/** Placement as it is written down, without any thought for speed: what the real one must agree with. */
import type { PlacementFilter, PlacementTier } from "@wolfpack/api-contract";
import type { Candidate, Resource } from "../src/placement/candidate.ts";
import type { PlacementContext } from "../src/placement/placement.ts";
import type { Wish } from "../src/placement/wish.ts";

type Keeps = (wolf: Candidate) => boolean;

const hasRoom = ({ max, claimed, other }: Resource, amount: number, withoutMax: boolean) =>
  amount === 0 || (max === null ? withoutMax : claimed + other + amount <= max);

function meetsLabels(wolf: Candidate, wish: Wish): boolean {
  const attributes = new Map<string, string>(Object.entries(wolf.labels));
  attributes.set("wolf:id", wolf.id).set("wolf:name", wolf.name);
  if (wolf.region !== null) attributes.set("wolf:region", wolf.region);
  const hasLabels = Object.entries(wish.labels).every(([name, value]) => attributes.get(name) === value);
  return (
    hasLabels &&
    wish.constraints.every(({ attribute, op, values }) => {
      const value = attributes.get(attribute);
      if (op === "in") return value !== undefined && values.includes(value);
      if (op === "not-in") return value === undefined || !values.includes(value);
      return op === "exists" ? value !== undefined : value === undefined;
    })
  );
}

function filtersOf(wish: Wish, nowMs: number): Record<PlacementFilter, Keeps> {
  const model = wish.gpuModel?.toLowerCase();
  return {
    intent: (wolf) => wolf.intent === "active",
    connectivity: (wolf) => wolf.connectivity === "connected",
    health: (wolf) => wolf.health === "ok" || (wolf.health === "degraded" && wish.allowDegraded),
    quarantine: (wolf) => !((wolf.quarantinedUntilMs ?? 0) > nowMs),
    tunnel: (wolf) => wolf.tunnel,
    capabilities: (wolf) => wolf.missing.length === 0,
    reconciled: (wolf) => wolf.reconciled,
    gpu_type: (wolf) => wish.gpuType === null || wish.gpuType === wolf.gpuType,
    gpu_model: (wolf) => model === undefined || wolf.gpuModel?.toLowerCase().includes(model) === true,
    labels: (wolf) => meetsLabels(wolf, wish),
    region: (wolf) => !wish.regionRequired || wolf.region === wish.region,
    avoided: (wolf) => !wish.avoid.includes(wolf.id),
    capacity: (wolf) => hasRoom(wolf.slots, 1, false),
    vram: (wolf) => hasRoom(wolf.vramMb, wish.vramMb, false),
    encoder_sessions: (wolf) => hasRoom(wolf.encoderSessions, wish.encoderSessions, true),
  };
}

export interface Expected {
  outcome: "placed" | "not-now" | "impossible";
  removed: { filter: PlacementFilter; count: number }[];
  /** All that fit, best first. */
  ranked: { id: string; tier: PlacementTier; score: number }[];
}

export function expectedPlacement(
  wish: Wish,
  wolves: readonly Candidate[],
  { nowMs, random, settings }: PlacementContext,
): Expected {
  const filters = filtersOf(wish, nowMs);
  const removed: Expected["removed"] = [];
  let left = [...wolves];
  for (const [filter, keeps] of Object.entries(filters) as [PlacementFilter, Keeps][]) {
    const kept = left.filter(keeps);
    if (kept.length < left.length) removed.push({ filter, count: left.length - kept.length });
    left = kept;
  }
  if (left.length > 0)
    return { outcome: "placed", removed, ranked: rankedBy(wish, left, { nowMs, random, settings }) };
  const known = wolves.filter(({ intent }) => intent !== "retired");
  const idle = ({ max }: Resource) => ({ max, claimed: 0, other: 0 });
  const couldEver = (wolf: Candidate) =>
    filters.gpu_type(wolf) &&
    filters.gpu_model(wolf) &&
    filters.labels(wolf) &&
    filters.region(wolf) &&
    filters.vram({ ...wolf, vramMb: idle(wolf.vramMb) }) &&
    filters.encoder_sessions({ ...wolf, encoderSessions: idle(wolf.encoderSessions) });
  const isPossible = known.length === 0 || known.some(couldEver);
  return { outcome: isPossible ? "not-now" : "impossible", removed, ranked: [] };
}

function rankedBy(
  wish: Wish,
  left: readonly Candidate[],
  { random, settings }: PlacementContext,
): Expected["ranked"] {
  const { policy, region } = wish;
  const load = ({ slots }: Candidate) => slots.claimed / slots.max;
  const dearest = Math.max(0, ...left.map(({ costPerHour }) => costPerHour ?? 0));
  const cheap = ({ costPerHour: cost }: Candidate) => {
    if (cost === null) return 0;
    return dearest === 0 ? 1 : 1 - cost / dearest;
  };
  const weights = wish.weights ?? settings.weights;
  const score = (wolf: Candidate) => {
    if (policy === "bin-pack") return load(wolf);
    if (policy === "cost") return cheap(wolf);
    if (policy !== "weighted") return 1 - load(wolf);
    return (
      weights.load * (1 - load(wolf)) +
      weights.packing * load(wolf) +
      weights.cost * cheap(wolf) +
      weights.region * (region !== null && wolf.region === region ? 1 : 0) +
      weights.image * (wolf.images?.includes(wish.image) ? 1 : 0) +
      weights.rtt * (wolf.rttMs === null ? 0 : 1 / (1 + wolf.rttMs / 50))
    );
  };
  const isElsewhere = (wolf: Candidate) => policy !== "weighted" && region !== null && wolf.region !== region;
  const price = ({ costPerHour }: Candidate) => (policy === "cost" ? (costPerHour ?? Infinity) : 0);
  const better = (a: Candidate, b: Candidate) =>
    Number(a.health === "degraded") - Number(b.health === "degraded") ||
    Number(isElsewhere(a)) - Number(isElsewhere(b)) ||
    (price(a) === price(b) ? 0 : price(a) - price(b)) ||
    (policy === "cost" ? 0 : score(b) - score(a)) ||
    load(a) - load(b) ||
    a.slots.claimed - b.slots.claimed ||
    (a.id < b.id ? -1 : 1);
  const sorted = [...left].sort(better);
  if (policy === "random-of-best") {
    const first = sorted[0];
    const likeFirst = sorted.filter(
      (wolf) =>
        first !== undefined && wolf.health === first.health && isElsewhere(wolf) === isElsewhere(first),
    );
    const drawnOf = Math.min(settings.randomBest, likeFirst.length);
    if (drawnOf > 1) sorted.unshift(...sorted.splice(Math.floor(random() * drawnOf), 1));
  }
  const tier = (wolf: Candidate): PlacementTier => {
    if (wolf.health !== "degraded") return isElsewhere(wolf) ? "other-region" : "as-wished";
    return isElsewhere(wolf) ? "degraded-other-region" : "degraded";
  };
  return sorted.map((wolf) => ({
    id: wolf.id,
    tier: tier(wolf),
    score: Math.round(score(wolf) * 10_000) / 10_000,
  }));
}
