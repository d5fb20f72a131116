/** Graphics cards as the kernel shows them in sysfs: vendor, bus address, driver, render node, and what amdgpu tells of itself. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Gpu, GpuType, GpuUsage } from "@wolfpack/api-contract";
import { printable } from "../printable.ts";

/** PCI vendor ids (pci-ids.ucw.cz). */
const vendors: Record<string, Gpu["vendor"]> = { "0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel" };
const preference: readonly GpuType[] = ["nvidia", "amd", "intel"];
/** sysfs gives a page at most. */
const VALUE_CHARACTERS_MAX = 4096;

export interface Card {
  gpu: Gpu;
  usage: GpuUsage;
}

/** Every card of a known vendor, by its bus address; none where there is no sysfs. */
export function readCards(drm = "/sys/class/drm"): Card[] {
  let names: string[];
  try {
    names = readdirSync(drm);
  } catch {
    return [];
  }
  return names
    .filter((name) => /^card\d+$/.test(name))
    .flatMap((name) => readCard(name, path.join(drm, name, "device")) ?? [])
    .sort((a, b) => (a.gpu.id < b.gpu.id ? -1 : 1));
}

/** The type that the wolf goes by: with several cards, the one that renders best; `none` without any. */
export function gpuTypeOf(gpus: readonly Pick<Gpu, "vendor">[]): GpuType {
  return preference.find((type) => gpus.some(({ vendor }) => vendor === type)) ?? "none";
}

function readCard(name: string, device: string): Card | undefined {
  const read = (file: string): string | undefined => {
    try {
      return readFileSync(path.join(device, file), "utf8").slice(0, VALUE_CHARACTERS_MAX).trim();
    } catch {
      return undefined; // Absent, or the driver does not answer now (EBUSY, EIO while a card sleeps or is reset).
    }
  };
  const vendor = vendors[read("vendor") ?? ""];
  if (vendor === undefined) return undefined;
  const uevent = read("uevent") ?? "";
  const said = (key: string) => new RegExp(`^${key}=([\\x21-\\x7e]{1,31})$`, "m").exec(uevent)?.[1];
  const id = said("PCI_SLOT_NAME")?.toLowerCase() ?? name;
  const vram = number(read("mem_info_vram_total"));
  return {
    gpu: {
      id,
      vendor,
      model: modelOf(read("product_name"), vendor, read("device")),
      driver: said("DRIVER") ?? null,
      vram_bytes: vram === 0 ? null : vram,
      render_node: renderNode(path.join(device, "drm")),
    },
    usage: amdUsage(id, number(read("gpu_busy_percent")), number(read("mem_info_vram_used"))),
  };
}

/** A card whose driver runs holds some of its memory: zero is what a sleeping or hung one says. */
function amdUsage(id: string, busy: number | null, used: number | null): GpuUsage {
  const sane = used !== null && used > 0;
  return {
    id,
    utilisation_percent: sane && busy !== null && busy <= 100 ? busy : null,
    vram_used_bytes: sane ? used : null,
    encoder_sessions: null,
    encoder_percent: null,
  };
}

function modelOf(product: string | undefined, vendor: string, device: string | undefined): string | null {
  const name = product && printable(product).slice(0, 127);
  if (name) return name;
  return device !== undefined && /^0x[0-9a-f]{4}$/i.test(device) ? `${vendor} ${device.toLowerCase()}` : null;
}

function renderNode(drm: string): string | null {
  try {
    const node = readdirSync(drm).find((name) => /^renderD\d{1,4}$/.test(name));
    return node === undefined ? null : `/dev/dri/${node}`;
  } catch {
    return null;
  }
}

/** A whole number of sysfs; null for anything else. */
function number(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}
