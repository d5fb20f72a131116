/** The wish of a session that there was, as a form that is filled in, and what of it the form cannot hold. As functions of values. */
import type { Session } from "@wolfpack/api-contract";
import { plain } from "../../ui/text.ts";
import { type ConstraintDraft, constraintsOf, type Draft, emptyDraft, labelsOf } from "./form.ts";

export interface Again {
  draft: Draft;
  /** Of each thing that is not carried over, a sentence. */
  missing: readonly string[];
}

/** `priorityMax` is the reader's own. */
export function againOf({ id, name, spec, pin_required }: Session, priorityMax: number): Again {
  const missing: string[] = [];
  if (pin_required) missing.push("Its PIN, which is never shown.");
  if (spec.priority > priorityMax)
    missing.push(`Its priority ${spec.priority}: yours is ${priorityMax} at most.`);
  const labels = Object.entries(spec.labels).filter(([label, value]) => {
    const fits = labelsOf(`${label}=${value}`, {})[label] === value;
    if (!fits) missing.push(`Its label ${plain(label)}, whose value has a comma or spaces around it.`);
    return fits;
  });
  const constraints = spec.constraints.flatMap((constraint) => {
    const { attribute, op, values } = constraint;
    const draft: ConstraintDraft = { attribute, op, values: values.join(", ") };
    const [read] = constraintsOf({ constraints: [draft] }, {});
    if (JSON.stringify(read?.values) === JSON.stringify(values)) return [draft];
    missing.push(
      `Its constraint on ${plain(attribute)}, of whose values one has a comma or spaces around it.`,
    );
    return [];
  });
  const { weights } = spec;
  const draft: Draft = {
    ...emptyDraft,
    // One that nobody has named is called by its id.
    name: name === id ? "" : name,
    image: spec.image,
    resolution: `${spec.resolution.width}x${spec.resolution.height}`,
    refresh: String(spec.resolution.refresh_rate),
    gpu: spec.gpu_type ?? "",
    model: spec.gpu_model ?? "",
    region: spec.region ?? "",
    regionRequired: spec.region_required,
    labels: labels.map(([label, value]) => `${label}=${value}`).join(", "),
    constraints,
    vram: spec.resources.vram_mb === 0 ? "" : String(spec.resources.vram_mb),
    encoders: String(spec.resources.encoder_sessions),
    policy: spec.policy,
    weights: weights
      ? {
          load: String(weights.load),
          packing: String(weights.packing),
          cost: String(weights.cost),
          region: String(weights.region),
          image: String(weights.image),
          rtt: String(weights.rtt),
        }
      : emptyDraft.weights,
    allowDegraded: spec.allow_degraded,
    disconnect: spec.disconnect_policy,
    ttl: spec.ttl_seconds === null ? "" : String(spec.ttl_seconds),
    idle: spec.idle_timeout_seconds === null ? "" : String(spec.idle_timeout_seconds),
    waits: spec.queue,
    deadline: spec.queue ? String(spec.queue_deadline_seconds) : "",
    priority: String(Math.min(spec.priority, priorityMax)),
  };
  return { draft, missing };
}
