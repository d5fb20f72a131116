/** Which figures of a host are those of the GPU that sessions render on. In SQL the same is `render_gpu_usage` of the migrations. */
import type { GpuUsage, HostFacts, HostUsage } from "@wolfpack/api-contract";

/** The host's GPU with that render node, or else the only one there is. */
export function renderGpuUsage(
  host: HostFacts | null,
  renderNode: string | null,
  usage: HostUsage,
): GpuUsage | undefined {
  const wanted = renderNode === null ? undefined : host?.gpus.find((gpu) => gpu.render_node === renderNode);
  if (wanted !== undefined) return usage.gpus.find(({ id }) => id === wanted.id);
  return usage.gpus.length === 1 ? usage.gpus[0] : undefined;
}
