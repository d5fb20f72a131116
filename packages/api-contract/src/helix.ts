/**
 * What Helix's daemons and scripts send to the routes that we have in common, and what they read there. Their bodies are taken with
 * the fields of every version; ours stay as strict as they are.
 */
import { z } from "zod";
import { type DiskLevel, hostLimits, Mount } from "./host.ts";
import { WolfId } from "./ids.ts";
import { GpuType, instant, line } from "./schema-parts.ts";

const bytes = z.int().min(0);
const gpuTypes: readonly string[] = GpuType.options;

/** Free text there. What we have no word for (`neuron`, …) renders no session of ours. */
const gpuTypeOf = (text: string): GpuType => {
  const word = text.toLowerCase();
  return gpuTypes.includes(word) ? (word as GpuType) : "none";
};
export const LooseGpuType = line(63)
  .transform(gpuTypeOf)
  .meta({ description: "`nvidia`, `amd`, `intel` or `none`; any other text is `none`.", example: "nvidia" });

/** Helix's own default, which a client there asks for by 0. */
const HELIX_SANDBOXES = 10;
export const looseSandboxes = (max: number, byDefault: number) =>
  z
    .int()
    .min(0)
    .max(max)
    .transform((count) => (count === 0 ? HELIX_SANDBOXES : count))
    .default(byDefault)
    .meta({ description: `Default ${byDefault}. 0 is ${HELIX_SANDBOXES}, as with Helix.` });

const HelixDiskUsage = z
  .object({
    mount_point: Mount,
    total_bytes: bytes,
    used_bytes: bytes,
    avail_bytes: bytes,
    used_percent: z.number().nullish(),
    alert_level: z.string().max(63).nullish().meta({
      description:
        "`ok`, `warning` or `critical`; anything else: what `used_percent` says, from 80 and from 95.",
    }),
  })
  .meta({ id: "HelixDiskUsage" });
export type HelixDiskUsage = z.infer<typeof HelixDiskUsage>;

/** A Go program says `null` for a list that it has not made. */
const read = {
  gpu_vendor: z
    .union([z.literal("").transform(() => undefined), LooseGpuType])
    .nullish()
    .meta({ description: "Becomes the wolf's `gpu_type`. Empty: not known." }),
  render_node: line(255).nullish().meta({ description: "`SOFTWARE`: no GPU renders." }),
  disk_usage: z
    .array(HelixDiskUsage)
    .max(hostLimits.disksMax)
    .refine(
      (disks) => new Set(disks.map((disk) => disk.mount_point)).size === disks.length,
      "names one twice",
    )
    .nullish()
    .meta({ description: "Becomes `usage.disks`, and samples of the disk history." }),
};
const ignored = z.unknown().optional().meta({ description: "Ignored." });
const unread = {
  desktop_versions: ignored,
  sway_version: ignored,
  container_usage: ignored,
  privileged_mode_enabled: ignored,
  instance_type: ignored,
  helix_version: ignored,
  gpus: ignored,
  profile_status: ignored,
  profile_error: ignored,
  service_health: ignored,
  profile_progress: ignored,
};
const helixFields = [...Object.keys(read), ...Object.keys(unread)];

/** A heartbeat of Helix's daemon: none of ours has any of its fields. */
export const isOfHelix = (body: object): boolean => helixFields.some((field) => Object.hasOwn(body, field));

/**
 * A heartbeat with `own` fields, or with those of Helix's `sandbox-heartbeat`: a body that has any of the latter may have others, which
 * are ignored; one that has none may not.
 */
export function heartbeatWith<Own extends z.ZodRawShape>(own: Own) {
  const known = { ...own, ...read, ...unread };
  return z.looseObject(known).superRefine((body, context) => {
    if (isOfHelix(body)) return;
    const keys = Object.keys(body).filter((key) => !Object.hasOwn(known, key));
    if (keys.length > 0) context.addIssue({ code: "unrecognized_keys", keys, input: body });
  });
}

const HOURS_MAX = 168;
const HOURS_DEFAULT = 24;
/** What is no number of hours is a day, as it is there. */
export const Hours = z
  .union([z.number(), z.string().max(63)])
  .transform((given) => {
    const hours = typeof given === "number" || /^[0-9]+$/.test(given) ? Number(given) : Number.NaN;
    return Number.isInteger(hours) && hours >= 1 && hours <= HOURS_MAX ? hours : HOURS_DEFAULT;
  })
  .meta({
    description: `Asks for Helix's answer about so many hours, 1 to ${HOURS_MAX}; anything else is ${HOURS_DEFAULT}.`,
    override: ({ jsonSchema }) => {
      delete jsonSchema.anyOf;
      Object.assign(jsonSchema, { type: "integer", minimum: 1, maximum: HOURS_MAX });
    },
  });

const mebibytes = z.int().min(0);
export const HelixDiskHistory = z
  .object({
    wolf_instance_id: WolfId,
    wolf_name: z.string(),
    history: z
      .array(
        z.object({
          timestamp: instant,
          mount_point: z.string(),
          total_mb: mebibytes,
          used_mb: mebibytes,
          avail_mb: mebibytes,
          used_percent: z.number(),
          alert_level: z.enum(["ok", "warning", "critical"] satisfies DiskLevel[]),
        }),
      )
      .meta({ description: "Oldest first; of more than 10,000 the newest." }),
    containers: z
      .array(z.object({ container_name: z.string(), latest_size_mb: mebibytes }))
      .meta({ description: "Always empty: sizes of containers are not kept." }),
  })
  .meta({ id: "HelixDiskHistory", description: "The disk history in Helix's words." });
export type HelixDiskHistory = z.infer<typeof HelixDiskHistory>;
