/**
 * Lines from replicas to regions, drawn behind their cards: one where a replica holds tunnels of a region's wolves, thicker for more,
 * coloured by how many of the region's wolves are well.
 */
import type { CallReply } from "@wolfpack/api-contract";
import { type RefObject, useEffect, useState } from "react";
import type { Region } from "../../fleet/regions.ts";

type Replica = CallReply<"listReplicas">["body"][number];

interface LinksProps {
  within: RefObject<HTMLDivElement | null>;
  regions: readonly Region[];
  replicas: readonly Replica[];
}

interface Line {
  key: string;
  /** The region that it leads to. */
  to: string;
  path: string;
  width: number;
  /** `none`: wolves that need no tunnel to be there. */
  tone: "ok" | "warning" | "danger" | "none";
}

const THICKNESS_PX_MAX = 7;
/** From so many replicas and regions on, lines would say nothing. */
const LINES_MAX = 200;

export function Links({ within, regions, replicas }: LinksProps) {
  const [lines, setLines] = useState<readonly Line[]>([]);

  useEffect(() => {
    const map = within.current;
    if (!map) return;
    const draw = () => setLines(linesOf(map, regions, replicas));
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(map);
    for (const card of map.querySelectorAll("[data-region], [data-replica]")) observer.observe(card);
    return () => observer.disconnect();
  }, [within, regions, replicas]);

  return (
    <svg className="topology-links" aria-hidden="true">
      {lines.map(({ key, to, path, width, tone }) => (
        <g key={key} data-to={to}>
          <path d={path} strokeWidth={width} className={`topology-link topology-link-${tone}`} />
          {(tone === "ok" || tone === "warning") && (
            <path d={path} strokeWidth={Math.max(1.5, width / 2)} className="topology-flow" />
          )}
        </g>
      ))}
    </svg>
  );
}

function linesOf(map: HTMLElement, regions: readonly Region[], replicas: readonly Replica[]): Line[] {
  if (regions.length * replicas.length > LINES_MAX) return [];
  const box = map.getBoundingClientRect();
  const lines: Line[] = [];
  for (const from of map.querySelectorAll<HTMLElement>("[data-replica]")) {
    const replica = replicas.find(({ id }) => id === from.dataset.replica);
    for (const to of map.querySelectorAll<HTMLElement>("[data-region]")) {
      const region = regions.find(({ name }) => (name ?? "") === to.dataset.region);
      if (!replica || !region) continue;
      const held = region.heldBy.get(replica.id) ?? 0;
      // Wolves without a tunnel hang on nobody; with one replica it is clear whom they miss.
      if (held === 0 && replicas.length > 1) continue;
      lines.push({
        key: `${replica.id} ${region.name}`,
        to: region.name ?? "",
        path: curve(from.getBoundingClientRect(), to.getBoundingClientRect(), box),
        width: thickness(held),
        tone: toneOf(region),
      });
    }
  }
  return lines;
}

function toneOf({ tunnels, lost, suspect }: Region): Line["tone"] {
  if (tunnels === 0) return lost + suspect > 0 ? "danger" : "none";
  return lost + suspect > 0 ? "warning" : "ok";
}

const thickness = (tunnels: number): number =>
  tunnels <= 0 ? 1.5 : Math.min(THICKNESS_PX_MAX, 2 + Math.log2(1 + tunnels) * 0.6);

/** Sideways where they stand beside each other, down where they stand above. */
function curve(from: DOMRect, to: DOMRect, box: DOMRect): string {
  if (to.left >= from.right) {
    const [x1, y1] = [from.right - box.left, from.top + from.height / 2 - box.top];
    const [x2, y2] = [to.left - box.left, to.top + Math.min(36, to.height / 2) - box.top];
    const middle = (x1 + x2) / 2;
    return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
  }
  const x = to.left - box.left + 24;
  return `M${x} ${from.bottom - box.top}L${x} ${to.top - box.top}`;
}
