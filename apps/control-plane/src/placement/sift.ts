/** Which wolves of a fleet fit a wish now, and how many each filter removes: one pass over the fleet's columns. */
import { type Candidate, NOTHING, wishedAmount } from "./candidate.ts";
import type { Fleet } from "./fleet.ts";
import {
  FITS,
  faultsOf,
  filterAt,
  holds,
  MAYBE_QUARANTINED,
  namesWolf,
  verdictOf,
  wishSignature,
} from "./profile.ts";
import type { Wish } from "./wish.ts";

/** A wish for a fleet as it is: what it says of each profile, and of single wolves. */
export interface Question {
  readonly wish: Wish;
  readonly fleet: Fleet;
  readonly nowMs: number;
  /** By profile: the first filter that removes it, or `FITS` plus a tier, and `MAYBE_QUARANTINED`. */
  readonly verdicts: Uint8Array;
  /** Undefined: it names no wolf. */
  readonly isNamed: ((row: number) => boolean) | undefined;
  /** Rows. */
  readonly avoided: ReadonlySet<number>;
}

export function questionOf(wish: Wish, fleet: Fleet, nowMs: number): Question {
  const naming = wish.constraints.filter(namesWolf);
  const isNamed = (row: number) => {
    const wolf = fleet.candidates[row] as Candidate;
    return naming.every((constraint) => holds(constraint, wolf));
  };
  const verdicts = fleet.profiles.answers(
    `verdict ${wishSignature(wish)}`,
    () => (profile) => verdictOf(profile, wish),
  );
  const avoided = wish.avoid.map((id) => fleet.row(id)).filter((row) => row !== undefined);
  return {
    wish,
    fleet,
    nowMs,
    verdicts,
    isNamed: naming.length === 0 ? undefined : isNamed,
    avoided: new Set(avoided),
  };
}

/** By profile, all that is wrong with it; asked for only when nothing fits. */
export function faultsByProfile({ wish, fleet }: Question): Uint8Array {
  return fleet.profiles.answers(`faults ${wishSignature(wish)}`, () => (profile) => faultsOf(profile, wish));
}

export interface Sifted {
  /** How many are left; their rows and tiers are in the fleet's scratch, rows ascending. */
  fitting: number;
  /** By filter. */
  counts: Int32Array;
}

export function sift(question: Question): Sifted {
  const { fleet, verdicts, isNamed, avoided } = question;
  const counts = new Int32Array(MAYBE_QUARANTINED);
  if (isNamed === undefined && avoided.size === 0) {
    const { holders, idsEnd } = fleet.profiles;
    for (let id = 0; id < idsEnd; id += 1) count(counts, verdicts[id] as number, holders[id] as number);
    return { fitting: pass(question, fleet.columns.profile, verdicts, counts), counts };
  }
  const byRow = singleOut(question);
  for (let row = 0; row < fleet.size; row += 1) count(counts, byRow[row] as number, 1);
  return { fitting: pass(question, fleet.scratch.rows, byRow, counts), counts };
}

function count(counts: Int32Array, verdict: number, by: number): void {
  const at = verdict % MAYBE_QUARANTINED;
  counts[at] = (counts[at] as number) + by;
}

/** Verdicts by row, for a wish that names wolves or avoids some. */
function singleOut({ fleet, verdicts, isNamed, avoided }: Question): Uint8Array {
  const { profile } = fleet.columns;
  const byRow = fleet.scratch.verdicts;
  for (let row = 0; row < fleet.size; row += 1) {
    const shared = verdicts[profile[row] as number] as number;
    const quarantined = shared - (shared % MAYBE_QUARANTINED);
    let verdict = shared - quarantined;
    if (isNamed !== undefined && verdict > filterAt.labels && !isNamed(row)) verdict = filterAt.labels;
    if (avoided.has(row)) verdict = Math.min(verdict, filterAt.avoided);
    byRow[row] = verdict + quarantined;
  }
  return byRow;
}

/**
 * Collects what fits and corrects the counts by what each wolf has of its own. It chooses by arithmetic (a number shifted by 31
 * is -1 if it was negative, else 0) and calls nothing: in a mixed fleet a processor guesses a branch wrong so often that
 * guessing would be half of the time, and so would be a call, for what it makes the compiler forget.
 */
function pass(
  { wish, fleet, nowMs }: Question,
  index: Int32Array,
  verdicts: Uint8Array,
  counts: Int32Array,
): number {
  const { size } = fleet;
  const { quarantinedUntilMs, slotsFree, vramFreeMb, encoderFree } = fleet.columns;
  const { fits, tiers } = fleet.scratch;
  const encoders = wishedAmount(wish.encoderSessions);
  const isVramAsked = wish.vramMb > 0;
  // Who lacks memory too is counted for that.
  const encodersAtOnce = isVramAsked ? NOTHING : encoders;
  const { quarantine } = filterAt;
  let quarantined = 0;
  let fitting = 0;
  let noEncoder = 0;
  for (let row = 0; row < size; row += 1) {
    let verdict = verdicts[index[row] as number] as number;
    if (verdict >= MAYBE_QUARANTINED) {
      verdict -= MAYBE_QUARANTINED;
      if (verdict > quarantine && (quarantinedUntilMs[row] as number) > nowMs) {
        counts[verdict] = (counts[verdict] as number) - 1;
        quarantined += 1;
        verdict = quarantine;
      }
    }
    const gone = (verdict - FITS) >> 31;
    const slots = ((slotsFree[row] as number) - 1) >> 31;
    const encoder = ((encoderFree[row] as number) - encodersAtOnce) >> 31;
    noEncoder = (noEncoder - (encoder & ~(gone | slots))) | 0;
    fits[fitting] = row;
    tiers[fitting] = verdict - FITS;
    fitting = (fitting + 1 + (gone | slots | encoder)) | 0;
  }
  count(counts, quarantine, quarantined);
  // What is left of those that got so far.
  const asFar = counts.subarray(FITS).reduce((sum, one) => sum + one, 0);
  count(counts, filterAt.capacity, asFar - fitting - noEncoder);
  count(counts, filterAt.encoder_sessions, noEncoder);
  if (!isVramAsked) return fitting;
  const withVram = keepRoomy(fleet, fitting, vramFreeMb, wishedAmount(wish.vramMb));
  count(counts, filterAt.vram, fitting - withVram);
  const withBoth = keepRoomy(fleet, withVram, encoderFree, encoders);
  count(counts, filterAt.encoder_sessions, withVram - withBoth);
  return withBoth;
}

/** Of those collected the ones with so much free, moved together. */
function keepRoomy(fleet: Fleet, fitting: number, free: Int32Array, amount: number): number {
  const { fits, tiers } = fleet.scratch;
  let kept = 0;
  for (let at = 0; at < fitting; at += 1) {
    const row = fits[at] as number;
    fits[kept] = row;
    tiers[kept] = tiers[at] as number;
    kept = (kept + 1 + (((free[row] as number) - amount) >> 31)) | 0;
  }
  return kept;
}
