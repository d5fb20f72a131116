/** The only file that knows uPlot. */
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axisTimes } from "./axis-times.ts";

export interface Drawing {
  labels: readonly string[];
  data: readonly (readonly (number | null)[])[];
  format: (value: number) => string;
  max: number | undefined;
  height: number;
  axisPx: number;
}

export function draw(target: HTMLElement, { labels, data, format, max, height, axisPx }: Drawing) {
  const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ink = () => colour("--muted");
  const axis = { stroke: ink, grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
  const font = `12px ${colour("--font")}`;
  const chart = new UPlot(
    {
      width: Math.max(1, target.clientWidth),
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      padding: [8, 22, 0, 0],
      scales: { y: { range: (_chart, _low, high) => [0, max ?? Math.max(1e-9, (high ?? 0) * 1.15)] } },
      axes: [
        {
          ...axis,
          font,
          size: 28,
          space: 96,
          grid: { show: false },
          values: (_chart, splits) => axisTimes(splits),
        },
        {
          ...axis,
          font,
          size: axisPx,
          space: 36,
          // Of a known whole its quarters; else round numbers, as they come.
          ...(max === undefined ? {} : { splits: () => [0, max / 4, max / 2, (3 * max) / 4, max] }),
          values: (_chart, splits) => splits.map((value) => format(value)),
        },
      ],
      series: [
        {},
        ...labels.map((label, index) => ({
          label,
          stroke: () => colour(`--series-${index + 1}`),
          width: 1.75,
          points: { show: false },
          ...(labels.length === 1
            ? { fill: () => `color-mix(in srgb, ${colour("--series-1")} 12%, transparent)` }
            : {}),
        })),
      ],
      plugins: [tip(labels, format)],
    },
    data as UPlot.AlignedData,
    target,
  );
  const resized = new ResizeObserver(() => {
    if (target.clientWidth > 0) chart.setSize({ width: target.clientWidth, height });
  });
  resized.observe(target);
  const recoloured = new MutationObserver(() => chart.redraw(false, true));
  recoloured.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return {
    setData: (next: Drawing["data"]) => chart.setData(next as UPlot.AlignedData),
    destroy() {
      resized.disconnect();
      recoloured.disconnect();
      chart.destroy();
    },
  };
}

/** What the lines are at the pointer. */
function tip(labels: readonly string[], format: (value: number) => string): UPlot.Plugin {
  const box = document.createElement("div");
  box.className = "chart-tip";
  box.hidden = true;
  return {
    hooks: {
      init: (chart) => void chart.over.append(box),
      setCursor(chart) {
        const { idx, left = 0 } = chart.cursor;
        const at = idx === null || idx === undefined ? undefined : chart.data[0][idx];
        box.hidden = at === undefined || left < 0;
        if (box.hidden || idx === null || idx === undefined || at === undefined) return;
        const lines = labels.map((label, index) => {
          const value = chart.data[index + 1]?.[idx];
          return `${label} ${value === null || value === undefined ? "–" : format(value)}`;
        });
        // As text: labels may come from hosts.
        box.textContent = [new Date(at * 1000).toLocaleTimeString(), ...lines].join("\n");
        const room = chart.over.clientWidth - box.offsetWidth - 12;
        box.style.left = `${left + 12 > room ? Math.max(0, left - box.offsetWidth - 12) : left + 12}px`;
      },
    },
  };
}
