/** GPUs, as sysfs and nvidia-smi show them: what is known, what is unknown, and what is no error. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { Gpu, type GpuType, GpuUsage } from "@wolfpack/api-contract";
import fc from "fast-check";
import { type Card, readCards } from "./drm.ts";
import { askNvidia, type GpuReading, gpuWatch, type KnownGpus, readGpus, steadyState } from "./gpus.ts";
import { nvidiaQueries, parseNvidia } from "./nvidia.ts";
import { runTool, type ToolResult } from "./tool.ts";

const [newFields = [], plainFields = []] = nvidiaQueries;
const fixture = (name: string) =>
  readFileSync(new URL(`../../test/inventory/nvidia-smi/${name}`, import.meta.url), "utf8");
const ran = (output: string, code = 0): ToolResult => ({ outcome: "ran", code, output });
const MIB = 2 ** 20;

let drm: string;
beforeEach(() => {
  drm = mkdtempSync(path.join(os.tmpdir(), "drm-"));
});
afterEach(() => rmSync(drm, { recursive: true, force: true }));

/** A card in a tree like /sys/class/drm. */
function card(name: string, files: Record<string, string>): void {
  for (const [file, text] of Object.entries(files)) {
    const place = path.join(drm, name, "device", file);
    mkdirSync(path.dirname(place), { recursive: true });
    writeFileSync(place, `${text}\n`);
  }
}
const uevent = (driver: string, address: string) =>
  `DRIVER=${driver}\nPCI_CLASS=30000\nPCI_ID=1002:744C\nPCI_SLOT_NAME=${address}`;
const radeon = {
  vendor: "0x1002",
  device: "0x744c",
  uevent: uevent("amdgpu", "0000:03:00.0"),
  gpu_busy_percent: "43",
  mem_info_vram_total: "25753026560",
  mem_info_vram_used: "1811939328",
  "drm/renderD129/dev": "226:129",
};
const geforce = { vendor: "0x10de", device: "0x2684", uevent: uevent("nvidia", "0000:01:00.0") };

describe("nvidia-smi", () => {
  it("of two GPUs gives models, drivers and figures in bytes and percent", () => {
    expect(parseNvidia(fixture("two-gpus.csv"), newFields)).toEqual([
      {
        gpu: {
          id: "0000:01:00.0",
          vendor: "nvidia",
          model: "NVIDIA GeForce RTX 4090",
          driver: "550.90.07",
          vram_bytes: 24_564 * MIB,
          render_node: null,
        },
        usage: {
          id: "0000:01:00.0",
          utilisation_percent: 37,
          vram_used_bytes: 1873 * MIB,
          encoder_sessions: 3,
          encoder_percent: 21,
        },
      },
      {
        gpu: expect.objectContaining({ id: "0000:41:00.0", model: "NVIDIA RTX A4000" }),
        // Idle, and known to be: the driver's own memory is in use.
        usage: expect.objectContaining({
          utilisation_percent: 0,
          vram_used_bytes: 2 * MIB,
          encoder_sessions: 0,
        }),
      },
    ]);
  });

  it.each([
    [
      "a GPU in MIG mode",
      "mig.csv",
      { utilisation_percent: null, vram_used_bytes: 19 * MIB, encoder_sessions: 0 },
    ],
    [
      "all zeros",
      "all-zero.csv",
      { utilisation_percent: null, vram_used_bytes: null, encoder_sessions: null },
    ],
    [
      "a GPU to be reset",
      "reset.csv",
      { utilisation_percent: null, vram_used_bytes: null, encoder_sessions: null },
    ],
    ["a warning before the GPU", "warning.csv", { utilisation_percent: 12, encoder_sessions: 1 }],
  ])("with %s calls unknown what is unknown", (_what, name, usage) => {
    expect(parseNvidia(fixture(name), newFields)).toMatchObject([{ usage }]);
  });

  it("of an old driver is asked again without the field that it does not know", async () => {
    const asked: string[] = [];
    const answer = await askNvidia(async ([query = ""]) => {
      asked.push(query);
      return query.includes("utilization.encoder")
        ? ran(fixture("unknown-field.txt"), 2)
        : ran(fixture("driver-470.csv"));
    });
    expect(asked).toHaveLength(2);
    expect(answer).toMatchObject({
      trouble: undefined,
      cards: [{ usage: { utilisation_percent: 4, encoder_sessions: 1, encoder_percent: null } }],
    });
    expect(parseNvidia(fixture("not-supported.csv"), plainFields)).toMatchObject([
      { usage: { utilisation_percent: null, vram_used_bytes: 118 * MIB, encoder_sessions: null } },
    ]);
  });

  it("that is not installed is no trouble; one that fails says why", async () => {
    expect(await askNvidia(async () => ({ outcome: "absent" }))).toBeUndefined();
    const slow = await askNvidia(async () => ({ outcome: "failed", why: "no answer within 10000 ms" }));
    expect(slow?.trouble).toBe("nvidia-smi: no answer within 10000 ms");
    const broken = await askNvidia(async () => ran(fixture("no-driver.txt"), 9));
    expect(broken?.trouble).toMatch(/^nvidia-smi ended with 9: NVIDIA-SMI has failed/);
    expect((await askNvidia(async () => ran("", 0)))?.trouble).toBe("nvidia-smi names no GPU");
  });

  it("of any text gives what fits the contract and throws nothing", () => {
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom("[N/A]", "-1", "1e9", "NaN", "00000000:01:00.0", "101", "7"),
    );
    const line = fc.array(value, { minLength: 8, maxLength: 8 }).map((values) => values.join(", "));
    fc.assert(
      fc.property(fc.array(fc.oneof(line, fc.string())), (lines) => {
        for (const { gpu, usage } of parseNvidia(lines.join("\n"), newFields)) {
          expect(
            Gpu.safeParse(gpu).error?.issues.filter(
              ({ path: [field] }) => field !== "model" && field !== "driver",
            ) ?? [],
          ).toEqual([]);
          GpuUsage.parse(usage);
        }
      }),
    );
  });
});

describe("sysfs", () => {
  it("of amdgpu gives memory, load and the render node", () => {
    card("card1", radeon);
    card("card1-DP-1", radeon);
    expect(readCards(drm)).toEqual([
      {
        gpu: {
          id: "0000:03:00.0",
          vendor: "amd",
          model: "amd 0x744c",
          driver: "amdgpu",
          vram_bytes: 25_753_026_560,
          render_node: "/dev/dri/renderD129",
        },
        usage: {
          id: "0000:03:00.0",
          utilisation_percent: 43,
          vram_used_bytes: 1_811_939_328,
          encoder_sessions: null,
          encoder_percent: null,
        },
      },
    ]);
  });

  it("of a card that sleeps, is broken or has no figures says unknown", () => {
    card("card0", { vendor: "0x8086", device: "0x56a0", uevent: uevent("i915", "0000:00:02.0") });
    card("card1", { ...radeon, mem_info_vram_used: "0", gpu_busy_percent: "0" });
    card("card2", { vendor: "0x1002", gpu_busy_percent: "lots", mem_info_vram_total: "-5" });
    card("card3", { vendor: "0x1af4" });
    const unknown = { utilisation_percent: null, vram_used_bytes: null };
    expect(readCards(drm)).toMatchObject([
      { gpu: { id: "0000:00:02.0", vendor: "intel", vram_bytes: null }, usage: unknown },
      { gpu: { id: "0000:03:00.0" }, usage: unknown },
      {
        gpu: { id: "card2", model: null, driver: null, vram_bytes: null, render_node: null },
        usage: unknown,
      },
    ]);
  });

  it("that is not there is no error", () => {
    expect(readCards(path.join(drm, "missing"))).toEqual([]);
  });
});

describe("the state of the GPUs", () => {
  const tool = (name: string): { cards: Card[]; trouble: undefined } => ({
    cards: parseNvidia(fixture(name), newFields),
    trouble: undefined,
  });
  const of = (
    cards: Card[],
    nvidia: { cards: Card[]; trouble: string | undefined } | undefined,
    wanted?: GpuType,
    known: Partial<KnownGpus> = {},
  ) => readGpus({ cards, nvidia, wanted }, { sysfs: new Set(), tool: new Map(), ...known });
  const failing = (trouble = "nvidia-smi ended with 9: NVIDIA-SMI has failed") => ({ cards: [], trouble });

  it("joins what both sources know of one card", () => {
    card("card0", { ...geforce, "drm/renderD128/dev": "226:128" });
    const { gpus, usage, state } = of(readCards(drm), tool("two-gpus.csv"));
    expect(gpus.map(({ id, model, render_node }) => [id, model, render_node])).toEqual([
      ["0000:01:00.0", "NVIDIA GeForce RTX 4090", "/dev/dri/renderD128"],
      ["0000:41:00.0", "NVIDIA RTX A4000", null],
    ]);
    expect([usage[0]?.utilisation_percent, state]).toEqual([37, "ok"]);
  });

  it("is ok without tool or card, and with a card whose tool is not installed", () => {
    expect(of([], undefined)).toEqual({ gpus: [], usage: [], state: "ok", detail: null });
    card("card0", geforce);
    expect(of(readCards(drm), undefined)).toMatchObject({
      usage: [{ utilisation_percent: null }],
      state: "ok",
    });
  });

  it("is unknown when the tool is there and says nothing, or only zeros", () => {
    card("card0", geforce);
    expect(of(readCards(drm), tool("all-zero.csv"))).toMatchObject({
      state: "unknown",
      detail: "no figures, or only zeros: 0000:01:00.0",
    });
    const trouble = `nvidia-smi ended with 9: ${"x".repeat(400)}`;
    const { state, detail } = of(readCards(drm), failing(trouble));
    expect([state, detail?.length]).toEqual(["unknown", 200]);
  });

  it("is unknown from the first reading when the driver was not loaded as the agent started", () => {
    expect(of([], failing(), "nvidia")).toMatchObject({ state: "unknown", detail: failing().trouble });
    expect(of([], failing())).toMatchObject({ state: "unknown" });
    const watch = gpuWatch("nvidia");
    expect(watch({ cards: [], nvidia: failing() }).state).toBe("unknown");
  });

  it("is no trouble of a host whose operator says that it has no NVIDIA card", () => {
    card("card0", radeon);
    for (const wanted of ["amd", "none"] as const)
      expect(of(readCards(drm), failing("No devices were found"), wanted).state).toBe("ok");
    expect(of(readCards(drm), failing("No devices were found")).state).toBe("unknown");
    card("card1", geforce);
    expect(of(readCards(drm), failing(), "amd").state).toBe("unknown");
  });

  it.each(["nvidia", "amd", "intel"] as const)(
    "is missing when no GPU is of the type %s that was said",
    (type) => {
      if (type !== "amd") card("card0", radeon);
      expect(of(readCards(drm), undefined, type)).toMatchObject({
        state: "missing",
        detail: `none of type ${type}, as --gpu-type says`,
      });
    },
  );

  it("is missing when a card that was there is gone", () => {
    const watch = gpuWatch(undefined);
    card("card0", radeon);
    card("card1", geforce);
    expect(watch({ cards: readCards(drm), nvidia: undefined }).state).toBe("ok");
    rmSync(path.join(drm, "card1"), { recursive: true });
    for (const expected of ["ok", "missing"])
      expect(watch({ cards: readCards(drm), nvidia: undefined }).state).toBe(expected);
    expect(watch({ cards: readCards(drm), nvidia: failing() })).toMatchObject({
      state: "missing",
      detail: "0000:01:00.0",
    });
  });

  it("is unknown, not missing, when the tool that alone knows a card hangs, fails or is gone; the card stays", () => {
    for (const trouble of [failing("nvidia-smi: no answer within 10000 ms"), failing(), undefined]) {
      const watch = gpuWatch("nvidia");
      expect(watch({ cards: [], nvidia: tool("two-gpus.csv") })).toMatchObject({ state: "ok" });
      watch({ cards: [], nvidia: trouble });
      const { state, gpus, usage } = watch({ cards: [], nvidia: trouble });
      expect(state).toBe("unknown");
      expect(gpus.map(({ model }) => model)).toEqual(["NVIDIA GeForce RTX 4090", "NVIDIA RTX A4000"]);
      expect(usage.map(({ vram_used_bytes }) => vram_used_bytes)).toEqual([null, null]);
    }
  });

  it("is missing when the tool is well and does not name a card any more", () => {
    const watch = gpuWatch(undefined);
    const [first, ...others] = tool("two-gpus.csv").cards;
    watch({ cards: [], nvidia: { cards: [first as Card, ...others], trouble: undefined } });
    watch({ cards: [], nvidia: { cards: others, trouble: undefined } });
    expect(watch({ cards: [], nvidia: { cards: others, trouble: undefined } })).toMatchObject({
      state: "missing",
      detail: first?.gpu.id,
    });
  });

  it("changes only when it is seen twice, so that one failed reading says nothing", () => {
    const steady = steadyState();
    const see = (state: GpuReading["state"]) => steady({ gpus: [], usage: [], state, detail: null }).state;
    expect(["ok", "unknown", "ok", "unknown", "unknown", "ok", "ok"].map((s) => see(s as "ok"))).toEqual([
      "ok",
      "ok",
      "ok",
      "ok",
      "unknown",
      "unknown",
      "ok",
    ]);
  });
});

describe("running a tool", () => {
  const options = {
    path: process.env.PATH,
    timeoutMs: 5000,
    outputBytesMax: 1000,
    signal: new AbortController().signal,
  };

  it("gives its output and exit code, without a shell", async () => {
    expect(await runTool("echo", ["$PATH; `id`"], options)).toEqual(ran("$PATH; `id`\n"));
    expect(await runTool("false", [], options)).toEqual(ran("", 1));
  });

  it("says that it is absent, too slow or too talkative", async () => {
    expect(await runTool("no-such-tool-here", [], options)).toEqual({ outcome: "absent" });
    expect(await runTool("sleep", ["60"], { ...options, timeoutMs: 50 })).toEqual({
      outcome: "failed",
      why: "no answer within 50 ms",
    });
    expect((await runTool("yes", [], options)).outcome).toBe("failed");
    expect((await runTool("/", [], options)).outcome).toBe("failed");
  });

  it("ends with its caller", async () => {
    const stop = new AbortController();
    const running = runTool("sleep", ["60"], { ...options, signal: stop.signal });
    stop.abort();
    expect((await running).outcome).toBe("failed");
  });
});
