import { describe, expect, it } from "@jest/globals";
import { type Gpu, HostFacts } from "@wolfpack/api-contract";
import fc from "fast-check";
import { renderGpuOf } from "./render-gpu.ts";

const GIB = 2 ** 30;
const none = { model: null, renderNode: null, vramMb: null };
let made = 0;
function aGpu(overrides: Partial<Gpu> = {}): Gpu {
  made += 1;
  return {
    id: `card${made}`,
    vendor: "nvidia",
    model: "NVIDIA GeForce RTX 4090",
    driver: null,
    vram_bytes: 24 * GIB,
    render_node: "/dev/dri/renderD128",
    ...overrides,
  };
}
const chosen = (gpus: Gpu[], type: Parameters<typeof renderGpuOf>[1] = "nvidia", node?: string) =>
  renderGpuOf({ gpus }, type, node);

describe("the GPU that sessions render on", () => {
  it("is the first of the wolf's type that has a render node", () => {
    const gpus = [
      aGpu({ vendor: "intel", render_node: "/dev/dri/renderD128" }),
      aGpu({ model: "display only", render_node: null }),
      aGpu({ model: "first", render_node: "/dev/dri/renderD129", vram_bytes: 8 * GIB }),
      aGpu({ model: "second", render_node: "/dev/dri/renderD130" }),
    ];
    expect(chosen(gpus)).toEqual({ model: "first", renderNode: "/dev/dri/renderD129", vramMb: 8192 });
    expect(chosen(gpus, "intel")).toMatchObject({ renderNode: "/dev/dri/renderD128" });
  });

  it("is the one whose render node is configured, if it is of the type", () => {
    const gpus = [
      aGpu({ vendor: "amd", render_node: "/dev/dri/renderD130" }),
      aGpu({ model: "first" }),
      aGpu({ model: "configured", render_node: "/dev/dri/renderD129" }),
    ];
    expect(chosen(gpus, "nvidia", "/dev/dri/renderD129").model).toBe("configured");
    expect(chosen(gpus, "nvidia", "/dev/dri/renderD130").model).toBe("first");
    expect(chosen(gpus, "nvidia", "/dev/dri/renderD777").model).toBe("first");
  });

  it("is the first of the type when none has a render node, with what is known of it", () => {
    expect(chosen([aGpu({ model: null, render_node: null })])).toEqual({ ...none, vramMb: 24_576 });
    expect(chosen([aGpu({ render_node: null, vram_bytes: null })])).toEqual({
      ...none,
      model: "NVIDIA GeForce RTX 4090",
    });
  });

  it("is unknown for a wolf without a GPU, or with those of another type only", () => {
    expect(chosen([])).toEqual(none);
    expect(chosen([aGpu()], "amd")).toEqual(none);
    expect(chosen([aGpu()], "none")).toEqual(none);
  });

  it.each([
    "",
    "software",
    "/dev/sda",
    "/dev/dri/",
    "/dev/dri/../sda",
    "/dev/dri/renderD128\n",
    "renderD128",
  ])("has no render node called %j", (render_node) => {
    expect(chosen([aGpu({ render_node })]).renderNode).toBeNull();
  });

  it("has whole MiB, and none that no GPU can have", () => {
    expect(chosen([aGpu({ vram_bytes: 0 })]).vramMb).toBe(0);
    expect(chosen([aGpu({ vram_bytes: 2 ** 21 - 1 })]).vramMb).toBe(1);
    expect(chosen([aGpu({ vram_bytes: 1024 * 1024 * 2 ** 20 })]).vramMb).toBe(1_048_576);
    expect(chosen([aGpu({ vram_bytes: Number.MAX_SAFE_INTEGER })]).vramMb).toBeNull();
  });

  it("of any host that an agent can describe fits the columns", () => {
    const gpu = fc.record({
      id: fc.uuid().map((id) => id.slice(0, 31)),
      vendor: fc.constantFrom("nvidia" as const, "amd" as const, "intel" as const),
      model: fc.option(fc.string({ maxLength: 127 })),
      driver: fc.constant(null),
      vram_bytes: fc.option(fc.maxSafeNat()),
      render_node: fc.option(fc.string({ maxLength: 63 })),
    });
    fc.assert(
      fc.property(
        fc.array(gpu, { maxLength: 16 }),
        fc.constantFrom("nvidia", "amd", "none"),
        (gpus, type) => {
          const facts = HostFacts.safeParse({ cpu_model: null, cpu_count: 1, memory_bytes: 0, gpus });
          fc.pre(facts.success);
          const { vramMb, renderNode } = renderGpuOf({ gpus }, type as "nvidia" | "amd" | "none");
          expect(vramMb === null || (vramMb >= 0 && vramMb <= 1_048_576)).toBe(true);
          expect(renderNode === null || renderNode.startsWith("/dev/dri/")).toBe(true);
        },
      ),
    );
  });
});
