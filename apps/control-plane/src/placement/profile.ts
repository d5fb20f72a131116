/**
 * What many wolves have in common and no claim changes, and how a wish judges it: the first filter that removes such a wolf,
 * or all of its faults. Labels come from hosts and names from users: only own properties count.
 */
import { type PlacementConstraint, PlacementFilter, PlacementTier } from "@wolfpack/api-contract";
import type { Candidate } from "./candidate.ts";
import type { Wish } from "./wish.ts";

export type Profile = Pick<
  Candidate,
  | "intent"
  | "connectivity"
  | "health"
  | "tunnel"
  | "reconciled"
  | "missing"
  | "gpuType"
  | "gpuModel"
  | "labels"
  | "region"
  | "quarantinedUntilMs"
>;

export function profileSignature(profile: Profile): string {
  const labels = Object.entries(profile.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const { intent, connectivity, health, tunnel, reconciled, missing, gpuType, gpuModel, region } = profile;
  return JSON.stringify([
    intent,
    connectivity,
    health,
    tunnel,
    reconciled,
    missing,
    gpuType,
    gpuModel,
    region,
    labels,
    // That, and not until when, or each of them had a profile of its own.
    profile.quarantinedUntilMs !== null,
  ]);
}

/** All of a wish that a profile is judged by. */
export function wishSignature(wish: Wish): string {
  return JSON.stringify([
    wish.gpuType,
    wish.gpuModel,
    Object.entries(wish.labels),
    wish.constraints,
    wish.region,
    wish.regionRequired,
    wish.allowDegraded,
  ]);
}

/** A verdict below `FITS` is the place of a filter in their order. */
export const filters = PlacementFilter.options;
export const filterAt = Object.fromEntries(filters.map((name, at) => [name, at])) as Record<
  PlacementFilter,
  number
>;
/** What fits is this plus its tier, 0 to 3: the lower, the earlier it is taken. */
export const FITS = filters.length;
export const TIER_DEGRADED = 2;
export const TIER_OTHER_REGION = 1;
/** Their names, by number. */
export const tierNames = PlacementTier.options;
export const TIERS = tierNames.length;
/** On top of a verdict: whether a quarantine is over is for each wolf to see. */
export const MAYBE_QUARANTINED = 32;

export const matches = {
  gpuType: (profile: Profile, wish: Wish) => wish.gpuType === null || profile.gpuType === wish.gpuType,
  gpuModel: (profile: Profile, wish: Wish) =>
    wish.gpuModel === null || profile.gpuModel?.toLowerCase().includes(wish.gpuModel.toLowerCase()) === true,
  label: (profile: Profile, name: string, value: string) => labelOf(profile, name) === value,
  labels: (profile: Profile, wish: Wish) => {
    // Not by `Object.entries`, which makes something for each of thousands of profiles.
    for (const name in wish.labels)
      if (Object.hasOwn(wish.labels, name) && labelOf(profile, name) !== wish.labels[name]) return false;
    return true;
  },
  /** Those on what each wolf has of its own are left to `namesWolf`. */
  constraints: (profile: Profile, wish: Wish) =>
    wish.constraints.every((constraint) => namesWolf(constraint) || holds(constraint, profile)),
  region: (profile: Profile, wish: Wish) =>
    wish.region === null || !wish.regionRequired || profile.region === wish.region,
} as const;

const labelOf = ({ labels }: Pick<Profile, "labels">, name: string): string | undefined =>
  Object.hasOwn(labels, name) ? labels[name] : undefined;

export const namesWolf = ({ attribute }: PlacementConstraint): boolean =>
  attribute === "wolf:id" || attribute === "wolf:name";

export function holds(
  { attribute, op, values }: PlacementConstraint,
  wolf: Pick<Profile, "labels" | "region"> & Partial<Pick<Candidate, "id" | "name">>,
): boolean {
  const value = attributeOf(wolf, attribute);
  if (op === "exists") return value !== undefined;
  if (op === "absent") return value === undefined;
  const isAmong = value !== undefined && values.includes(value);
  return op === "in" ? isAmong : !isAmong;
}

/** A wolf's own attributes hide a label of that name. */
function attributeOf(
  wolf: Pick<Profile, "labels" | "region"> & Partial<Pick<Candidate, "id" | "name">>,
  attribute: string,
): string | undefined {
  if (attribute === "wolf:id") return wolf.id;
  if (attribute === "wolf:name") return wolf.name;
  if (attribute === "wolf:region") return wolf.region ?? undefined;
  return labelOf(wolf, attribute);
}

/** The first filter that removes it whatever it runs, or its tier. */
export function verdictOf(profile: Profile, wish: Wish): number {
  return lastingVerdict(profile, wish) + (profile.quarantinedUntilMs === null ? 0 : MAYBE_QUARANTINED);
}

function lastingVerdict(profile: Profile, wish: Wish): number {
  if (profile.intent !== "active") return filterAt.intent;
  if (profile.connectivity !== "connected") return filterAt.connectivity;
  const isDegraded = profile.health !== "ok";
  if (profile.health === "failed" || (isDegraded && !wish.allowDegraded)) return filterAt.health;
  if (!profile.tunnel) return filterAt.tunnel;
  // First what an operator has to do: what a Wolf without lobbies runs is never compared.
  if (profile.missing.length > 0) return filterAt.capabilities;
  if (!profile.reconciled) return filterAt.reconciled;
  if (!matches.gpuType(profile, wish)) return filterAt.gpu_type;
  if (!matches.gpuModel(profile, wish)) return filterAt.gpu_model;
  if (!matches.labels(profile, wish) || !matches.constraints(profile, wish)) return filterAt.labels;
  if (!matches.region(profile, wish)) return filterAt.region;
  const isElsewhere = wish.region !== null && profile.region !== wish.region;
  return FITS + (isDegraded ? TIER_DEGRADED : 0) + (isElsewhere ? TIER_OTHER_REGION : 0);
}

/** Why a wolf does not fit, all at once: bits. The first eight are of its profile. */
export const fault = {
  /** Passes by itself, or is for an operator to end. */
  passing: 1,
  /** Neither the wish nor time will change it. */
  lasting: 2,
  degraded: 4,
  gpuType: 8,
  gpuModel: 16,
  labels: 32,
  constraints: 64,
  region: 128,
  slots: 256,
  vram: 512,
  encoderSessions: 1024,
} as const;
/** A wolf with one of these can never take it as it is wished. */
export const FAULTS_FOR_EVER =
  fault.lasting | fault.gpuType | fault.gpuModel | fault.labels | fault.constraints | fault.region;

export function faultsOf(profile: Profile, wish: Wish): number {
  const isThere = profile.intent === "active" && profile.connectivity === "connected" && profile.tunnel;
  // A newer Wolf is the operator's to install, and no other wish.
  const isReady = isThere && profile.reconciled && profile.missing.length === 0;
  return (
    (isReady && profile.health !== "failed" ? 0 : fault.passing) |
    (profile.intent === "retired" ? fault.lasting : 0) |
    (profile.health === "degraded" && !wish.allowDegraded ? fault.degraded : 0) |
    (matches.gpuType(profile, wish) ? 0 : fault.gpuType) |
    (matches.gpuModel(profile, wish) ? 0 : fault.gpuModel) |
    (matches.labels(profile, wish) ? 0 : fault.labels) |
    (matches.constraints(profile, wish) ? 0 : fault.constraints) |
    (matches.region(profile, wish) ? 0 : fault.region)
  );
}
