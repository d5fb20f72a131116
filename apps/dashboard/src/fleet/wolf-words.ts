/** What is said of a wolf on every page that shows one, as functions of values. */
import type { WolfInstance } from "@wolfpack/api-contract";
import type { Tone } from "../ui/badge.tsx";
import { millis, plain } from "../ui/text.ts";

export interface WolfState {
  word: string;
  tone: Tone;
  /** Why, as short as it gets; empty where nothing is to be said. */
  reason: string;
}

const intentWords: Record<WolfInstance["intent"], { word: string; tone: Tone }> = {
  pending: { word: "Pending", tone: "info" },
  active: { word: "Active", tone: "ok" },
  cordoned: { word: "Cordoned", tone: "warning" },
  draining: { word: "Draining", tone: "warning" },
  maintenance: { word: "Maintenance", tone: "neutral" },
  retired: { word: "Retired", tone: "neutral" },
};

export const intentOf = ({ intent }: Pick<WolfInstance, "intent">) => intentWords[intent];

const quarantineWords: Record<string, string> = {
  "creates-failed": "sessions failed to start",
  "creates-slow": "sessions started too slowly",
  "tunnel-flaps": "its tunnel comes and goes",
};
export const quarantineReason = (reason: string): string => quarantineWords[reason] ?? plain(reason);

/** Its status, or what operators want where that says more; and the reason that matters most. */
export function stateOf(wolf: WolfInstance): WolfState {
  const { status, intent, connectivity } = wolf;
  const wanted = intentWords[intent];
  if (intent === "retired" || intent === "maintenance")
    return { ...wanted, reason: plain(wolf.intent_reason) || connectionOf(wolf) };
  if (status === "offline") return { word: "Offline", tone: "danger", reason: connectionOf(wolf) };
  if (intent === "pending") return { ...wanted, reason: "waits for its first tunnel" };
  const ill = wolf.health_reasons.map(({ detail, code }) => plain(detail) || plain(code));
  const more = ill.length > 1 ? ` (+${ill.length - 1})` : "";
  if (connectivity === "suspect") return { word: "Suspect", tone: "warning", reason: "its tunnel is lost" };
  if (intent !== "active") return { ...wanted, reason: intentReason(wolf) || `${ill[0] ?? ""}${more}` };
  if (wolf.quarantine)
    return { word: "Quarantined", tone: "warning", reason: quarantineReason(wolf.quarantine.reason) };
  if (status === "degraded") return { word: "Degraded", tone: "warning", reason: `${ill[0] ?? ""}${more}` };
  if (!wolf.tunnel) return { word: "Online", tone: "ok", reason: "no tunnel, so no sessions" };
  return { word: "Online", tone: "ok", reason: wolf.reconciled === false ? "not compared yet" : "" };
}

function intentReason({ drain, intent_reason }: WolfInstance): string {
  if (!drain) return plain(intent_reason);
  const left = `${drain.sessions_left} of ${drain.sessions_at_start} left`;
  return intent_reason ? `${left}: ${plain(intent_reason)}` : left;
}

function connectionOf({ connectivity, tunnel }: WolfInstance): string {
  if (connectivity === "lost") return tunnel ? "" : "no tunnel";
  return connectivity === "suspect" ? "its tunnel is lost" : "";
}

export interface Slots {
  used: number;
  other: number;
  max: number;
}

/** Of what runs there: claimed by sessions, and lobbies that no session of ours has. */
export function slotsOf({ capacity, connected_sandboxes, max_sandboxes }: WolfInstance): Slots {
  if (capacity) return { used: capacity.slots.claimed, other: capacity.slots.other, max: capacity.slots.max };
  return { used: connected_sandboxes, other: 0, max: max_sandboxes };
}

/** From 0 to 1; a wolf without slots is full. */
export function loadOf(wolf: WolfInstance): number {
  const { used, other, max } = slotsOf(wolf);
  return max > 0 ? Math.min(1, (used + other) / max) : 1;
}

const vendors: Record<WolfInstance["gpu_type"], string> = {
  nvidia: "NVIDIA",
  amd: "AMD",
  intel: "Intel",
  none: "No GPU",
};
export const vendorOf = ({ gpu_type }: Pick<WolfInstance, "gpu_type">): string => vendors[gpu_type];

export function gpuOf(wolf: WolfInstance): { model: string; more: string } {
  const gpus = wolf.host?.gpus ?? [];
  const model = plain(wolf.gpu_model ?? gpus[0]?.model).replace(/^NVIDIA (GeForce )?|^AMD (Radeon )?/, "");
  const vendor = vendorOf(wolf);
  if (model === "") return { model: vendor, more: gpus.length > 1 ? `${gpus.length} GPUs` : "" };
  return { model, more: gpus.length > 1 ? `${vendor}, ${gpus.length} GPUs` : vendor };
}

export const regionOf = ({ region }: Pick<WolfInstance, "region">): string => plain(region) || "No region";

/** A sentence for where there is no room for a row. */
export function inShort(wolf: WolfInstance): string {
  const { word, reason } = stateOf(wolf);
  const { used, other, max } = slotsOf(wolf);
  const rtt = wolf.tunnel?.rtt_ms;
  const parts = [`${used + other} of ${max} slots`, reason ? `${word}: ${reason}` : word];
  if (rtt !== null && rtt !== undefined) parts.push(millis(rtt));
  return `${plain(wolf.name)}: ${parts.join(", ")}`;
}
