/** What the checks of the control plane come to, as functions of values. */
import type { HealthCheck, HealthReport } from "@wolfpack/api-contract";
import type { Tone } from "../../ui/badge.tsx";
import { many } from "../../ui/text.ts";

const tones: Record<HealthCheck["status"], Tone> = {
  ok: "ok",
  warning: "warning",
  failed: "danger",
  skipped: "neutral",
};
/** Also of a status that this build does not know. */
export const toneOfCheck = (status: string): Tone => tones[status as HealthCheck["status"]] ?? "warning";

const words: Record<HealthCheck["status"], string> = {
  ok: "OK",
  warning: "Warning",
  failed: "Failed",
  skipped: "Skipped",
};
export const wordOfCheck = (status: string): string => words[status as HealthCheck["status"]] ?? status;

/** `All 11 checks are fine, 1 was skipped`. */
export function summaryOf({ checks }: Pick<HealthReport, "checks">): string {
  const of = (status: string) => checks.filter((check) => check.status === status).length;
  const skipped = of("skipped");
  const bad = [
    of("failed") > 0 && `${many(of("failed"), "check")} failed`,
    of("warning") > 0 && many(of("warning"), "warning"),
  ].filter(Boolean);
  const rest = skipped > 0 ? `${skipped} skipped` : "";
  if (bad.length > 0) return [...bad, `${of("ok")} fine`, rest].filter(Boolean).join(", ");
  return [`${many(of("ok"), "check")} fine`, rest].filter(Boolean).join(", ");
}
