/** The flags that say which wolf a session may get; the same for a preview. */
import type { GpuType, PlacementPolicy } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { pairs, resolution, several, whole } from "../parse.ts";

export interface WishFlags {
  image?: string;
  resolution?: string;
  gpu?: GpuType;
  gpuModel?: string;
  label?: string[];
  where?: string[];
  region?: string;
  regionRequired?: boolean;
  vram?: string;
  streams?: string;
  policy?: PlacementPolicy;
  weight?: string[];
  degraded: boolean;
}

/** What becomes of it where there is no room now. */
export interface QueueFlags {
  queue: boolean;
  priority?: string;
}

export function queueOptions(command: Command): Command {
  return command
    .option("--no-queue", "Fail where there is no room, instead of waiting for it")
    .option("--priority <0-9>", "In the queue, the highest first; above 4 is for operators; default: 4");
}

/** Throws UsageError. */
export const queueOf = ({ queue, priority }: QueueFlags): Record<string, unknown> => ({
  ...(queue === false && { queue: false }),
  ...(priority !== undefined && { priority: whole("--priority", priority) }),
});

export function wishOptions(command: Command): Command {
  return command
    .option("--image <reference>", "Container image; default: the control plane's")
    .addOption(
      new Option("--gpu <type>", "Only wolves with this GPU").choices(["nvidia", "amd", "intel", "none"]),
    )
    .option("--gpu-model <text>", "Only wolves whose GPU's model contains this")
    .addOption(
      new Option("--label <name=value>", "The wolf must have it; several are allowed").argParser(several),
    )
    .addOption(
      new Option(
        "--where <condition>",
        "zone=a,b  zone!=c  zone  !zone; also wolf:name, wolf:id, wolf:region",
      ).argParser(several),
    )
    .option("--region <region>", "Wished for; another is taken where there is no room")
    .option("--region-required", "No other region")
    .option("--vram <MiB>", "Video memory kept for it; default: 0")
    .option("--streams <number>", "Video streams at once; default: 1")
    .addOption(
      new Option("--policy <policy>", "How to choose; default: the control plane's").choices([
        "least-loaded",
        "bin-pack",
        "random-of-best",
        "cost",
        "weighted",
      ]),
    )
    .addOption(
      new Option("--weight <part=number>", "For the policy weighted: load=1, cost=2, …").argParser(several),
    )
    .option("--no-degraded", "No degraded wolf, not even where no healthy one fits");
}

/** Checked further by the control plane. Throws UsageError. */
export function wishOf(flags: WishFlags): Record<string, unknown> {
  const resources = {
    ...(flags.vram !== undefined && { vram_mb: whole("--vram", flags.vram) }),
    ...(flags.streams !== undefined && { encoder_sessions: whole("--streams", flags.streams) }),
  };
  return {
    ...(flags.image !== undefined && { image: flags.image }),
    ...(flags.resolution !== undefined && { resolution: resolution("--resolution", flags.resolution) }),
    ...(flags.gpu !== undefined && { gpu_type: flags.gpu }),
    ...(flags.gpuModel !== undefined && { gpu_model: flags.gpuModel }),
    ...(flags.label !== undefined && { labels: pairs("--label", flags.label) }),
    ...(flags.where !== undefined && { constraints: flags.where.map(constraint) }),
    ...(flags.region !== undefined && { region: flags.region }),
    ...(flags.regionRequired && { region_required: true }),
    ...(Object.keys(resources).length > 0 && { resources }),
    ...(flags.policy !== undefined && { policy: flags.policy }),
    ...(flags.weight !== undefined && { weights: weights(flags.weight) }),
    ...(flags.degraded === false && { allow_degraded: false }),
  };
}

export function constraint(text: string): { attribute: string; op: string; values: string[] } {
  const [, attribute = "", op, values = ""] = /^([^=!,\s]+)(!=|=)(.+)$/.exec(text) ?? [];
  if (op !== undefined) return { attribute, op: op === "=" ? "in" : "not-in", values: values.split(",") };
  const [, absent, name = ""] = /^(!?)([^=!,\s]+)$/.exec(text) ?? [];
  if (absent === undefined)
    throw new UsageError("--where is name=value,value, or name!=value, or name, or !name.");
  return { attribute: name, op: absent === "!" ? "absent" : "exists", values: [] };
}

function weights(texts: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    Object.entries(pairs("--weight", texts)).map(([part, text]) => {
      if (!/^[0-9]{1,3}(\.[0-9]{1,6})?$/.test(text))
        throw new UsageError("--weight is part=number, such as cost=2.");
      return [part, Number(text)];
    }),
  );
}
