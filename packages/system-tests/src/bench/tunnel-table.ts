/** The bench's result as a table: what was measured, what must be reached, what is aimed at. */
import type { benchTunnel } from "./tunnel.ts";

export type TunnelResult = Awaited<ReturnType<typeof benchTunnel>>;

type Row = readonly [line: string, value: number, unit: string, must: number, aim: number];

function rows(result: TunnelResult): Row[] {
  const { smallGet64, smallGet1, download, longLink, wedge, idleTunnel } = result;
  const { p99Ms: besideDownloads } = result.smallGetDuringDownloads;
  const { p99Ms: besideSlowReader } = result.smallGetDuringSlowReader;
  const { othersThroughputRatio } = result.stalledChannel;
  const noticed = wedge.survivedStallOf10Seconds ? wedge.noticedSeconds : Number.NaN;
  return [
    ["64 GETs at once, per second ÷ no tunnel", smallGet64.ratioToDirectGateway, "", 0.75, 1],
    ["64 GETs at once, per second ÷ HTTP/2", smallGet64.ratioToHttp2OverWs, "", 2.5, 3.5],
    ["1 GET at a time, p50 ÷ no tunnel", smallGet1.p50RatioToDirectGateway, "", 1.8, 1.3],
    ["download, MB/s ÷ no tunnel", download.ratioToDirectGateway, "", 0.7, 1],
    ["GET p99 beside 4 downloads", besideDownloads, "ms", 10, 3],
    ["GET p99 beside a reader of 2 MB/s", besideSlowReader, "ms", 3, 1.5],
    ["64 GETs beside a stalled channel ÷ without", othersThroughputRatio, "", 0.95, 0.99],
    ["first call on an idle tunnel at 50 ms", longLink.firstCallMs, "ms", 55, 52],
    ["download at 50 ms ÷ raw TCP on the same path", longLink.ratioToRawTcp, "", 0.8, 0.95],
    ["wedged peer noticed, a 10 s stall survived", noticed, "s", 15, 11],
    ["RSS per idle tunnel", idleTunnel.rssBytes / 1000, "KB", 40, 20],
    ["tunnels held by one process", idleTunnel.held, "", 5000, 18_000],
  ];
}

const number = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

export function tunnelTable(result: TunnelResult): string {
  const lines = [["", "measured", "must", "aim", ""]];
  for (const [line, value, unit, must, aim] of rows(result)) {
    const good = must > aim ? value <= must : value >= must;
    const measured = Number.isNaN(value) ? "no" : `${number(value)} ${unit}`.trim();
    lines.push([line, measured, number(must), number(aim), good ? "" : "MISSED"]);
  }
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const text = lines.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  const lanes = Object.entries(result.absolute).map(([lane, figures]) => {
    const cpu = figures.cpu
      .map((share) => `${share.process} ${share.microsPerRequest.toFixed(0)}`)
      .join(", ");
    const many = `${number(figures.smallGet64PerSecond)}/s at 64 (p99 ${number(figures.smallGet64P99Ms)} ms)`;
    const one = `p50 ${number(figures.smallGet1P50Ms)} ms at 1`;
    const bulk = `${number(figures.downloadMegabytesPerSecond)} MB/s`;
    return `${lane.padEnd(7)} ${many}, ${one}, ${bulk}\n        CPU µs per request: ${cpu}`;
  });
  return `${text.join("\n")}\n\n${lanes.join("\n")}\n`;
}
