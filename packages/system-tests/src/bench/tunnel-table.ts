/** The bench's result as a table: what was measured, what must be reached, what is aimed at. */
import type { benchTunnel } from "./tunnel.ts";

export type TunnelResult = Awaited<ReturnType<typeof benchTunnel>>;

type Row = readonly [line: string, value: number, unit: string, must: number, aim: number];

function rows(result: TunnelResult): Row[] {
  const { smallGet64, smallGet1, download, longLink, wedge, idleTunnel } = result;
  return [
    [
      "small GET, 64 at once, requests/s ÷ gateway without tunnel",
      smallGet64.ratioToDirectGateway,
      "",
      0.75,
      1,
    ],
    ["small GET, 64 at once ÷ HTTP/2 over the same WebSocket", smallGet64.ratioToHttp2OverWs, "", 2.5, 3.5],
    ["small GET, 1 at a time, p50 ÷ gateway without tunnel", smallGet1.p50RatioToDirectGateway, "", 1.8, 1.3],
    ["256 MiB download, MB/s ÷ gateway without tunnel", download.ratioToDirectGateway, "", 0.7, 1],
    ["small GET p99 while 4 downloads run", result.smallGetDuringDownloads.p99Ms, "ms", 10, 3],
    ["small GET p99 while one client reads 2 MB/s", result.smallGetDuringSlowReader.p99Ms, "ms", 3, 1.5],
    [
      "one stalled channel: throughput of the others",
      result.stalledChannel.othersThroughputRatio,
      "",
      0.95,
      0.99,
    ],
    ["first call on an idle tunnel at 50 ms", longLink.firstCallMs, "ms", 55, 52],
    ["one download at 50 ms ÷ raw TCP over the same path", longLink.ratioToRawTcp, "", 0.8, 0.95],
    ["wedged peer noticed", wedge.noticedSeconds, "s", 15, 11],
    ["RSS per idle tunnel", idleTunnel.rssBytes / 1000, "KB", 40, 20],
    ["tunnels held by one process", idleTunnel.held, "", 5000, 18_000],
  ];
}

const number = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

export function tunnelTable(result: TunnelResult): string {
  const lines = [["", "measured", "must", "aim", ""]];
  for (const [line, value, unit, must, aim] of rows(result)) {
    const good = must > aim ? value <= must : value >= must;
    lines.push([line, `${number(value)} ${unit}`.trim(), number(must), number(aim), good ? "" : "MISSED"]);
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
    return [
      `${lane.padEnd(7)} ${number(figures.smallGet64PerSecond)}/s at 64 (p99 ${number(figures.smallGet64P99Ms)} ms)`,
      `p50 ${number(figures.smallGet1P50Ms)} ms at 1, ${number(figures.downloadMegabytesPerSecond)} MB/s`,
      `CPU µs per request: ${cpu}`,
    ].join("; ");
  });
  return `${text.join("\n")}\n\n${lanes.join("\n")}\n`;
}
