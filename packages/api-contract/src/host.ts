/**
 * What an agent finds out about its host: facts that rarely change, and figures that always do. A figure that nobody could
 * read is null, which means unknown and never zero.
 */
import { z } from "zod";
import { GpuType, instant, line } from "./schema-parts.ts";

const GPUS_MAX = 16;
const DISKS_MAX = 32;
/** At 600 bytes each they fit into one notice. */
const IMAGES_MAX = 24;

const bytes = z.int().min(0);
const percent = z.number().min(0).max(100);
/** The bus address of Linux, or a card's number where it has none. */
const GpuId = line(31).min(1);

/** At most `max` items, of which none shares its key with another. */
const listOf = <Schema extends z.ZodType>(
  item: Schema,
  max: number,
  keyOf: (item: z.output<Schema>) => string,
) =>
  z
    .array(item)
    .max(max)
    .refine((items) => new Set(items.map(keyOf)).size === items.length, "names one twice");

export const Gpu = z
  .strictObject({
    id: GpuId.meta({
      description: "PCI address; it links the GPU with its figures.",
      example: "0000:01:00.0",
    }),
    vendor: GpuType.exclude(["none"]),
    model: line(127).nullable(),
    driver: line(63).nullable(),
    vram_bytes: bytes.nullable(),
    render_node: line(63).nullable(),
  })
  .meta({ id: "Gpu" });
export type Gpu = z.infer<typeof Gpu>;

export const HostFacts = z
  .strictObject({
    cpu_model: line(127).nullable(),
    cpu_count: z.int().min(1).max(4096),
    memory_bytes: bytes,
    gpus: listOf(Gpu, GPUS_MAX, ({ id }) => id),
  })
  .meta({ id: "HostFacts", description: "What the host consists of, as its agent found it." });
export type HostFacts = z.infer<typeof HostFacts>;

export const DiskLevel = z.enum(["ok", "warning", "critical"]).meta({ id: "DiskLevel" });
export type DiskLevel = z.infer<typeof DiskLevel>;

export const Mount = line(255).regex(/^\//, "does not begin with a slash");
export const DiskUsage = z
  .strictObject({
    mount: Mount,
    total_bytes: bytes,
    used_bytes: bytes,
    available_bytes: bytes.meta({ description: "For programs that are not root, as `df` says." }),
    level: DiskLevel,
  })
  .meta({ id: "DiskUsage" });
export type DiskUsage = z.infer<typeof DiskUsage>;

export const GpuUsage = z
  .strictObject({
    id: GpuId,
    utilisation_percent: percent.nullable(),
    vram_used_bytes: bytes.nullable(),
    encoder_sessions: z.int().min(0).max(10_000).nullable(),
    encoder_percent: percent.nullable(),
  })
  .meta({ id: "GpuUsage" });
export type GpuUsage = z.infer<typeof GpuUsage>;

/**
 * `unknown`: the vendor's tool is there but says nothing, or only zeros. `missing`: one that was there is gone, or none is
 * of the type that the agent was told.
 */
export const GpuState = z.enum(["ok", "unknown", "missing"]).meta({ id: "GpuState" });
export type GpuState = z.infer<typeof GpuState>;

export const HostUsage = z
  .strictObject({
    cpu_load: z
      .number()
      .min(0)
      .max(100_000)
      .nullable()
      .meta({ description: "Runnable tasks, mean of one minute." }),
    memory_available_bytes: bytes.nullable(),
    gpu_state: GpuState.nullable().meta({
      description: "`missing` and `unknown` degrade the wolf. Null: not read yet since the agent started.",
    }),
    gpu_detail: line(200).nullable(),
    gpus: listOf(GpuUsage, GPUS_MAX, ({ id }) => id),
    disks: listOf(DiskUsage, DISKS_MAX, ({ mount }) => mount),
    disk_detail: line(200)
      .nullable()
      .default(null)
      .meta({ description: "Disks that could not be read for 3 minutes, and why; they are not in `disks`." }),
  })
  .meta({ id: "HostUsage", description: "How busy the host is. Null is unknown." });
export type HostUsage = z.infer<typeof HostUsage>;

const digest = z.string().regex(/^sha256:[0-9a-f]{1,64}$/);
export const WolfImage = z
  .strictObject({
    name: line(255).min(1).meta({
      description: "As Wolf's lobbies and apps name it.",
      example: "ghcr.io/games-on-whales/xfce:edge",
    }),
    state: z
      .enum(["present", "absent", "unknown"])
      .meta({ description: "`absent`: not on this host. `unknown`: Wolf could not say." }),
    id: digest.nullable(),
    digest: digest.nullable().meta({ description: "Of its manifest in the registry it was pulled from." }),
    size_bytes: bytes.nullable(),
    created_at: instant.nullable(),
  })
  .meta({ id: "WolfImage", description: "A container image as Wolf sees it. Null is unknown." });
export type WolfImage = z.infer<typeof WolfImage>;
export const WolfImages = listOf(WolfImage, IMAGES_MAX, ({ name }) => name);

export const hostLimits = { gpusMax: GPUS_MAX, disksMax: DISKS_MAX, imagesMax: IMAGES_MAX } as const;
