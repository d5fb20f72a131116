/** An event in words, as a function of values: whatever its detail holds, as plain text. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { Tone } from "../ui/badge.tsx";
import { plain, shortId } from "../ui/text.ts";

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
  const to = String(detail.to ?? "");
  if (bad.has(to)) return "danger";
  if (doubtful.has(to)) return "warning";
  if (good.has(to)) return "ok";
  return tones[kind] ?? (kind.endsWith(".revoked") ? "warning" : "info");
}

const PARTS_MAX = 6;

/** `connected → suspect, because of disconnected`. */
export function eventWords(event: FleetEvent): { tone: Tone; text: string } {
  const { from, to, ...rest } = event.detail;
  const parts: string[] = [];
  if (isWord(from) && isWord(to)) parts.push(`${plain(from)} → ${plain(to)}`);
  else if (isWord(to)) parts.push(plain(to));
  for (const [name, value] of Object.entries(rest).slice(0, PARTS_MAX)) {
    const text = typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
    if (value !== null) parts.push(`${plain(name).replaceAll("_", " ")}: ${momentOr(text)}`);
  }
  if (event.cause && event.cause !== "requested") parts.push(`because of ${plain(event.cause)}`);
  if (event.actor?.id) parts.push(`by ${plain(event.actor.kind)} ${shortId(event.actor.id)}`);
  return { tone: toneOfEvent(event), text: parts.join(", ") };
}

/** Times as the rest of the page writes them. */
function momentOr(text: string): string {
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)
    ? `${text.slice(0, 19).replace("T", " ")} UTC`
    : plain(text, 120);
}

const isWord = (value: unknown): value is string => typeof value === "string";
