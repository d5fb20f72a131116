/** What a session asks of the wolf that is to run it, complete: nothing is left to a default. */
import type {
  GpuType,
  PlacementConstraint,
  PlacementPolicy,
  PlacementWeights,
  SessionSpec,
} from "@wolfpack/api-contract";

export interface Wish {
  readonly image: string;
  /** Null: any. */
  readonly gpuType: GpuType | null;
  /** Part of the model's name, in capitals or not. */
  readonly gpuModel: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly constraints: readonly PlacementConstraint[];
  readonly region: string | null;
  readonly regionRequired: boolean;
  readonly vramMb: number;
  readonly encoderSessions: number;
  readonly policy: PlacementPolicy;
  /** Of the policy `weighted`; null: its default. */
  readonly weights: PlacementWeights | null;
  readonly allowDegraded: boolean;
  /** Ids of wolves that failed this session before. */
  readonly avoid: readonly string[];
}

export function wishOf(spec: SessionSpec, avoid: readonly string[] = []): Wish {
  return {
    image: spec.image,
    gpuType: spec.gpu_type,
    gpuModel: spec.gpu_model,
    labels: spec.labels,
    constraints: spec.constraints,
    region: spec.region,
    regionRequired: spec.region_required,
    vramMb: spec.resources.vram_mb,
    encoderSessions: spec.resources.encoder_sessions,
    policy: spec.policy,
    weights: spec.weights,
    allowDegraded: spec.allow_degraded,
    avoid,
  };
}
