/**
 * How busy hosts were, a sample a minute, of the last six hours at most. In memory, of this replica: 24 bytes a sample for a host with
 * one GPU and 16 for each further one, so 8.6 KB for 360 samples. All together take 64 MiB at most: a history grows as long as there is
 * room, and after that begins later. With 10,000 hosts of one GPU that is at least three hours for each.
 */
import { type HostUsage, historyLimits, type UsageSample } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { SlotRing } from "../slot-ring.ts";
import type { WolfStore } from "./wolf-store.ts";

export const USAGE_SLOT_MS = 60_000;
const BYTES_MAX = 64 * 1024 * 1024;
/** Rows of a new history. */
const ROWS_MIN = 12;
const HOST_FIGURES = 2;
const GPU_FIGURES = 4;
/** Different ones of one host since its history began; after that it begins anew. */
const GPUS_MAX = 32;

type Heard = Pick<HostUsage, "cpu_load" | "memory_available_bytes" | "gpus">;

export interface UsageHistory {
  heard(wolfId: string, usage: Heard): void;
  /** Oldest first. */
  list(wolfId: string): UsageSample[];
  /** Bytes of all figures. */
  readonly bytes: number;
}

interface Kept {
  /** In the order of the columns. */
  gpuIds: string[];
  ring: SlotRing;
}

export interface UsageHistoryOptions {
  clock: Clock;
  /** Default 64 MiB. */
  bytesMax?: number;
}

export function createUsageHistory({ clock, bytesMax = BYTES_MAX }: UsageHistoryOptions): UsageHistory {
  /** The longest silent first. */
  const kept = new Map<string, Kept>();
  let bytes = 0;
  let sweptSlot = Number.NaN;
  const slotNow = () => Math.floor(clock.now().getTime() / USAGE_SLOT_MS);
  const oldest = () => slotNow() - historyLimits.samplesMax + 1;

  function forget(wolfId: string): void {
    bytes -= kept.get(wolfId)?.ring.bytes ?? 0;
    kept.delete(wolfId);
  }

  /** Histories that have nothing left to show; those of hosts that have been silent for as long. */
  function forgetOld(slot: number): void {
    // Once a slot: to pass over all that were put further back costs as much as they are many.
    if (slot === sweptSlot) return;
    sweptSlot = slot;
    for (const [wolfId, { ring }] of kept) {
      if (ring.newestSlot >= oldest()) return;
      forget(wolfId);
    }
  }

  /** The ring in which the next row is to be, if there is room for one. */
  function room(before: SlotRing | undefined, width: number, slot: number): SlotRing | undefined {
    const wanted = before?.capacityAt(slot, historyLimits.samplesMax) ?? ROWS_MIN;
    if (before?.capacity === wanted && before.width === width) return before;
    const free = bytesMax - bytes + (before?.bytes ?? 0);
    const fits = (rows: number) => rows * width * Float32Array.BYTES_PER_ELEMENT <= free;
    if (fits(wanted)) return resize(before, width, wanted);
    if (before?.width === width) return before;
    // More figures, and no room for them: fewer rows.
    return fits(ROWS_MIN) ? resize(before, width, ROWS_MIN) : undefined;
  }

  return {
    heard(wolfId, usage) {
      const slot = slotNow();
      forgetOld(slot);
      const before = kept.get(wolfId);
      const gpuIds = union(before?.gpuIds ?? [], usage);
      const width = HOST_FIGURES + gpuIds.length * GPU_FIGURES;
      const goesOn = before?.gpuIds.every((id, at) => gpuIds[at] === id);
      const ring = room(goesOn ? before?.ring : undefined, width, slot);
      forget(wolfId);
      if (ring === undefined) return;
      ring.put(slot, figuresOf(usage, gpuIds));
      kept.set(wolfId, { gpuIds, ring });
      bytes += ring.bytes;
    },

    list(wolfId) {
      const known = kept.get(wolfId);
      if (known === undefined) return [];
      return Array.from(known.ring.rows(oldest()), ({ slot, figures }) =>
        sampleOf(known.gpuIds, slot, figures),
      );
    },

    get bytes() {
      return bytes;
    },
  };
}

const resize = (before: SlotRing | undefined, width: number, capacity: number) =>
  before?.resized(width, capacity) ?? new SlotRing(width, capacity);

/** Those of before and the new ones; only these where that would be too many. */
function union(before: readonly string[], { gpus }: Heard): string[] {
  const now = gpus.map(({ id }) => id);
  const all = [...before, ...now.filter((id) => !before.includes(id))];
  return all.length <= GPUS_MAX ? all : now;
}

const orUnknown = (figure: number | null | undefined) => figure ?? Number.NaN;

function figuresOf({ cpu_load, memory_available_bytes, gpus }: Heard, gpuIds: readonly string[]): number[] {
  const byId = new Map(gpus.map((gpu) => [gpu.id, gpu]));
  return [
    orUnknown(cpu_load),
    orUnknown(memory_available_bytes),
    ...gpuIds.flatMap((id) => {
      const gpu = byId.get(id);
      const { utilisation_percent, vram_used_bytes, encoder_sessions, encoder_percent } = gpu ?? {};
      return [utilisation_percent, vram_used_bytes, encoder_sessions, encoder_percent].map(orUnknown);
    }),
  ];
}

function sampleOf(gpuIds: readonly string[], slot: number, figures: Float32Array): UsageSample {
  const at = (column: number) => {
    const figure = figures[column] ?? Number.NaN;
    // A smaller kind of number keeps it, which may have made the largest integer one more.
    return Number.isNaN(figure) ? null : Math.min(figure, Number.MAX_SAFE_INTEGER);
  };
  const tenths = (figure: number | null) => figure && Math.round(figure * 10) / 10;
  return {
    at: new Date(slot * USAGE_SLOT_MS).toISOString(),
    cpu_load: tenths(at(0)),
    memory_available_bytes: at(1),
    gpus: gpuIds.map((id, gpu) => {
      const column = HOST_FIGURES + gpu * GPU_FIGURES;
      return {
        id,
        utilisation_percent: tenths(at(column)),
        vram_used_bytes: at(column + 1),
        encoder_sessions: at(column + 2),
        encoder_percent: tenths(at(column + 3)),
      };
    }),
  };
}

/** The store that tells the history of every figure it has written: what an overtaken tunnel says is left out there too. */
export function tellingUsage<Store extends Pick<WolfStore, "changeUsage">>(
  store: Store,
  history: Pick<UsageHistory, "heard">,
): Store {
  return {
    ...store,
    async changeUsage(id, epoch, report, now) {
      const written = await store.changeUsage(id, epoch, report, now);
      if (written) history.heard(id, report.usage);
      return written;
    },
  };
}
