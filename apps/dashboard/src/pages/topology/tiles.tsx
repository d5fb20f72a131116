/** Wolves as tiles: with their names where they are few, as squares where they are many, painted where they are thousands. */

import { Link, useNavigate } from "@tanstack/react-router";
import type { WolfInstance } from "@wolfpack/api-contract";
import { type MouseEvent, memo, useEffect, useMemo, useRef, useState } from "react";
import { tileLoad, tileState } from "../../fleet/regions.ts";
import { inShort, slotsOf } from "../../fleet/wolf-words.ts";
import { plain } from "../../ui/text.ts";
import { bandsOf } from "./bands.ts";

export type TileSize = "named" | "square" | "painted";

const NAMED_MAX = 60;
const SQUARES_MAX = 600;
export function tileSize(wolves: number): TileSize {
  if (wolves <= NAMED_MAX) return "named";
  return wolves <= SQUARES_MAX ? "square" : "painted";
}

interface TilesProps {
  wolves: readonly WolfInstance[];
  size: TileSize;
  label: string;
}

export function Tiles({ wolves, size, label }: TilesProps) {
  if (size === "painted") return <Painted wolves={wolves} label={label} />;
  return (
    <ul className={`topology-tiles topology-tiles-${size}`} aria-label={label}>
      {wolves.map((wolf) => (
        <Tile key={wolf.id} wolf={wolf} named={size === "named"} />
      ))}
    </ul>
  );
}

const Tile = memo(function Tile({ wolf, named }: { wolf: WolfInstance; named: boolean }) {
  const state = tileState(wolf);
  const { used, other, max } = slotsOf(wolf);
  const words = inShort(wolf);
  const colours = state === "lost" ? "topology-lost" : `topology-load-${tileLoad(wolf)} topology-${state}`;
  return (
    <li>
      <Link
        to="/wolves/$id"
        params={{ id: wolf.id }}
        className={named ? "topology-named" : `topology-square ${colours}`}
        title={words}
        {...(named ? {} : { "aria-label": words })}
      >
        {named && (
          <>
            <span className={`topology-key ${colours}`} />
            <span className="topology-name">
              <span className="clip">{plain(wolf.name)}</span>
              <span className="muted small figures">
                {state === "lost" ? "lost" : `${used + other} / ${max}`}
              </span>
            </span>
          </>
        )}
      </Link>
    </li>
  );
});

const CELL_PX = 10;
const GAP_PX = 2;
const STEP_PX = CELL_PX + GAP_PX;

/** Canvases of a region: thousands of elements would be slow. The keyboard has the region's link to the table instead. */
function Painted({ wolves, label }: { wolves: readonly WolfInstance[]; label: string }) {
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const columns = Math.max(1, Math.floor((width + GAP_PX) / STEP_PX));
  const bands = useMemo(() => bandsOf(wolves, columns), [wolves, columns]);

  useEffect(() => {
    const target = frame.current;
    if (!target) return;
    const observer = new ResizeObserver(() => setWidth(target.clientWidth));
    observer.observe(target);
    return () => observer.disconnect();
  }, []);

  return (
    <div ref={frame} className="topology-painted" role="img" aria-label={label}>
      {width > 0 &&
        bands.map(({ from, items, rows }) => (
          <BandCanvas key={from} wolves={items} width={width} height={rows * STEP_PX} columns={columns} />
        ))}
    </div>
  );
}

function BandCanvas({ wolves, ...place }: Place & { wolves: readonly WolfInstance[] }) {
  const { width, height, columns } = place;
  const canvas = useRef<HTMLCanvasElement>(null);
  const navigate = useNavigate();
  const [words, setWords] = useState("");

  useEffect(() => {
    const paintNow = () => {
      if (canvas.current) paint(canvas.current, wolves, { width, height, columns });
    };
    paintNow();
    const observer = new MutationObserver(paintNow);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }, [wolves, width, height, columns]);

  const at = ({ nativeEvent: { offsetX, offsetY } }: MouseEvent): WolfInstance | undefined => {
    const column = Math.floor(offsetX / STEP_PX);
    return column < columns ? wolves[Math.floor(offsetY / STEP_PX) * columns + column] : undefined;
  };
  const open = (event: MouseEvent) => {
    const wolf = at(event);
    if (wolf) void navigate({ to: "/wolves/$id", params: { id: wolf.id } });
  };
  return (
    <canvas
      ref={canvas}
      title={words}
      style={{ height }}
      onClick={open}
      onMouseMove={(event) => {
        const wolf = at(event);
        setWords(wolf ? inShort(wolf) : "");
      }}
    />
  );
}

interface Place {
  width: number;
  height: number;
  columns: number;
}

function paint(
  canvas: HTMLCanvasElement,
  wolves: readonly WolfInstance[],
  { width, height, columns }: Place,
): void {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const loads = [0, 1, 2, 3, 4].map((step) => colour(`--load-${step}`));
  const [ill, lost, held] = [colour("--warning-mark"), colour("--danger-mark"), colour("--neutral-mark")];
  pen.scale(scale, scale);
  pen.lineWidth = 2;
  wolves.forEach((wolf, index) => {
    const x = (index % columns) * STEP_PX;
    const y = Math.floor(index / columns) * STEP_PX;
    const state = tileState(wolf);
    if (state !== "lost") {
      pen.fillStyle = loads[tileLoad(wolf)] ?? "";
      pen.fillRect(x, y, CELL_PX, CELL_PX);
    }
    if (state === "fine") return;
    pen.strokeStyle = state === "lost" ? lost : state === "ill" ? ill : held;
    pen.strokeRect(x + 1, y + 1, CELL_PX - 2, CELL_PX - 2);
  });
}
