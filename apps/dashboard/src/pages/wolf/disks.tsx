/** The disks of a host: how full they are, and were as far back as the newest samples reach. */
import type { DiskSample, WolfInstance } from "@wolfpack/api-contract";
import { useRead } from "../../api/queries.ts";
import { Badge, toneOf } from "../../ui/badge.tsx";
import { Chart } from "../../ui/chart.tsx";
import { LoadBar } from "../../ui/load-bar.tsx";
import { Failure } from "../../ui/states.tsx";
import { bytes, duration, plain, sentence } from "../../ui/text.ts";
import { linesOf } from "./disk-lines.ts";

const SAMPLES = 200;
/** There is no newer one before. */
const REFRESH_MS = 300_000;
const CHART_PX = 170;

export function Disks({ wolf }: { wolf: WolfInstance }) {
  const history = useRead(
    "listDiskHistory",
    { params: { id: wolf.id }, query: { limit: SAMPLES } },
    { refetchInterval: REFRESH_MS },
  );
  const { data, error } = history;
  const disks = wolf.usage?.disks ?? [];
  const samples = Array.isArray(data) ? (data as DiskSample[]) : [];
  const { times, series } = linesOf(samples, disks);
  return (
    <section className="card">
      <h2 className="card-head">
        Disks
        {wolf.usage?.disk_detail && (
          <span className="wolf-warning small wrap">{plain(wolf.usage.disk_detail)}</span>
        )}
      </h2>
      {disks.length === 0 && <p className="muted">Its agent watches none, or has not said yet.</p>}
      <dl className="wolf-disks">
        {disks.map((disk) => (
          <div key={disk.mount} className="wolf-disk">
            <dt>
              <code className="wrap">{plain(disk.mount)}</code>
              {disk.level !== "ok" && (
                <Badge tone={disk.level === "critical" ? "danger" : toneOf(disk.level)}>
                  {sentence(disk.level)}
                </Badge>
              )}
            </dt>
            <dd>
              <LoadBar
                label={`Disk ${plain(disk.mount)}`}
                used={disk.used_bytes}
                max={disk.used_bytes + disk.available_bytes}
                text={`${bytes(disk.available_bytes)} free of ${bytes(disk.total_bytes)}`}
                warnAt={disk.level === "ok" ? 2 : 0}
                fullAt={disk.level === "critical" ? 0 : 2}
              />
            </dd>
          </div>
        ))}
      </dl>
      {error && <Failure error={error} retry={() => void history.refetch()} />}
      {times.length > 1 && (
        <>
          <h3 className="wolf-chart-title">In use, over {duration((times.at(-1) ?? 0) - (times[0] ?? 0))}</h3>
          <Chart
            label="Disks in use"
            times={times}
            series={series}
            format={(value) => `${Math.round(value)} %`}
            max={100}
            height={CHART_PX}
          />
        </>
      )}
    </section>
  );
}
