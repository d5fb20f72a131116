/** The fleet by region, and how much of it is taken in five steps, as functions of values. */
import type { WolfInstance } from "@wolfpack/api-contract";
import { loadOf, slotsOf } from "./wolf-words.ts";

export const LOAD_STEPS = 5;
export const loadWords = ["free", "a quarter", "half", "three quarters", "full"] as const;

/** 0 is free, 4 is full; only what is full to the last slot is. */
export function loadStep(load: number): number {
  if (load >= 1) return LOAD_STEPS - 1;
  return Math.min(LOAD_STEPS - 2, Math.floor(load * (LOAD_STEPS - 1) + 0.5));
}

export interface Region {
  /** Null: wolves that name none. */
  name: string | null;
  /** By name. */
  wolves: WolfInstance[];
  connected: number;
  tunnels: number;
  /** Of those, by the replica that holds them. */
  heldBy: Map<string, number>;
  suspect: number;
  lost: number;
  used: number;
  max: number;
}

const collator = new Intl.Collator("en", { numeric: true });

/** The largest first; without wolves that are retired. */
export function regionsWith(rows: readonly WolfInstance[]): Region[] {
  const regions = new Map<string | null, Region>();
  for (const wolf of rows) {
    if (wolf.intent === "retired") continue;
    let region = regions.get(wolf.region);
    if (region === undefined) {
      region = {
        name: wolf.region,
        wolves: [],
        connected: 0,
        tunnels: 0,
        heldBy: new Map(),
        suspect: 0,
        lost: 0,
        used: 0,
        max: 0,
      };
      regions.set(wolf.region, region);
    }
    region.wolves.push(wolf);
    region[wolf.connectivity] += 1;
    if (wolf.tunnel && wolf.connectivity === "connected") {
      region.tunnels += 1;
      const { replica } = wolf.tunnel;
      if (replica) region.heldBy.set(replica, (region.heldBy.get(replica) ?? 0) + 1);
    }
    const { used, other, max } = slotsOf(wolf);
    if (wolf.connectivity === "lost") continue;
    region.used += used + other;
    region.max += max;
  }
  for (const { wolves } of regions.values()) wolves.sort((a, b) => collator.compare(a.name, b.name));
  return [...regions.values()].sort(
    (a, b) => b.wolves.length - a.wolves.length || collator.compare(a.name ?? "~", b.name ?? "~"),
  );
}

/** What a tile shows besides its load. */
export type TileState = "fine" | "held" | "ill" | "lost";

export function tileState(wolf: WolfInstance): TileState {
  if (wolf.connectivity === "lost") return "lost";
  if (wolf.connectivity === "suspect" || wolf.status === "degraded" || wolf.quarantine) return "ill";
  return wolf.intent === "active" ? "fine" : "held";
}

export const tileLoad = (wolf: WolfInstance): number => loadStep(loadOf(wolf));
