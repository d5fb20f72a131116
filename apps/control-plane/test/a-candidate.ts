/** A wolf that placement may take, a wish that asks for nothing in particular, and a fleet, for tests of decisions. */
import type { PlacementWeights } from "@wolfpack/api-contract";
import type { Candidate } from "../src/placement/candidate.ts";
import { Fleet } from "../src/placement/fleet.ts";
import type { PlacementSettings } from "../src/placement/placement.ts";
import type { Wish } from "../src/placement/wish.ts";

export function aCandidate(overrides: Partial<Candidate> = {}): Candidate {
  return {
    id: "wlf_1",
    name: overrides.id ?? "wolf-1",
    epoch: 1,
    intent: "active",
    connectivity: "connected",
    health: "ok",
    quarantinedUntilMs: null,
    tunnel: true,
    reconciled: true,
    missing: [],
    gpuType: "nvidia",
    gpuModel: null,
    labels: {},
    region: null,
    costPerHour: null,
    images: null,
    rttMs: null,
    slots: { max: 12, claimed: 0, other: 0 },
    vramMb: { max: null, claimed: 0, other: 0 },
    encoderSessions: { max: null, claimed: 0, other: 0 },
    ...overrides,
  };
}

export function aWish(overrides: Partial<Wish> = {}): Wish {
  return {
    image: "xfce",
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
    ...overrides,
  };
}

export function aFleet(candidates: Iterable<Candidate>): Fleet {
  const fleet = new Fleet();
  for (const candidate of candidates) fleet.put(candidate);
  return fleet;
}

export const weigh = (weights: Partial<PlacementWeights>): PlacementWeights => ({
  load: 0,
  packing: 0,
  cost: 0,
  region: 0,
  image: 0,
  rtt: 0,
  ...weights,
});

export const someSettings: PlacementSettings = { randomBest: 3, weights: weigh({ load: 1 }) };
