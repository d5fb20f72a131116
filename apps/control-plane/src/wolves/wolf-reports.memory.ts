/** What agents say of wolves, in memory: a part of the twin of the store in PostgreSQL. */
import { isDeepStrictEqual } from "node:util";
import type { MemoryFleet, WolfRow } from "../database/memory-fleet.ts";
import { renderGpuUsage } from "./gpu-choice.ts";
import type { Wolf, WolfReport, WolfStore } from "./wolf-store.ts";

type Reports = Pick<
  WolfStore,
  "changeHealth" | "changeCapabilities" | "changeImages" | "changeReport" | "changeUsage"
>;

const INT_MAX = 2 ** 31 - 1;
const MIB = 2 ** 20;

export const described = ({
  gpuType,
  maxSandboxes,
  labels,
  region,
  costPerHour,
  agentVersion,
}: WolfReport) => ({
  gpuType,
  maxSandboxes,
  labels,
  region,
  costPerHour,
  agentVersion,
});

export function memoryReports(fleet: MemoryFleet): Reports {
  /** What is said by the tunnel of an older epoch changes nothing. */
  function change(
    id: string,
    epoch: number,
    changed: (row: WolfRow) => Partial<WolfRow>,
    now: Date,
  ): boolean {
    const row = fleet.wolves.get(id);
    if (row?.epoch !== epoch) return false;
    fleet.changeWolf(row, { ...changed(row), updatedAt: now });
    return true;
  }

  /** The same, where what the row says already is not written. */
  function learn(id: string, epoch: number, said: (row: WolfRow) => Partial<WolfRow>, now: Date): boolean {
    const row = fleet.wolves.get(id);
    const isNews = ([name, value]: [string, unknown]) =>
      !isDeepStrictEqual(row?.[name as keyof WolfRow], value);
    if (row?.epoch === epoch && !Object.entries(said(row)).some(isNews)) return true;
    return change(id, epoch, said, now);
  }

  return {
    async changeHealth(id, epoch, health, reasons, now) {
      return learn(id, epoch, () => ({ health, healthReasons: [...reasons] }), now);
    },

    async changeCapabilities(id, epoch, capabilities, now) {
      return learn(id, epoch, () => ({ capabilities }), now);
    },

    async changeImages(id, epoch, images, now) {
      return learn(id, epoch, () => ({ images }), now);
    },

    async changeReport(id, epoch, report, now) {
      const { host, gpu } = report;
      return learn(
        id,
        epoch,
        (row) => ({
          ...described(report),
          encoderSessions: { ...row.encoderSessions, max: report.encoderSessionsMax },
          ...(host && { host }),
          ...(gpu && {
            gpuModel: gpu.model,
            renderNode: gpu.renderNode,
            vramMb: { ...row.vramMb, max: gpu.vramMb === null ? null : Math.min(gpu.vramMb, INT_MAX) },
          }),
        }),
        now,
      );
    },

    async changeUsage(id, epoch, { usage, wolfRestarts }, now) {
      return change(
        id,
        epoch,
        (row) => {
          const said = { usage: { ...usage, received_at: now.toISOString() }, wolfRestarts };
          // What could not be read says nothing about what is used.
          if (usage.gpu_state !== "ok" && usage.gpu_state !== "missing") return said;
          const figures = renderGpuUsage(row.host, row.renderNode, usage);
          const vramMb = Math.floor((figures?.vram_used_bytes ?? 0) / MIB);
          return {
            ...said,
            vramMb: beyond(row.vramMb, vramMb),
            encoderSessions: beyond(row.encoderSessions, figures?.encoder_sessions ?? 0),
          };
        },
        now,
      );
    },
  };
}

function beyond(before: Wolf["vramMb"], measured: number): Wolf["vramMb"] {
  const other = Math.max(0, measured - before.claimed, Math.min(before.other, measured));
  return { ...before, other: Math.min(other, INT_MAX) };
}
