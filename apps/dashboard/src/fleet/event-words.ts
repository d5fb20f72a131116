/** An event in words, as a function of values: one sentence without ids, and how good or bad it is. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { Tone } from "../ui/badge.tsx";
import { sentences, toldOf, unknownSentence } from "./event-sentences.ts";

const tones: Record<string, Tone> = {
  "session.running": "ok",
  "session.failed": "danger",
  "session.lost": "danger",
  "session.expiring": "warning",
  "session.stopped": "neutral",
  "session.stopping": "neutral",
  "wolf.registered": "ok",
  "wolf.readmitted": "ok",
  "wolf.removed": "neutral",
  "wolf.quarantined": "warning",
  "fleet.frozen": "danger",
  "fleet.thawed": "ok",
  "fleet.override": "warning",
};
const bad = new Set(["lost", "failed"]);
const doubtful = new Set(["suspect", "degraded", "cordoned", "draining"]);
const good = new Set(["connected", "ok", "active"]);

export function toneOfEvent({ kind, detail }: Pick<FleetEvent, "kind" | "detail">): Tone {
  const to = typeof detail.to === "string" ? detail.to : "";
  if (bad.has(to)) return "danger";
  if (doubtful.has(to)) return "warning";
  if (good.has(to)) return "ok";
  return tones[kind] ?? (kind.endsWith(".revoked") ? "warning" : "info");
}

/** `ops cordoned gpu-2: kernel update`. */
export function eventWords(event: FleetEvent): { tone: Tone; text: string } {
  const told = toldOf(event);
  const isKnown = Object.hasOwn(sentences, event.kind);
  const text = isKnown ? sentences[event.kind as keyof typeof sentences](told) : unknownSentence(told);
  return { tone: toneOfEvent(event), text };
}
