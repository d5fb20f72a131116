/** What a simulated host says of itself: enough for placement, and nothing that would degrade it. */
import type { GpuType, HostFacts, HostUsage } from "@wolfpack/api-contract";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const GPU_ID = "0000:01:00.0";

/** `vramMb`: of its one GPU; 0: nobody could read it. */
export function hostFacts(gpuType: GpuType, vramMb: number): HostFacts {
  const gpu = gpuType === "none" ? undefined : gpuType;
  return {
    cpu_model: null,
    cpu_count: 16,
    memory_bytes: 64 * GIB,
    gpus:
      gpu === undefined
        ? []
        : [
            {
              id: GPU_ID,
              vendor: gpu,
              model: `${gpu} simulated`,
              driver: null,
              vram_bytes: vramMb === 0 ? null : vramMb * MIB,
              render_node: "/dev/dri/renderD128",
            },
          ],
  };
}

/** `usedMb`, `encoders`: of the GPU, by whomever. */
export function hostUsage(gpuType: GpuType, usedMb: number, encoders: number): HostUsage {
  const figures = {
    utilisation_percent: 10,
    vram_used_bytes: usedMb * MIB,
    encoder_sessions: encoders,
    encoder_percent: null,
  };
  return {
    cpu_load: 1,
    memory_available_bytes: 32 * GIB,
    gpu_state: "ok",
    gpu_detail: null,
    gpus: gpuType === "none" ? [] : [{ id: GPU_ID, ...figures }],
    disks: [
      { mount: "/", total_bytes: 100 * GIB, used_bytes: 40 * GIB, available_bytes: 55 * GIB, level: "ok" },
    ],
    disk_detail: null,
  };
}
