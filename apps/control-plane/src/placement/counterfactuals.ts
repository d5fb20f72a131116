/**
 * Nothing fits: could it ever, and what single change would make it fit now? Looks for the wolves that only one thing
 * keeps away. First what the asker could give up, the smallest first; then what somebody else would have to give back.
 */
import { type Counterfactual, placementLimits } from "@wolfpack/api-contract";
import { type Candidate, type Resource, wishedAmount } from "./candidate.ts";
import { FAULTS_FOR_EVER, fault, holds, matches, type Profile } from "./profile.ts";
import { faultsByProfile, type Question } from "./sift.ts";
import type { Wish } from "./wish.ts";

export interface Prospects {
  /** Some wolf that is known could take it as it is wished, at another time. */
  isPossible: boolean;
  counterfactuals: Counterfactual[];
}

const MAX = placementLimits.counterfactualsMax;
/** Of one kind of change, so that other kinds have room. */
const VALUES_MAX = 2;

export function prospectsOf(question: Question): Prospects {
  const { wish, fleet } = question;
  const faults = faultsByRow(question);
  const at = (row: number) => fleet.candidates[row] as Candidate;
  const slots = nearest(faults, fault.slots, fleet.columns.slotsFree);
  const vram = nearest(faults, fault.vram, fleet.columns.vramFreeMb);
  const encoders = nearest(faults, fault.encoderSessions, fleet.columns.encoderFree);
  const counterfactuals = [
    ...concessions(
      lonely(question, faults).map(({ row, faults: only, count }) => ({
        wolf: at(row),
        faults: only,
        count,
      })),
      wish,
    ),
    ...vram.slice(0, 1).map((row) => lowerVram(at(row))),
    ...encoders.slice(0, 1).map((row) => fewerEncoders(at(row))),
    ...slots.map((row) => wait(at(row), "slots", 1)),
    ...vram.map((row) => wait(at(row), "vram", wish.vramMb)),
    ...encoders.map((row) => wait(at(row), "encoder_sessions", wish.encoderSessions)),
  ];
  return {
    isPossible: faults.some((one, row) => (one & FAULTS_FOR_EVER) === 0 && couldHold(at(row), wish)),
    counterfactuals: counterfactuals.filter((one) => one !== undefined).slice(0, MAX),
  };
}

/** All that keeps each wolf away: what its profile has, and what it has of its own. */
function faultsByRow(question: Question): Int32Array {
  const { wish, fleet, nowMs, isNamed, avoided } = question;
  const { size } = fleet;
  const { profile, quarantinedUntilMs, slotsFree, vramFreeMb, encoderFree } = fleet.columns;
  const ofProfile = faultsByProfile(question);
  const [vram, encoders] = [wishedAmount(wish.vramMb), wishedAmount(wish.encoderSessions)];
  const { passing, slots, vram: noVram, encoderSessions: noEncoder, constraints } = fault;
  // The scratch of what fits: nothing does.
  const faults = fleet.scratch.fits.subarray(0, size);
  // By arithmetic and without a call, for the reasons of `sift`.
  for (let row = 0; row < size; row += 1) {
    const full = (((slotsFree[row] as number) - 1) >> 31) & slots;
    const short = (((vramFreeMb[row] as number) - vram) >> 31) & noVram;
    const busy = (((encoderFree[row] as number) - encoders) >> 31) & noEncoder;
    const waits = (quarantinedUntilMs[row] as number) > nowMs ? passing : 0;
    faults[row] = (ofProfile[profile[row] as number] as number) | full | short | busy | waits;
  }
  for (const row of avoided) faults[row] = (faults[row] as number) | passing;
  if (isNamed !== undefined)
    for (let row = 0; row < size; row += 1)
      if (!isNamed(row)) faults[row] = (faults[row] as number) | constraints;
  return faults;
}

/** If nothing else used it. */
function couldHold({ vramMb, encoderSessions }: Candidate, wish: Wish): boolean {
  const { vramMb: vram, encoderSessions: encoders } = wish;
  return (
    (!(vram > 0) || (vramMb.max ?? 0) >= vram) &&
    (!(encoders > 0) || encoderSessions.max === null || encoderSessions.max >= encoders)
  );
}

/** What the asker could give up. */
const CONCESSIONS =
  fault.degraded | fault.gpuType | fault.gpuModel | fault.labels | fault.constraints | fault.region;

/** Per profile how many wolves have one such fault and no other, and the first of them by id. */
function lonely({ fleet }: Question, faults: Int32Array): { row: number; faults: number; count: number }[] {
  const found: { row: number; faults: number; count: number }[] = [];
  /** By profile; one more than the index in `found`. */
  const places = new Int32Array(fleet.profiles.idsEnd);
  for (let row = 0; row < faults.length; row += 1) {
    const only = faults[row] as number;
    if ((only & CONCESSIONS) === 0 || (only & (only - 1)) !== 0) continue;
    const profile = fleet.columns.profile[row] as number;
    const known = found[(places[profile] as number) - 1];
    // Wolves of one profile may differ where a constraint names a wolf, and only there.
    if (known?.faults === only) known.count += 1;
    else places[profile] = found.push({ row, faults: only, count: 1 });
  }
  return found;
}

/** The few rows with this fault alone where the most is free; of equals the first by id. */
function nearest(faults: Int32Array, only: number, free: Int32Array): number[] {
  const rows: number[] = [];
  const freeAt = (at: number) => free[rows[at] as number] as number;
  let least = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < faults.length; row += 1) {
    if (faults[row] !== only || (free[row] as number) <= least) continue;
    let at = rows.length;
    while (at > 0 && freeAt(at - 1) < (free[row] as number)) at -= 1;
    rows.splice(at, 0, row);
    if (rows.length > MAX) rows.pop();
    if (rows.length === MAX) least = freeAt(MAX - 1);
  }
  return rows;
}

interface Lonely {
  /** One of them. */
  wolf: Candidate;
  faults: number;
  count: number;
}

type Change = Counterfactual["change"];

const kinds: readonly { fault: number; change: Change }[] = [
  { fault: fault.degraded, change: "degraded" },
  { fault: fault.region, change: "region" },
  { fault: fault.gpuModel, change: "gpu_model" },
  { fault: fault.gpuType, change: "gpu_type" },
  { fault: fault.labels, change: "labels" },
  { fault: fault.constraints, change: "constraints" },
];

/** What the asker could give up; of one kind what opens the most wolves first. */
function concessions(all: readonly Lonely[], wish: Wish): Counterfactual[] {
  return kinds.flatMap(({ fault: kind, change }) => {
    const byText = new Map<string, { one: Counterfactual; dropped: number; count: number }>();
    for (const { wolf, faults, count } of all) {
      if (faults !== kind) continue;
      const { value, text, dropped } = concession(change, wolf, wish);
      const known = byText.get(text);
      if (known !== undefined) known.count += count;
      else
        byText.set(text, {
          one: { change, value, wolf_instance_id: null, text: capped(text) },
          dropped,
          count,
        });
    }
    return [...byText.entries()]
      .sort(
        ([a, one], [b, other]) => one.dropped - other.dropped || other.count - one.count || (a < b ? -1 : 1),
      )
      .slice(0, VALUES_MAX)
      .map(([, { one }]) => one);
  });
}

/** Names come from users and hosts, and an explanation is kept with each session. */
const TEXT_CHARACTERS_MAX = 500;
const capped = (text: string) =>
  text.length <= TEXT_CHARACTERS_MAX ? text : `${text.slice(0, TEXT_CHARACTERS_MAX).toWellFormed()}…`;

/** `dropped`: how many wishes it takes. */
function concession(
  change: Change,
  wolf: Candidate,
  wish: Wish,
): { value: string | null; text: string; dropped: number } {
  const offered = { region: wolf.region, gpu_model: wolf.gpuModel, gpu_type: wolf.gpuType };
  switch (change) {
    case "region":
    case "gpu_model":
    case "gpu_type": {
      const value = offered[change];
      const words = { region: "in region", gpu_model: "on the GPU model", gpu_type: "on" }[change];
      if (value !== null) return { value, text: `It would fit ${words} ${value}.`, dropped: 1 };
      return { value, text: `It would fit without ${change}.`, dropped: 1 };
    }
    case "labels": {
      const lost = labelsMissed(wolf, wish).map(([name, label]) => `${name}=${label}`);
      return { value: null, text: `It would fit without ${many("label", lost)}.`, dropped: lost.length };
    }
    case "constraints": {
      const broken = wish.constraints.filter((constraint) => !holds(constraint, wolf));
      const words = broken.map(({ attribute, op }) => `${attribute} ${op}`);
      return {
        value: null,
        text: `It would fit without ${many("constraint", words)}.`,
        dropped: broken.length,
      };
    }
    default:
      return { value: null, text: "It would fit on a degraded wolf, with allow_degraded.", dropped: 1 };
  }
}

const many = (word: string, items: readonly string[]) =>
  `the ${word}${items.length === 1 ? "" : "s"} ${items.join(", ")}`;

const labelsMissed = (profile: Profile, wish: Wish): [string, string][] =>
  Object.entries(wish.labels).filter(([name, value]) => !matches.label(profile, name, value));

const left = ({ max, claimed, other }: Resource) =>
  Math.floor(Math.max(0, (max ?? 0) - claimed - other)) || 0;

function lowerVram({ id, vramMb }: Candidate): Counterfactual {
  const free = left(vramMb);
  const text =
    free === 0
      ? `It would fit on ${id} without video memory kept for it.`
      : `It would fit on ${id} with ${free} MiB of video memory.`;
  return { change: "vram", value: String(free), wolf_instance_id: id, text };
}

function fewerEncoders({ id, encoderSessions }: Candidate): Counterfactual {
  const free = left(encoderSessions);
  const text = `It would fit on ${id} with ${free} encoder session${free === 1 ? "" : "s"}.`;
  return { change: "encoder_sessions", value: String(free), wolf_instance_id: id, text };
}

const units = {
  slots: (n: number) => (n === 1 ? "1 slot were" : `${n} slots were`),
  vram: (n: number) => `${n} MiB of video memory were`,
  encoder_sessions: (n: number) => (n === 1 ? "1 encoder session were" : `${n} encoder sessions were`),
};
const resources = { slots: "slots", vram: "vramMb", encoder_sessions: "encoderSessions" } as const;

/** Undefined: so much is not there at all. */
function wait(wolf: Candidate, change: keyof typeof units, wished: number): Counterfactual | undefined {
  const { max, claimed, other } = wolf[resources[change]];
  const lacking = Math.ceil(claimed + other + wished - (max ?? 0));
  if (max === null || !(max >= wished) || !Number.isSafeInteger(lacking)) return undefined;
  const text = `It would fit if ${units[change](lacking)} free on ${wolf.id}.`;
  return { change, value: null, wolf_instance_id: wolf.id, text };
}
