/** What this host offers: told at registration and with every tunnel. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { GpuType } from "@wolfpack/api-contract";

/** PCI vendor ids (pci-ids.ucw.cz). */
const vendors: Record<string, GpuType> = { "0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel" };
const preference: readonly GpuType[] = ["nvidia", "amd", "intel"];

/** The GPU's vendor by sysfs; `none` where there is no card or no sysfs. With several, the one that renders best comes first. */
export function detectGpuType(drm = "/sys/class/drm"): GpuType {
  let cards: string[];
  try {
    cards = readdirSync(drm).filter((name) => /^card\d+$/.test(name));
  } catch {
    return "none";
  }
  const found = cards.map((card) => {
    try {
      return vendors[readFileSync(path.join(drm, card, "device", "vendor"), "utf8").trim()];
    } catch {
      return undefined;
    }
  });
  return preference.find((type) => found.includes(type)) ?? "none";
}
