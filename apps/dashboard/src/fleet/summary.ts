/** The fleet at a glance and what its table shows, as functions of values. */
import type { WolfInstance } from "@wolfpack/api-contract";
import { loadOf, slotsOf } from "./wolf-words.ts";

export interface Summary {
  wolves: number;
  online: number;
  degraded: number;
  offline: number;
  /** Of wolves that take sessions now. */
  slots: { used: number; other: number; max: number };
  gpus: number;
  /** Wolves that take no sessions although they are there. */
  heldBack: number;
}

/** Without wolves that are retired. */
export function summaryOf(rows: readonly WolfInstance[]): Summary {
  const summary: Summary = {
    wolves: 0,
    online: 0,
    degraded: 0,
    offline: 0,
    slots: { used: 0, other: 0, max: 0 },
    gpus: 0,
    heldBack: 0,
  };
  for (const wolf of rows) {
    if (wolf.intent === "retired") continue;
    summary.wolves += 1;
    summary[wolf.status] += 1;
    if (wolf.status === "offline") continue;
    summary.gpus += wolf.host?.gpus.length ?? (wolf.gpu_type === "none" ? 0 : 1);
    const { used, other, max } = slotsOf(wolf);
    summary.slots.used += used;
    summary.slots.other += other;
    if (wolf.intent === "active" && !wolf.quarantine) summary.slots.max += max;
    else {
      summary.heldBack += 1;
      summary.slots.max += used + other;
    }
  }
  return summary;
}

export interface Filter {
  text: string;
  status: string;
  gpu: string;
  region: string;
}

/** Words in any order, each somewhere in what a row says; `label=value` is found in its labels. */
export function filterWolves(rows: readonly WolfInstance[], filter: Filter): readonly WolfInstance[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const { status, gpu, region } = filter;
  if (words.length === 0 && !status && !gpu && !region) return rows;
  return rows.filter((wolf) => {
    if (gpu && wolf.gpu_type !== gpu) return false;
    if (region && (wolf.region ?? "-") !== region) return false;
    if (status && !isIn(wolf, status)) return false;
    if (words.length === 0) return true;
    const text = textOf(wolf);
    return words.every((word) => text.includes(word));
  });
}

function isIn(wolf: WolfInstance, status: string): boolean {
  if (status === "full") return wolf.status !== "offline" && loadOf(wolf) >= 1;
  if (status === "quarantined") return Boolean(wolf.quarantine);
  return wolf.status === status || wolf.intent === status || wolf.connectivity === status;
}

const texts = new WeakMap<WolfInstance, string>();
function textOf(wolf: WolfInstance): string {
  let text = texts.get(wolf);
  if (text === undefined) {
    const labels = Object.entries(wolf.labels).map(([name, value]) => `${name}=${value}`);
    const gpus = wolf.host?.gpus.map(({ model }) => model) ?? [];
    const parts = [
      wolf.name,
      wolf.id,
      wolf.address,
      wolf.gpu_type,
      wolf.gpu_model,
      wolf.region,
      wolf.agent_version,
    ];
    text = [...parts, ...gpus, ...labels, wolf.intent, wolf.status].join(" ").toLowerCase();
    texts.set(wolf, text);
  }
  return text;
}

/** Regions that there are, by name. `-` stands for none. */
export function regionsOf(rows: readonly WolfInstance[]): string[] {
  return [...new Set(rows.map(({ region }) => region ?? "-"))].sort((a, b) => a.localeCompare(b));
}
