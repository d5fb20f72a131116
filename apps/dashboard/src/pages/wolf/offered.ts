/** What may be done to a wolf as it is, as a function of values. */
import type { WolfInstance } from "@wolfpack/api-contract";

export type Step = "cordon" | "uncordon" | "drain" | "maintain" | "retire" | "readmit" | "remove";

/** What the present intent allows is the control plane's to say; what makes no sense is not offered. */
export function offered({ intent, quarantine, connectivity }: WolfInstance): Step[] {
  const steps: Step[] = [];
  if (intent === "active" || intent === "draining") steps.push("cordon");
  if (intent !== "active" && intent !== "pending") steps.push("uncordon");
  if (intent === "active" || intent === "cordoned") steps.push("drain");
  if (intent !== "retired") steps.push("retire");
  if (intent === "active" || intent === "cordoned") steps.push("maintain");
  if (quarantine) steps.push("readmit");
  if (intent === "retired" || connectivity === "lost") steps.push("remove");
  return steps;
}
