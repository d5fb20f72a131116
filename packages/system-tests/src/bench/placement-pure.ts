/** What a decision of placement costs, without database and network: fleets of three sizes, five kinds of wishes in turn, and a claim after every decision, so that no two see the same fleet. */
import {
  type Candidate,
  Fleet,
  type PlacementSettings,
  place,
  type Wish,
} from "@wolfpack/control-plane/parts";
import { median } from "./lanes.ts";

export interface PlacementRate {
  /** Each with its explanation, by the CPU of this process: what else runs there does not count. */
  decisionsPerSecond: number;
  /** Wall time of the middle one, by kind of wish. */
  microsByKind: Record<string, number>;
  /** Share of decisions that found a wolf. */
  placedShare: number;
}

export type PlacementPureResult = Record<"100" | "1000" | "10000", PlacementRate>;

const NOW_MS = 1_800_000_000_000;
const SETTINGS: PlacementSettings = {
  randomBest: 3,
  weights: { load: 1, packing: 0, cost: 0.5, region: 1, image: 0.5, rtt: 0.5 },
};
const REGIONS = ["eu-west", "us-east", "ap-south"];
const GPU_TYPES = ["nvidia", "nvidia", "amd", "intel"] as const;
const MODELS = { nvidia: "NVIDIA GeForce RTX 4090", amd: "AMD Radeon PRO W7900", intel: "Intel Arc A770" };
const IMAGE = "ghcr.io/games-on-whales/xfce:edge";

/** The same numbers in every run (xorshift32). */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Most of them busy, some full, a few that take nothing. */
function wolf(index: number, random: () => number): Candidate {
  const one = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)] as Value;
  const gpuType = one(GPU_TYPES);
  const claimed = Math.floor(random() * 13);
  return {
    id: `wlf_${String(index).padStart(26, "0")}`,
    name: `gpu-${index}`,
    epoch: 1,
    intent: random() < 0.95 ? "active" : "draining",
    connectivity: random() < 0.97 ? "connected" : "lost",
    health: random() < 0.95 ? "ok" : "degraded",
    quarantinedUntilMs: random() < 0.02 ? NOW_MS + 60_000 : null,
    tunnel: true,
    reconciled: random() < 0.99,
    missing: [],
    gpuType,
    gpuModel: MODELS[gpuType],
    labels: { rack: `r${Math.floor(random() * 40)}`, tier: random() < 0.3 ? "gold" : "silver" },
    region: one(REGIONS),
    costPerHour: random() < 0.8 ? Math.round(random() * 200) / 100 : null,
    images: random() < 0.5 ? [IMAGE] : [],
    rttMs: random() * 150,
    slots: { max: 12, claimed, other: random() < 0.1 ? 1 : 0 },
    vramMb: { max: 24_576, claimed: claimed * 1024, other: 1024 },
    encoderSessions: { max: gpuType === "nvidia" ? 12 : null, claimed, other: 0 },
  };
}

const anything: Wish = {
  image: IMAGE,
  gpuType: null,
  gpuModel: null,
  labels: {},
  constraints: [],
  region: null,
  regionRequired: false,
  vramMb: 0,
  encoderSessions: 1,
  policy: "least-loaded",
  weights: null,
  allowDegraded: true,
  avoid: [],
};
const rackIn = (values: string[]) => ({ attribute: "rack", op: "in" as const, values });
const kinds: Record<string, Wish> = {
  anything,
  nearby: { ...anything, gpuType: "nvidia", region: "eu-west", policy: "random-of-best" },
  labelled: {
    ...anything,
    gpuModel: "rtx",
    labels: { tier: "gold" },
    constraints: [rackIn(Array.from({ length: 16 }, (_, rack) => `r${rack * 2}`))],
    policy: "bin-pack",
    vramMb: 2048,
  },
  cheap: { ...anything, region: "us-east", regionRequired: true, policy: "cost", vramMb: 4096 },
  weighted: { ...anything, region: "ap-south", policy: "weighted" },
};

function measure(wolves: number, decisions: number): PlacementRate {
  const random = dice(wolves);
  const fleet = new Fleet();
  for (let index = 0; index < wolves; index += 1) fleet.put(wolf(index, random));
  const context = { nowMs: NOW_MS, random, settings: SETTINGS };
  const claims: { id: string; wish: Wish }[] = [];
  // As many as a tenth of the fleet's slots come and go.
  const claimsMax = wolves;
  let placed = 0;
  const decide = (wish: Wish) => {
    const decision = place(wish, fleet, context);
    if (decision.outcome !== "placed") return;
    placed += 1;
    const { id } = decision.ranked[0];
    fleet.reserve(id, wish);
    claims.push({ id, wish });
    const oldest = claims.length > claimsMax ? claims.shift() : undefined;
    if (oldest !== undefined) fleet.release(oldest.id, oldest.wish);
  };
  const wishes = Object.entries(kinds);
  const micros = new Map<string, number[]>(wishes.map(([kind]) => [kind, []]));
  const rounds = Math.ceil(decisions / wishes.length);
  // Compiled by then.
  for (let round = 0; round < Math.ceil(rounds / 4); round += 1) for (const [, wish] of wishes) decide(wish);
  placed = 0;
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round += 1)
    for (const [kind, wish] of wishes) {
      const startedAt = performance.now();
      decide(wish);
      micros.get(kind)?.push((performance.now() - startedAt) * 1000);
    }
  const { user, system } = process.cpuUsage(before);
  return {
    decisionsPerSecond: ((rounds * wishes.length) / (user + system)) * 1e6,
    microsByKind: Object.fromEntries([...micros].map(([kind, all]) => [kind, median(all)])),
    placedShare: placed / (rounds * wishes.length),
  };
}

const DECISIONS = 20_000;

/** The median of the rounds for each figure. */
export function benchPlacementPure({
  rounds,
  quick,
}: {
  rounds: number;
  quick: boolean;
}): PlacementPureResult {
  const sized = (wolves: number): PlacementRate => {
    const found = Array.from({ length: Math.max(1, rounds) }, () =>
      measure(wolves, Math.ceil(DECISIONS / (quick ? 20 : 1))),
    );
    const middle = (of: (rate: PlacementRate) => number) => median(found.map(of));
    return {
      decisionsPerSecond: middle((rate) => rate.decisionsPerSecond),
      microsByKind: Object.fromEntries(
        Object.keys(kinds).map((kind) => [kind, middle((rate) => rate.microsByKind[kind] ?? 0)]),
      ),
      placedShare: middle((rate) => rate.placedShare),
    };
  };
  return { "100": sized(100), "1000": sized(1000), "10000": sized(10_000) };
}
