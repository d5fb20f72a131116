/** All of a host's GPUs out of sysfs and the vendor's tool, and whether their figures can be believed. */
import { type Gpu, type GpuState, type GpuType, type GpuUsage, hostLimits } from "@wolfpack/api-contract";
import { printable } from "../printable.ts";
import type { Card } from "./drm.ts";
import { isUnknownField, nothingKnown, nvidiaArguments, nvidiaQueries, parseNvidia } from "./nvidia.ts";
import type { ToolResult } from "./tool.ts";

export interface GpuReading {
  gpus: Gpu[];
  usage: GpuUsage[];
  state: GpuState;
  detail: string | null;
}

export interface NvidiaAnswer {
  cards: Card[];
  /** Why the tool, which is there, says nothing of use. */
  trouble: string | undefined;
}

const DETAIL_CHARACTERS_MAX = 200;

/** Undefined: there is no such tool, which is no error. */
export async function askNvidia(
  run: (args: string[]) => Promise<ToolResult>,
): Promise<NvidiaAnswer | undefined> {
  for (const fields of nvidiaQueries) {
    const result = await run(nvidiaArguments(fields));
    if (result.outcome === "absent") return undefined;
    if (result.outcome === "failed") return { cards: [], trouble: `nvidia-smi: ${result.why}` };
    if (isUnknownField(result.output)) continue;
    const cards = parseNvidia(result.output, fields);
    const said = printable(result.output)
      .trim()
      .slice(0, DETAIL_CHARACTERS_MAX - 40);
    if (result.code !== 0) return { cards, trouble: `nvidia-smi ended with ${result.code}: ${said}` };
    return { cards, trouble: cards.length === 0 ? "nvidia-smi names no GPU" : undefined };
  }
  return { cards: [], trouble: "nvidia-smi knows none of the fields" };
}

/** What was seen since the agent started. */
export interface KnownGpus {
  /** Ids in sysfs. */
  sysfs: Set<string>;
  /** What the tool said of them, by id. */
  tool: Map<string, Gpu>;
}

export interface GpuSources {
  /** Of sysfs. */
  cards: readonly Card[];
  /** Undefined: there is no such tool. */
  nvidia: NvidiaAnswer | undefined;
  /** `--gpu-type`; undefined: nobody said. */
  wanted: GpuType | undefined;
}

/** A source in trouble says nothing of what is there: what is known of it stays, without figures. */
export function readGpus({ cards, nvidia, wanted }: GpuSources, known: KnownGpus): GpuReading {
  const merged = new Map(cards.map((card) => [card.gpu.id, card]));
  const trouble =
    nvidia === undefined && known.tool.size > 0 ? "nvidia-smi is not there any more" : nvidia?.trouble;
  const join = (gpu: Gpu, usage: GpuUsage) =>
    merged.set(gpu.id, { gpu: { ...gpu, render_node: merged.get(gpu.id)?.gpu.render_node ?? null }, usage });
  if (trouble !== undefined)
    for (const [id, gpu] of known.tool)
      if (merged.has(id) || !known.sysfs.has(id)) join(gpu, nothingKnown(id));
  for (const { gpu, usage } of nvidia?.cards ?? []) join(gpu, usage);
  const found = [...merged.values()].slice(0, hostLimits.gpusMax);
  const reading = { gpus: found.map(({ gpu }) => gpu), usage: found.map(({ usage }) => usage) };
  const is = (state: GpuState, detail: string): GpuReading => ({ ...reading, state, detail: cut(detail) });

  const gone = [...known.sysfs, ...known.tool.keys()].filter((id) => !merged.has(id));
  if (gone.length > 0) return is("missing", [...new Set(gone)].join(", "));
  const ofNvidia = found.filter(({ gpu }) => gpu.vendor === "nvidia");
  // A host of another kind may have the tool and nothing for it; only its operator can say so.
  const concerned = wanted === undefined || wanted === "nvidia" || ofNvidia.length > 0;
  if (trouble !== undefined && concerned) return is("unknown", trouble);
  const silent = ofNvidia.filter(({ usage }) => isSilent(usage));
  if (nvidia !== undefined && silent.length > 0)
    return is("unknown", `no figures, or only zeros: ${silent.map(({ gpu }) => gpu.id).join(", ")}`);
  if (wanted !== undefined && wanted !== "none" && !found.some(({ gpu }) => gpu.vendor === wanted))
    return is("missing", `none of type ${wanted}, as --gpu-type says`);
  return { ...reading, state: "ok", detail: null };
}

/** Remembers cards and states between two readings. */
export function gpuWatch(wanted: GpuType | undefined): (sources: Omit<GpuSources, "wanted">) => GpuReading {
  const known: KnownGpus = { sysfs: new Set(), tool: new Map() };
  const steady = steadyState();
  return ({ cards, nvidia }) => {
    const reading = steady(readGpus({ cards, nvidia, wanted }, known));
    for (const { gpu } of cards) known.sysfs.add(gpu.id);
    for (const { gpu } of nvidia?.cards ?? []) known.tool.set(gpu.id, gpu);
    return reading;
  };
}

/** A state that differs from the last one has to be seen twice before it counts. */
export function steadyState(): (reading: GpuReading) => GpuReading {
  let current: Pick<GpuReading, "state" | "detail"> | undefined;
  let candidate: GpuState | undefined;
  return (reading) => {
    const { state, detail } = reading;
    if (current === undefined || state === current.state || state === candidate) {
      current = { state, detail };
      candidate = undefined;
    } else candidate = state;
    return { ...reading, ...current };
  };
}

function isSilent(usage: GpuUsage): boolean {
  return JSON.stringify(usage) === JSON.stringify(nothingKnown(usage.id));
}

function cut(text: string): string {
  return text.slice(0, DETAIL_CHARACTERS_MAX).toWellFormed();
}
