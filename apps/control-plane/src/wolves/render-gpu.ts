/** Which of a host's GPUs sessions render on, as far as its facts say. They are an agent's word: what cannot be is not known. */
import type { GpuType, HostFacts } from "@wolfpack/api-contract";
import type { RenderGpu } from "./wolf-store.ts";

const MIB = 2 ** 20;
/** A TiB, as much as a session may ask for. */
const VRAM_MB_MAX = 1_048_576;
const RENDER_NODE = /^\/dev\/dri\/[A-Za-z0-9]+$/;

const unknown: RenderGpu = { model: null, renderNode: null, vramMb: null };

/**
 * Among the GPUs of the wolf's type: the one with the render node that is configured, else the first that has one, else the
 * first. A display adapter without a render node renders nothing.
 */
export function renderGpuOf(
  { gpus }: Pick<HostFacts, "gpus">,
  gpuType: GpuType,
  configuredRenderNode?: string,
): RenderGpu {
  const known = gpus
    .filter(({ vendor }) => vendor === gpuType)
    .map(({ model, render_node, vram_bytes }) => ({
      model,
      renderNode: render_node !== null && RENDER_NODE.test(render_node) ? render_node : null,
      vramMb: vramMbOf(vram_bytes),
    }));
  return (
    known.find(({ renderNode }) => renderNode !== null && renderNode === configuredRenderNode) ??
    known.find(({ renderNode }) => renderNode !== null) ??
    known[0] ??
    unknown
  );
}

function vramMbOf(bytes: number | null): number | null {
  if (bytes === null) return null;
  const mb = Math.floor(bytes / MIB);
  return mb > VRAM_MB_MAX ? null : mb;
}
