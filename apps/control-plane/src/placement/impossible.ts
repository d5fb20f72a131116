/** Why no wolf that is known could ever take it: which fields of the request exclude all of them, and what there is instead. */
import type { PlacementConstraint } from "@wolfpack/api-contract";
import type { Candidate } from "./candidate.ts";
import { FAULTS_FOR_EVER, holds, matches } from "./profile.ts";
import { faultsByProfile, type Question } from "./sift.ts";
import type { Wish } from "./wish.ts";

export interface Blame {
  errors: { path: string; message: string }[];
  /** By field: what there is of it, among the wolves that the fields before it leave. */
  allowed: Record<string, string[]>;
}

const VALUES_MAX = 16;

export function blame(question: Question): Blame {
  const { wish } = question;
  const before: string[] = [];
  let left: readonly Candidate[] = known(question);
  for (const { path, keeps, accuse } of stages) {
    const kept = left.filter((wolf) => keeps(wolf, wish));
    if (kept.length === 0) return accuse(left, wish, which(before));
    if (kept.length < left.length) before.push(path);
    left = kept;
  }
  return blameResources(question, before);
}

/** Those not retired; one wolf for each profile, unless the wish looks at single ones. */
function known({ fleet, isNamed }: Question): Candidate[] {
  const seen = new Uint8Array(fleet.profiles.idsEnd);
  return fleet.candidates.filter(({ intent }, row) => {
    const profile = fleet.columns.profile[row] as number;
    if (intent === "retired" || (isNamed === undefined && seen[profile] === 1)) return false;
    seen[profile] = 1;
    return true;
  });
}

interface Stage {
  path: string;
  keeps: (wolf: Candidate, wish: Wish) => boolean;
  accuse: (left: readonly Candidate[], wish: Wish, whichFit: string) => Blame;
}

const stages: readonly Stage[] = [
  {
    path: "gpu_type",
    keeps: matches.gpuType,
    accuse: (left, { gpuType }, whichFit) => ({
      errors: [{ path: "gpu_type", message: `No wolf${whichFit} has the GPU type ${gpuType}.` }],
      allowed: { gpu_type: valuesOf(left, (wolf) => wolf.gpuType) },
    }),
  },
  {
    path: "gpu_model",
    keeps: matches.gpuModel,
    accuse: (left, { gpuModel }, whichFit) => ({
      errors: [
        { path: "gpu_model", message: `No wolf${whichFit} has a GPU whose model contains ${gpuModel}.` },
      ],
      allowed: { gpu_model: valuesOf(left, (wolf) => wolf.gpuModel) },
    }),
  },
  {
    path: "labels",
    keeps: (wolf, wish) =>
      matches.labels(wolf, wish) && wish.constraints.every((constraint) => holds(constraint, wolf)),
    accuse: blameLabels,
  },
  {
    path: "region",
    keeps: matches.region,
    accuse: (left, { region }, whichFit) => ({
      errors: [{ path: "region", message: `No wolf${whichFit} is in region ${region}.` }],
      allowed: { region: valuesOf(left, (wolf) => wolf.region) },
    }),
  },
];

interface Condition {
  path: string;
  attribute: string;
  holds: (wolf: Candidate) => boolean;
  wanted: string;
}

/** Labels and constraints: those which alone exclude all, or else all of them together. */
function blameLabels(left: readonly Candidate[], wish: Wish, whichFit: string): Blame {
  const all: Condition[] = [
    ...Object.entries(wish.labels).map(([name, value]) => ({
      path: "labels",
      attribute: name,
      holds: (wolf: Candidate) => matches.label(wolf, name, value),
      wanted: `the label ${name}=${value}`,
    })),
    ...wish.constraints.map((constraint, index) => ({
      path: `constraints.${index}`,
      attribute: constraint.attribute,
      holds: (wolf: Candidate) => holds(constraint, wolf),
      wanted: wordsOf(constraint),
    })),
  ];
  const alone = all.filter((condition) => !left.some((wolf) => condition.holds(wolf)));
  const guilty = alone.length > 0 ? alone : all;
  const together = alone.length > 0 ? "" : " together with the other labels and constraints";
  const allowed = new Map<string, string[]>();
  for (const { attribute } of guilty) {
    if (attribute === "wolf:region")
      allowed.set(
        "region",
        valuesOf(left, ({ region }) => region),
      );
    else if (!attribute.startsWith("wolf:"))
      allowed.set(
        `labels.${attribute}`,
        valuesOf(left, ({ labels }) => (Object.hasOwn(labels, attribute) ? labels[attribute] : null)),
      );
  }
  return {
    errors: guilty.map(({ path, wanted }) => ({
      path,
      message: `No wolf${whichFit} has ${wanted}${together}.`,
    })),
    allowed: Object.fromEntries(allowed),
  };
}

function wordsOf({ attribute, op, values }: PlacementConstraint): string {
  if (op === "exists") return `any ${attribute}`;
  if (op === "absent") return `no ${attribute}`;
  return `${attribute} ${op === "in" ? "among" : "outside"} ${values.join(", ")}`;
}

function blameResources(question: Question, before: readonly string[]): Blame {
  const { wish, fleet, isNamed } = question;
  const faults = faultsByProfile(question);
  const left = fleet.candidates.filter(
    (_, row) =>
      ((faults[fleet.columns.profile[row] as number] as number) & FAULTS_FOR_EVER) === 0 &&
      isNamed?.(row) !== false,
  );
  const roomy = left.filter(({ vramMb }) => !(wish.vramMb > 0) || (vramMb.max ?? 0) >= wish.vramMb);
  if (roomy.length === 0) {
    const path = "resources.vram_mb";
    const message = `No wolf${which(before)} is known to have ${wish.vramMb} MiB of video memory.`;
    return { errors: [{ path, message }], allowed: { [path]: [most(left.map(({ vramMb }) => vramMb.max))] } };
  }
  const path = "resources.encoder_sessions";
  const asked = wish.vramMb > 0 ? [...before, "resources.vram_mb"] : before;
  const message = `No wolf${which(asked)} can encode ${wish.encoderSessions} streams at once.`;
  const max = most(roomy.map(({ encoderSessions }) => encoderSessions.max));
  return { errors: [{ path, message }], allowed: { [path]: [max] } };
}

/** Behind "No wolf": what has been asked for before and was not enough to exclude all. */
const which = (before: readonly string[]) => (before.length === 0 ? "" : ` that fits ${before.join(", ")}`);

/** Absurd numbers count for nothing. Not `Math.max`, since ten thousand arguments are too many for a call. */
function most(values: readonly (number | null)[]): string {
  let highest = 0;
  for (const value of values) if (value !== null && value > highest) highest = value;
  return String(highest);
}

function valuesOf(
  wolves: readonly Candidate[],
  value: (wolf: Candidate) => string | null | undefined,
): string[] {
  const values = new Set(wolves.map(value).filter((one) => one !== null && one !== undefined));
  return [...values].sort().slice(0, VALUES_MAX);
}
