/** What is filled in to make a session, and the request that it means, as functions of values. */
import type { CreateSessionRequest, PlacementPreviewRequest } from "@wolfpack/api-contract";

export interface ConstraintDraft {
  attribute: string;
  op: "in" | "not-in" | "exists" | "absent";
  values: string;
}

/** All as it is typed. */
export interface Draft {
  name: string;
  image: string;
  resolution: string;
  refresh: string;
  gpu: string;
  model: string;
  region: string;
  regionRequired: boolean;
  labels: string;
  constraints: readonly ConstraintDraft[];
  vram: string;
  encoders: string;
  policy: string;
  weights: Readonly<Record<WeightName, string>>;
  allowDegraded: boolean;
  disconnect: string;
  ttl: string;
  idle: string;
  pin: string;
  waits: boolean;
  deadline: string;
  priority: string;
}

export const weightNames = ["load", "packing", "cost", "region", "image", "rtt"] as const;
export type WeightName = (typeof weightNames)[number];

export const emptyDraft: Draft = {
  name: "",
  image: "",
  resolution: "1920x1080",
  refresh: "60",
  gpu: "",
  model: "",
  region: "",
  regionRequired: false,
  labels: "",
  constraints: [],
  vram: "",
  encoders: "1",
  policy: "",
  weights: { load: "1", packing: "0", cost: "0", region: "0", image: "0", rtt: "0" },
  allowDegraded: true,
  disconnect: "keep",
  ttl: "",
  idle: "",
  pin: "",
  waits: true,
  deadline: "",
  priority: "4",
};

const gpuTypes = new Set(["nvidia", "amd", "intel", "none"]);

/** A link may fill in what the wolf must have: `?gpu=nvidia&region=eu-west&model=4090&labels=zone=a`. */
export function draftOf(search: Readonly<Record<string, string | undefined>>): Draft {
  const { name = "", image = "", gpu = "", model = "", region = "", labels = "" } = search;
  return { ...emptyDraft, name, image, gpu: gpuTypes.has(gpu) ? gpu : "", model, region, labels };
}

/** By the name of its field. */
export type Problems = Partial<Record<keyof Draft, string>>;

interface Made {
  create: CreateSessionRequest;
  preview: PlacementPreviewRequest;
  problems: Problems;
}

/** `problems` is empty where the control plane may be asked; it decides what else is wrong. */
export function requestOf(draft: Draft): Made {
  const problems: Problems = {};
  const labels = labelsOf(draft.labels, problems);
  const vram = wholeOf("vram", draft.vram, 0, 1_048_576, problems) ?? 0;
  const encoders = wholeOf("encoders", draft.encoders, 0, 64, problems) ?? 1;
  const weights = draft.policy === "weighted" ? weightsOf(draft, problems) : undefined;
  const region = draft.region.trim();
  const wish = {
    ...(draft.gpu === "" ? {} : { gpu_type: draft.gpu as "nvidia" }),
    ...given("gpu_model", draft.model),
    ...given("region", draft.region),
    region_required: draft.regionRequired && region !== "",
    labels,
    constraints: constraintsOf(draft, problems),
    resources: { vram_mb: vram, encoder_sessions: encoders },
    ...(draft.policy === "" ? {} : { policy: draft.policy as "weighted" }),
    ...(weights === undefined ? {} : { weights }),
    allow_degraded: draft.allowDegraded,
    ...given("image", draft.image),
    queue: draft.waits,
    priority: wholeOf("priority", draft.priority, 0, 9, problems) ?? 4,
  };
  const ttl = wholeOf("ttl", draft.ttl, 60, 31_536_000, problems);
  const idle = wholeOf("idle", draft.idle, 60, 31_536_000, problems);
  const deadline = wholeOf("deadline", draft.deadline, 1, 86_400, problems);
  if (draft.pin !== "" && !/^[0-9]{4,16}$/.test(draft.pin)) problems.pin = "4 to 16 digits.";
  const create = {
    ...wish,
    ...given("name", draft.name),
    resolution: resolutionOf(draft, problems),
    disconnect_policy: draft.disconnect as "keep",
    ...(ttl === undefined ? {} : { ttl_seconds: ttl }),
    ...(idle === undefined ? {} : { idle_timeout_seconds: idle }),
    ...(draft.pin === "" ? {} : { pin: draft.pin }),
    ...(deadline === undefined || !draft.waits ? {} : { queue_deadline_seconds: deadline }),
    // Its page shows how it comes to run; nothing here has to wait for that.
    wait_seconds: 0,
  };
  return { create: create as CreateSessionRequest, preview: wish as PlacementPreviewRequest, problems };
}

function given<Name extends string>(name: Name, text: string): Partial<Record<Name, string>> {
  const value = text.trim();
  return value === "" ? {} : ({ [name]: value } as Record<Name, string>);
}

function wholeOf(
  field: keyof Draft,
  text: string,
  min: number,
  max: number,
  problems: Problems,
): number | undefined {
  const value = text.trim();
  if (value === "") return undefined;
  const number = Number(value);
  if (/^[0-9]{1,9}$/.test(value) && number >= min && number <= max) return number;
  problems[field] = `A whole number from ${min} to ${max}.`;
  return undefined;
}

/** `zone=a, disk=fast`, or each on its own line. */
export function labelsOf(text: string, problems: Problems): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of text.split(/[\n,]/).map((one) => one.trim())) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const name = pair.slice(0, at).trim();
    if (at < 1 || !/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/.test(name)) {
      problems.labels = "Pairs such as zone=a, with a comma or on lines of their own.";
      continue;
    }
    if (Object.hasOwn(labels, name)) problems.labels = `${name} is there twice.`;
    labels[name] = pair.slice(at + 1).trim();
  }
  if (Object.keys(labels).length > 32) problems.labels = "At most 32 labels.";
  return labels;
}

export function constraintsOf(
  { constraints }: Pick<Draft, "constraints">,
  problems: Problems,
): CreateSessionRequest["constraints"] {
  return constraints.map(({ attribute, op, values }) => {
    const listed = values
      .split(",")
      .map((one) => one.trim())
      .filter(Boolean);
    const wanted = op === "in" || op === "not-in";
    if (attribute.trim() === "") problems.constraints = "Each constraint names a label.";
    else if (wanted && listed.length === 0)
      problems.constraints = "Values are missing, with commas between them.";
    return { attribute: attribute.trim(), op, values: wanted ? listed : [] };
  });
}

function weightsOf({ weights }: Draft, problems: Problems): Record<WeightName, number> {
  const made = { load: 0, packing: 0, cost: 0, region: 0, image: 0, rtt: 0 };
  for (const name of weightNames) {
    const text = weights[name].trim();
    const number = text === "" ? 0 : Number(text);
    if (!Number.isFinite(number) || number < 0 || number > 100) problems.weights = "Numbers from 0 to 100.";
    else made[name] = number;
  }
  if (!problems.weights && Object.values(made).every((one) => one === 0))
    problems.weights = "One of them has to be above 0.";
  return made;
}

function resolutionOf(
  { resolution, refresh }: Draft,
  problems: Problems,
): CreateSessionRequest["resolution"] {
  const [width = 0, height = 0] = resolution.split("x").map(Number);
  const refresh_rate = wholeOf("refresh", refresh, 1, 240, problems) ?? 60;
  return { width, height, refresh_rate };
}

const places: Record<string, keyof Draft> = {
  name: "name",
  image: "image",
  resolution: "resolution",
  gpu_type: "gpu",
  gpu_model: "model",
  region: "region",
  region_required: "region",
  labels: "labels",
  constraints: "constraints",
  resources: "vram",
  policy: "policy",
  weights: "weights",
  ttl_seconds: "ttl",
  idle_timeout_seconds: "idle",
  pin: "pin",
  queue_deadline_seconds: "deadline",
  priority: "priority",
};

/** Where the control plane found fault, in the words of the fields here. Places it does not know are left to the whole. */
export function problemsOf(problem: Readonly<Record<string, unknown>> | undefined): Problems {
  const found: Problems = {};
  const errors = Array.isArray(problem?.errors) ? problem.errors : [];
  for (const error of errors as {
    path?: unknown;
    pointer?: unknown;
    message?: unknown;
    detail?: unknown;
  }[]) {
    const path = Array.isArray(error?.path)
      ? error.path.join(".")
      : String(error?.path ?? error?.pointer ?? "");
    const first = path.replace(/^[#/.]*(body[./])?/, "").split(/[./]/, 1)[0] ?? "";
    const field = Object.hasOwn(places, first) ? places[first] : undefined;
    const message = String(error?.message ?? error?.detail ?? "");
    if (field && message !== "") found[field] ??= `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  }
  return found;
}

/** Of one wish: the same key makes the same session once, however often it is asked for. */
export function newKey(random: (bytes: Uint8Array) => Uint8Array): string {
  return [...random(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
