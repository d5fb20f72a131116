/** The graphics cards of a host: what they are, and how busy they were. */
import type { CallReply, WolfInstance } from "@wolfpack/api-contract";
import { useRead } from "../../api/queries.ts";
import { Chart, type Series } from "../../ui/chart.tsx";
import { Empty, Failure, Skeleton } from "../../ui/states.tsx";
import { bytes, plain } from "../../ui/text.ts";

type History = CallReply<"listUsageHistory">["body"];
const REFRESH_MS = 30_000;
const CHART_PX = 190;

export function Gpus({ wolf }: { wolf: WolfInstance }) {
  const history = useRead("listUsageHistory", { params: { id: wolf.id } }, { refetchInterval: REFRESH_MS });
  const cards = wolf.host?.gpus ?? [];
  const { usage } = wolf;
  if (cards.length === 0)
    return (
      <section className="card">
        <h2 className="card-head">Graphics cards</h2>
        <p className="muted">
          {usage?.gpu_detail ? plain(usage.gpu_detail) : "Its agent has found none, or has not said yet."}
        </p>
      </section>
    );
  return (
    <section className="card">
      <h2 className="card-head">
        Graphics cards
        {usage?.gpu_state && usage.gpu_state !== "ok" && (
          <span className="wolf-warning small">
            {plain(usage.gpu_state)}
            {usage.gpu_detail && `: ${plain(usage.gpu_detail)}`}
          </span>
        )}
      </h2>
      <ul className="wolf-gpus">
        {cards.map((gpu, index) => {
          const now = usage?.gpus.find(({ id }) => id === gpu.id);
          return (
            <li key={gpu.id} className="wolf-gpu">
              <span className={`chart-key chart-key-${(index % 5) + 1}`} />
              <span>
                <strong>{plain(gpu.model) || plain(gpu.vendor)}</strong>
                <span className="muted small">
                  {" "}
                  {plain(gpu.id)}
                  {gpu.vram_bytes !== null && `, ${bytes(gpu.vram_bytes)}`}
                  {gpu.driver && `, driver ${plain(gpu.driver)}`}
                  {now && now.encoder_sessions !== null && `, ${now.encoder_sessions} encoder sessions`}
                </span>
              </span>
            </li>
          );
        })}
      </ul>
      {history.error && <Failure error={history.error} retry={() => void history.refetch()} />}
      {history.data === undefined && !history.error && (
        <div style={{ minHeight: CHART_PX }}>
          <Skeleton lines={5} />
        </div>
      )}
      {history.data && <GpuCharts wolf={wolf} samples={history.data} />}
    </section>
  );
}

function GpuCharts({ wolf, samples }: { wolf: WolfInstance; samples: History }) {
  const cards = wolf.host?.gpus ?? [];
  const times = samples.map(({ at }) => Date.parse(at));
  if (times.length < 2)
    return (
      <Empty title="Charts begin with the second minute" icon="events">
        Figures come once a minute while its tunnel is up.
      </Empty>
    );
  const lines = (pick: (gpu: History[number]["gpus"][number]) => number | null): Series[] =>
    cards.map((gpu, index) => ({
      label: `GPU ${index + 1}`,
      values: samples.map(({ gpus }) => {
        const found = gpus.find(({ id }) => id === gpu.id);
        return found ? pick(found) : null;
      }),
    }));
  const vramMax = Math.max(0, ...cards.map(({ vram_bytes }) => vram_bytes ?? 0));
  return (
    <div className="grid-2">
      <div>
        <h3>Utilisation</h3>
        <Chart
          label="GPU utilisation"
          times={times}
          series={lines(({ utilisation_percent }) => utilisation_percent)}
          format={(value) => `${Math.round(value)} %`}
          max={100}
          height={CHART_PX}
        />
      </div>
      <div>
        <h3>Video memory</h3>
        <Chart
          label="Video memory in use"
          times={times}
          series={lines(({ vram_used_bytes }) => vram_used_bytes)}
          format={bytes}
          {...(vramMax > 0 ? { max: vramMax } : {})}
          height={CHART_PX}
        />
      </div>
    </div>
  );
}
