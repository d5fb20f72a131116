/** Samples of disks as lines of a chart, as a function of values. */
import type { DiskSample, DiskUsage } from "@wolfpack/api-contract";
import { plain } from "../../ui/text.ts";

const MOUNTS_SHOWN = 5;

/** One line for each mount, in percent; samples come newest first and each for itself. */
export function linesOf(samples: readonly DiskSample[], disks: readonly DiskUsage[]) {
  const mounts = [...new Set([...disks.map(({ mount }) => mount), ...samples.map(({ mount }) => mount)])];
  const times = [...new Set(samples.map(({ at }) => Date.parse(at)))].sort((a, b) => a - b);
  const series = mounts.slice(0, MOUNTS_SHOWN).map((mount) => {
    const byTime = new Map(
      samples
        .filter((sample) => sample.mount === mount)
        .map(({ at, used_bytes: used, available_bytes: free }) => [
          Date.parse(at),
          used + free > 0 ? (100 * used) / (used + free) : null,
        ]),
    );
    return { label: plain(mount), values: times.map((at) => byTime.get(at) ?? null) };
  });
  return { times, series };
}
