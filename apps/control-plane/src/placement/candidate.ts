/** A wolf as placement sees it, and what its numbers mean there. Numbers come from hosts: any of them may be absurd, none may make a decision fail. */
import type { Connectivity, GpuType, Health, Intent } from "@wolfpack/api-contract";

export interface Resource {
  /** Null: not known, or not limited. */
  readonly max: number | null;
  readonly claimed: number;
  /** Measured use besides the claims. */
  readonly other: number;
}

export interface Candidate {
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly intent: Intent;
  readonly connectivity: Connectivity;
  readonly health: Health;
  readonly quarantinedUntilMs: number | null;
  /** A tunnel leads there. */
  readonly tunnel: boolean;
  /** What its Wolf runs has been compared with what it should since its tunnel came up. */
  readonly reconciled: boolean;
  /** Routes that its Wolf lacks. */
  readonly missing: readonly string[];
  readonly gpuType: GpuType;
  readonly gpuModel: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly region: string | null;
  readonly costPerHour: number | null;
  /** Present there; null: not known. */
  readonly images: readonly string[] | null;
  readonly rttMs: number | null;
  readonly slots: Resource & { readonly max: number };
  readonly vramMb: Resource;
  readonly encoderSessions: Resource;
}

/** 0 to 1. What other lobbies take is not load, but room that is gone. */
export function loadOf({ slots: { max, claimed } }: Pick<Candidate, "slots">): number {
  const load = claimed / max;
  return Number.isNaN(load) ? 1 : Math.min(1, Math.max(0, load));
}

/** Amounts that are free or wished for stay between this and its negative: any difference of two has 32 bits. */
const AMOUNT_MAX = 2 ** 29;
export const UNLIMITED = 2 ** 30 - 1;
export const NOTHING = -AMOUNT_MAX;

/** Whole; negative where more is used than there is. What is absurd counts as nothing. */
export function freeOf({ max, claimed, other }: Resource, withoutMax: number): number {
  if (max === null) return withoutMax;
  const free = Math.floor(max - claimed - other);
  return Number.isNaN(free) ? NOTHING : Math.min(AMOUNT_MAX - 1, Math.max(NOTHING, free));
}

/** To be compared with what `freeOf` says. Who asks for 0 can go where less than that is free. */
export const wishedAmount = (amount: number) =>
  amount > 0 ? Math.min(AMOUNT_MAX, Math.ceil(amount)) : NOTHING;

/** Infinity: not known, which is dearer than any price. */
export function costOf({ costPerHour }: Pick<Candidate, "costPerHour">): number {
  return costPerHour !== null && costPerHour >= 0 ? costPerHour : Number.POSITIVE_INFINITY;
}

/** Round trip at which nearness is a half. */
const NEAR_MS = 50;
/** 0 (far or not known) to 1. */
export function nearnessOf({ rttMs }: Pick<Candidate, "rttMs">): number {
  return rttMs !== null && rttMs >= 0 ? 1 / (1 + rttMs / NEAR_MS) : 0;
}
