/** What a user wishes of the wolf that is to run a session, which one was taken or would be, and why. */
import { z } from "zod";
import { GpuType, line } from "./schema-parts.ts";

export const LabelName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/);
export const Labels = z
  .record(LabelName, line(255))
  .refine((labels) => Object.keys(labels).length <= 32, "more than 32 labels");
export const Region = line(63).min(1);

export const PlacementPolicy = z
  .enum(["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"])
  .meta({ id: "PlacementPolicy" });
export type PlacementPolicy = z.infer<typeof PlacementPolicy>;

const weight = z.number().min(0).max(100).default(0);
/** Parts of a score, each from 0 (worst) to 1 (best). */
export const PlacementWeights = z
  .strictObject({
    load: weight.meta({ description: "Free slots of all." }),
    packing: weight.meta({ description: "Taken slots of all." }),
    cost: weight.meta({ description: "Cheap per hour, compared with the dearest that fits." }),
    region: weight.meta({ description: "In the region that is wished for." }),
    image: weight.meta({ description: "Has the image already." }),
    rtt: weight.meta({ description: "Near the control plane, by its tunnel." }),
  })
  .refine((weights) => Object.values(weights).some((one) => one > 0), "no weight is above 0")
  .meta({ id: "PlacementWeights", example: { load: 1, cost: 2 } });
export type PlacementWeights = z.infer<typeof PlacementWeights>;

/** Besides a wolf's labels these can be asked for, under names that no label has. */
export const wolfAttributes = ["wolf:id", "wolf:name", "wolf:region"] as const;
const CONSTRAINTS_MAX = 16;
const VALUES_MAX = 16;
export const PlacementConstraint = z
  .strictObject({
    attribute: z
      .union([LabelName, z.enum(wolfAttributes)])
      .meta({ description: "A label, or `wolf:id`, `wolf:name`, `wolf:region`." }),
    op: z.enum(["in", "not-in", "exists", "absent"]),
    values: z.array(line(255)).max(VALUES_MAX).default([]).meta({ description: "For `in` and `not-in`." }),
  })
  .refine(({ op, values }) => (op === "in" || op === "not-in") === values.length > 0, {
    path: ["values"],
    message: "`in` and `not-in` need values; `exists` and `absent` have none",
  })
  .meta({ id: "PlacementConstraint", example: { attribute: "zone", op: "in", values: ["a", "b"] } });
export type PlacementConstraint = z.infer<typeof PlacementConstraint>;

export const PlacementResources = z
  .strictObject({
    vram_mb: z.int().min(0).max(1_048_576).default(0).meta({
      description: "MiB of video memory kept for it. Above 0 only wolves are asked whose memory is known.",
    }),
    encoder_sessions: z.int().min(0).max(64).default(1).meta({
      description: "Video streams at once; matters where a wolf says how many it can encode.",
    }),
  })
  .meta({ id: "PlacementResources", description: "Besides its slot." });
export type PlacementResources = z.infer<typeof PlacementResources>;

/** Fields of a request that asks for a place. */
export const placementWish = {
  gpu_type: GpuType.optional().meta({ description: "Only wolves with this GPU; default: any." }),
  gpu_model: line(63).min(1).optional().meta({
    description: "Only wolves whose GPU's model contains this, in capitals or not.",
    example: "RTX 4090",
  }),
  labels: Labels.default({}).meta({
    description: "Labels that the wolf must have.",
    example: { zone: "a" },
  }),
  constraints: z.array(PlacementConstraint).max(CONSTRAINTS_MAX).default([]),
  region: Region.optional().meta({ description: "Wished for; another is taken when there is no room." }),
  region_required: z.boolean().default(false).meta({ description: "No other region." }),
  resources: PlacementResources.default({ vram_mb: 0, encoder_sessions: 1 }),
  policy: PlacementPolicy.optional().meta({ description: "Default: WOLFPACK_PLACEMENT_POLICY." }),
  weights: PlacementWeights.optional().meta({ description: "For the policy `weighted`." }),
  allow_degraded: z.boolean().default(true).meta({ description: "A degraded wolf, if no healthy one fits." }),
};

/** What a user may choose; above it is for operators and admins. */
export const PRIORITY_DEFAULT = 4;
/** Fields of the same request that say what becomes of it where there is no room now. */
export const queueWish = {
  queue: z.boolean().default(true).meta({
    description: "Wait for a wolf; false: 503 when there is no room, and no wait if it has to move later.",
  }),
  priority: z.int().min(0).max(9).default(PRIORITY_DEFAULT).meta({
    description: "In the queue, higher first. Above 4 is for operators and admins.",
  }),
} as const;

interface Contradictable {
  labels: Record<string, string>;
  constraints: readonly PlacementConstraint[];
  region?: string | undefined;
  region_required: boolean;
  policy?: PlacementPolicy | undefined;
  weights?: PlacementWeights | undefined;
}

/** A wish that no wolf can fulfil whatever the fleet: said with the place of each contradiction. */
export function checkWish(wish: Contradictable, context: z.core.$RefinementCtx): void {
  const issue = (path: (string | number)[], message: string) =>
    context.addIssue({ code: "custom", path, message });
  if (wish.weights !== undefined && wish.policy !== "weighted")
    issue(["weights"], "only with the policy `weighted`");
  if (wish.region_required && wish.region === undefined) issue(["region_required"], "needs a region");
  const wanted = new Map(Object.entries(wish.labels).map(([name, value]) => [name, new Set([value])]));
  if (wish.region_required && wish.region !== undefined) wanted.set("wolf:region", new Set([wish.region]));
  const forbidden = new Map<string, Set<string>>();
  const absent = new Set<string>();
  const present = new Set(wanted.keys());
  wish.constraints.forEach(({ attribute, op, values }, index) => {
    const at = ["constraints", index];
    if (op === "absent") absent.add(attribute);
    if (op === "exists") present.add(attribute);
    if (op === "in") {
      present.add(attribute);
      const before = wanted.get(attribute);
      const both = new Set(values.filter((value) => before === undefined || before.has(value)));
      wanted.set(attribute, both);
    }
    if (op === "not-in") {
      const all = forbidden.get(attribute) ?? new Set();
      for (const value of values) all.add(value);
      forbidden.set(attribute, all);
    }
    const left = wanted.get(attribute);
    const none = left !== undefined && [...left].every((value) => forbidden.get(attribute)?.has(value));
    if (none || (absent.has(attribute) && present.has(attribute)))
      issue(at, `contradicts what else is asked of ${attribute}`);
  });
}

export const PlacementFilter = z.enum([
  "intent",
  "connectivity",
  "health",
  "quarantine",
  "tunnel",
  "capabilities",
  "reconciled",
  "gpu_type",
  "gpu_model",
  "labels",
  "region",
  "avoided",
  "capacity",
  "vram",
  "encoder_sessions",
]);
export type PlacementFilter = z.infer<typeof PlacementFilter>;

export const Counterfactual = z
  .object({
    change: z.enum([
      "gpu_type",
      "gpu_model",
      "labels",
      "constraints",
      "region",
      "vram",
      "encoder_sessions",
      "slots",
      "degraded",
    ]),
    value: z.string().nullable().meta({ description: "What it would have to be, where one word says so." }),
    wolf_instance_id: z.string().nullable(),
    text: z.string(),
  })
  .meta({ id: "Counterfactual", description: "What would have to be different for it to fit." });
export type Counterfactual = z.infer<typeof Counterfactual>;

/** Of wolves that fit, in the order in which they are taken: each of a tier before any of the next, whatever its score. */
export const PlacementTier = z.enum(["as-wished", "other-region", "degraded", "degraded-other-region"]).meta({
  id: "PlacementTier",
  description:
    "Of a wolf that fits; all of one tier are taken before any of the next. `as-wished`: healthy, and in the region that was wished for, if one was. With the policy `weighted` a region is a weight and no tier.",
});
export type PlacementTier = z.infer<typeof PlacementTier>;

const RANKED_MAX = 5;
const COUNTERFACTUALS_MAX = 5;
export const PlacementExplanation = z
  .object({
    policy: PlacementPolicy,
    outcome: z
      .enum(["placed", "not-now", "impossible"])
      .default("placed")
      .meta({ description: "`impossible`: no wolf that is known could ever take it." }),
    candidates: z.int().min(0),
    removed: z.array(z.object({ filter: PlacementFilter, count: z.int().min(1) })),
    ranked: z
      .array(
        z.object({
          wolf_instance_id: z.string(),
          tier: PlacementTier.optional().meta({ description: "Explanations of before do not say it." }),
          load: z.number(),
          score: z.number().default(0),
          parts: z.record(z.string(), z.number()).default({}),
        }),
      )
      .max(RANKED_MAX),
    counterfactuals: z.array(Counterfactual).max(COUNTERFACTUALS_MAX).default([]),
    text: z.string(),
  })
  .meta({ id: "PlacementExplanation", description: "Why this wolf, or why none." });
export type PlacementExplanation = z.infer<typeof PlacementExplanation>;

export const PlacementPreviewRequest = z
  .strictObject({
    ...placementWish,
    image: line(255).min(1).optional().meta({ description: "Matters where images do, by weight." }),
    ...queueWish,
  })
  .superRefine(checkWish)
  .meta({ id: "PlacementPreviewRequest", example: { gpu_type: "nvidia", labels: { zone: "a" } } });
export type PlacementPreviewRequest = z.infer<typeof PlacementPreviewRequest>;

export const PlacementRefusal = z
  .object({
    code: z
      .enum(["quota-exceeded", "rate-limited", "no-capacity", "queue-full"])
      .meta({ description: "Of the problem that creating it would be answered with." }),
    text: z.string(),
    current: z.int().min(0).nullable().meta({
      description: "How many there are already: of the user's, or in the queue. Null: not counted.",
    }),
    limit: z.int().min(0).nullable().meta({ description: "How many there may be." }),
  })
  .meta({
    id: "PlacementRefusal",
    description: "Why a session would not be made now, whatever it wishes for.",
  });
export type PlacementRefusal = z.infer<typeof PlacementRefusal>;

export const PlacementPreview = z
  .object({
    outcome: z.enum(["placed", "queued", "refused", "impossible"]).meta({
      description:
        "What a session with this wish, of whoever asks, would be now. `refused`: not made, as `refusal` says; the explanation is of the wolves alone.",
    }),
    wolf_instance_id: z
      .string()
      .nullable()
      .meta({ description: "The wolf that it would get; null also where it would be refused." }),
    queue_position: z
      .int()
      .min(1)
      .nullable()
      .meta({ description: "Its place in the queue, if it had to wait; 1 is next." }),
    refusal: PlacementRefusal.nullable(),
    explanation: PlacementExplanation,
  })
  .meta({ id: "PlacementPreview" });
export type PlacementPreview = z.infer<typeof PlacementPreview>;
export const placementLimits = { rankedMax: RANKED_MAX, counterfactualsMax: COUNTERFACTUALS_MAX } as const;
