/** Lines over time. The library that draws them is loaded with the first chart; those who do not see it hear the figures. */
import { useEffect, useId, useRef, useState } from "react";
import { importOrReload } from "./part.ts";
import { duration } from "./text.ts";
import "./chart.css";

export interface Series {
  label: string;
  /** One for each time; null leaves a gap. */
  values: readonly (number | null)[];
}

export interface ChartProps {
  /** What it shows: `GPU utilisation`. */
  label: string;
  /** Milliseconds, ascending. */
  times: readonly number[];
  series: readonly Series[];
  /** How a value is written: `(ms) => "12 ms"`. */
  format: (value: number) => string;
  /** Of the axis; default: what the values need, from zero. */
  max?: number;
  height?: number;
}

const SERIES_MAX = 5;
const AXIS_PX = 64;

export function Chart({ label, times, series, format, max, height = 180 }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<{ destroy(): void; setData(data: never): void } | undefined>(undefined);
  const shown = series.slice(0, SERIES_MAX);
  const shape = shown.map((one) => one.label).join("\n");
  const id = useId();
  const data = [times.map((at) => at / 1000), ...shown.map(({ values }) => values)];
  const latest = useRef(data);
  latest.current = data;
  const writes = useRef(format);
  writes.current = format;
  const [isMissing, setMissing] = useState(false);

  useEffect(() => {
    const target = place.current;
    if (!target) return;
    let gone = false;
    let stop: (() => void) | undefined;
    const draws = ({ draw }: typeof import("./chart-drawing.ts")) => {
      if (gone) return;
      const chart = draw(target, {
        labels: shape.split("\n"),
        data: latest.current,
        format: (value) => writes.current(value),
        max,
        height,
        axisPx: AXIS_PX,
      });
      drawn.current = chart as never;
      stop = chart.destroy;
    };
    importOrReload(() => import("./chart-drawing.ts"))
      .then(draws)
      .catch(() => gone || setMissing(true));
    return () => {
      gone = true;
      drawn.current = undefined;
      stop?.();
    };
  }, [shape, max, height]);

  useEffect(() => {
    drawn.current?.setData(data as never);
  });

  return (
    <figure className="chart" aria-labelledby={id}>
      <figcaption id={id} className="unseen">
        {said(label, times, shown, format)}
      </figcaption>
      <div className="chart-legend" aria-hidden="true">
        {shown.map((one, index) => {
          const value = lastOf(one.values);
          return (
            <span key={one.label} className="row small">
              <span className={`chart-key chart-key-${index + 1}`} />
              <span className="clip">{one.label}</span>
              <span className="figures">{value === null ? "–" : format(value)}</span>
            </span>
          );
        })}
      </div>
      {isMissing && (
        <p className="muted small" role="status">
          The lines could not be drawn. Load the page again.
        </p>
      )}
      <div ref={place} className="chart-place" style={{ height }} aria-hidden="true" />
    </figure>
  );
}

const lastOf = (values: readonly (number | null)[]): number | null =>
  values.findLast((one) => one !== null) ?? null;

/** The chart in words. */
function said(
  label: string,
  times: readonly number[],
  series: readonly Series[],
  format: ChartProps["format"],
): string {
  const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const parts = series.map(({ label: name, values }) => {
    const known = values.filter((one) => one !== null);
    if (known.length === 0) return `${name}: unknown`;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    return `${name}: now ${format(known.at(-1) ?? 0)}, between ${format(low)} and ${format(high)}`;
  });
  return `${label} over ${duration(span)}. ${parts.join(". ")}`;
}
