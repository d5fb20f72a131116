/** All of a host's GPUs out of sysfs and the vendor's tool, and whether their figures can be believed. */
import { type Gpu, type GpuState, type GpuUsage, hostLimits } from "@wolfpack/api-contract";
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

/** `known`: ids of GPUs that were there earlier. */
export function readGpus(
  cards: readonly Card[],
  nvidia: NvidiaAnswer | undefined,
  known: ReadonlySet<string>,
): GpuReading {
  const merged = new Map(cards.map((card) => [card.gpu.id, card]));
  for (const { gpu, usage } of nvidia?.cards ?? []) {
    const render_node = merged.get(gpu.id)?.gpu.render_node ?? null;
    merged.set(gpu.id, { gpu: { ...gpu, render_node }, usage });
  }
  const found = [...merged.values()].slice(0, hostLimits.gpusMax);
  const reading = { gpus: found.map(({ gpu }) => gpu), usage: found.map(({ usage }) => usage) };
  const gone = [...known].filter((id) => !merged.has(id));
  if (gone.length > 0) return { ...reading, state: "missing", detail: cut(gone.join(", ")) };
  const silent = found.filter(({ gpu, usage }) => gpu.vendor === "nvidia" && isSilent(usage));
  if (nvidia?.trouble !== undefined && (silent.length > 0 || known.size > 0))
    return { ...reading, state: "unknown", detail: cut(nvidia.trouble) };
  if (nvidia !== undefined && silent.length > 0) {
    const ids = silent.map(({ gpu }) => gpu.id).join(", ");
    return { ...reading, state: "unknown", detail: cut(`no figures, or only zeros: ${ids}`) };
  }
  return { ...reading, state: "ok", detail: null };
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
