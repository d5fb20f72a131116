/** What nvidia-smi says, as CSV. A figure that it does not know, in whatever words of whatever driver, is null. */
import type { Gpu, GpuUsage } from "@wolfpack/api-contract";
import type { Card } from "./drm.ts";

const plainFields = [
  "pci.bus_id",
  "name",
  "driver_version",
  "memory.total",
  "memory.used",
  "utilization.gpu",
  "encoder.stats.sessionCount",
] as const;
/** Drivers before 530 do not know this one, and then refuse the whole query. */
const newFields = [...plainFields, "utilization.encoder"] as const;
type Field = (typeof newFields)[number];

export const nvidiaQueries: readonly (readonly Field[])[] = [newFields, plainFields];
export const nvidiaArguments = (fields: readonly Field[]): string[] => [
  `--query-gpu=${fields.join(",")}`,
  "--format=csv,noheader,nounits",
];
/** The tool's answer to a field that its driver does not know. */
export const isUnknownField = (output: string): boolean => /is not a valid field to query/i.test(output);

const MIB = 2 ** 20;

/** The cards in the answer; lines that are none, such as warnings between them, are left out. */
export function parseNvidia(output: string, fields: readonly Field[]): Card[] {
  const cards = new Map<string, Card>();
  for (const line of output.split(/\r?\n/)) {
    const card = parseLine(line, fields);
    if (card !== undefined && !cards.has(card.gpu.id)) cards.set(card.gpu.id, card);
  }
  return [...cards.values()];
}

function parseLine(line: string, fields: readonly Field[]): Card | undefined {
  const values = line.split(", ").map((value) => value.trim());
  if (values.length !== fields.length) return undefined;
  const text = (field: Field): string | null => {
    const value = values[fields.indexOf(field)];
    return value === undefined || value === "" || /^\[.*\]$|^N\/A$/i.test(value) ? null : value;
  };
  const number = (field: Field, max: number, unit = 1): number | null => {
    const value = text(field);
    if (value === null || !/^\d{1,12}(\.\d+)?$/.test(value)) return null;
    return Number(value) <= max ? Number(value) * unit : null;
  };
  const id = busAddress(text("pci.bus_id") ?? "");
  if (id === undefined) return undefined;
  const total = number("memory.total", 10_000_000, MIB);
  const gpu: Gpu = {
    id,
    vendor: "nvidia",
    model: text("name")?.slice(0, 127) ?? null,
    driver: text("driver_version")?.slice(0, 63) ?? null,
    vram_bytes: total === 0 ? null : total,
    render_node: null,
  };
  const usage: GpuUsage = {
    id,
    utilisation_percent: number("utilization.gpu", 100),
    vram_used_bytes: number("memory.used", 10_000_000, MIB),
    encoder_sessions: number("encoder.stats.sessionCount", 10_000),
    encoder_percent: fields.includes("utilization.encoder") ? number("utilization.encoder", 100) : null,
  };
  return { gpu, usage: allZero(usage) ? nothingKnown(id) : usage };
}

/** The driver alone takes a MiB or more: where not even that is in use, nothing was read. */
function allZero(usage: GpuUsage): boolean {
  return (
    !usage.vram_used_bytes && !usage.utilisation_percent && !usage.encoder_sessions && !usage.encoder_percent
  );
}

export function nothingKnown(id: string): GpuUsage {
  return {
    id,
    utilisation_percent: null,
    vram_used_bytes: null,
    encoder_sessions: null,
    encoder_percent: null,
  };
}

/** `00000000:01:00.0` of nvidia-smi as `0000:01:00.0` of Linux. */
function busAddress(text: string): string | undefined {
  const match = /^(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i.exec(text);
  return match?.[1]?.toLowerCase();
}
