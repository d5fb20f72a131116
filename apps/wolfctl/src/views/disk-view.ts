/** How full a wolf's mounts are, with how that went. */
import type { DiskSample, DiskUsage } from "@wolfpack/api-contract";
import type { ListView } from "../output/output.ts";
import { bar, size, sparkline } from "../output/words.ts";
import { levelTones, share } from "./wolf-view.ts";

const TREND_SIGNS = 16;
export function diskView(samples: readonly DiskSample[]): ListView<DiskUsage> {
  const byMount = new Map<string, DiskSample[]>();
  for (const sample of [...samples].sort((a, b) => (a.at < b.at ? -1 : 1)))
    byMount.set(sample.mount, [...(byMount.get(sample.mount) ?? []), sample]);
  const growth = ({ mount, used_bytes }: DiskUsage): string => {
    const first = byMount.get(mount)?.[0];
    if (first === undefined) return "–";
    const by = used_bytes - first.used_bytes;
    return by === 0 ? "0" : `${by > 0 ? "+" : "−"}${size(Math.abs(by))}`;
  };
  return {
    none: "Nothing is known of its disks.",
    name: ({ mount }) => mount,
    columns: [
      { title: "MOUNT", of: ({ mount }) => mount, shrinkTo: 12 },
      { title: "USED", of: (one) => `${bar(share(one), 5)} ${Math.round(share(one) * 100)} %` },
      { title: "OF", of: ({ total_bytes }) => size(total_bytes), align: "right" },
      { title: "AVAILABLE", of: ({ available_bytes }) => size(available_bytes), align: "right" },
      { title: "LEVEL", of: ({ level }) => ({ text: level, tone: levelTones[level] ?? "none" }) },
      { title: "GROWTH", of: growth, align: "right" },
      {
        title: "TREND",
        of: ({ mount }) => sparkline((byMount.get(mount) ?? []).map(share), TREND_SIGNS),
        spare: 1,
      },
    ],
  };
}
