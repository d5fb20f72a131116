/** The tunnel of a wolf: which one, how far away, how much goes through it. */
import type { CallReply, WolfInstance } from "@wolfpack/api-contract";
import { useRead } from "../../api/queries.ts";
import { clockOf } from "../../fleet/clock-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { Chart } from "../../ui/chart.tsx";
import { Empty, Failure, Skeleton } from "../../ui/states.tsx";
import { bytes, count, millis, plain, sentence, shortId } from "../../ui/text.ts";
import { Lasting, Time } from "../../ui/time.tsx";

type Tunnel = CallReply<"getWolfTunnel">["body"];
const REFRESH_MS = 10_000;
const CHART_PX = 220;
/** An agent of Helix has carriers of its own. */
const carriers: Record<string, string> = { websocket: "WebSocket", http: "HTTP" };

export default function TunnelTab({ wolf }: { wolf: WolfInstance }) {
  const tunnel = useRead(
    "getWolfTunnel",
    { params: { id: wolf.id } },
    { refetchInterval: REFRESH_MS, retry: false },
  );
  if (tunnel.error?.code === "wolf-unreachable")
    return (
      <div className="card">
        <Empty title="It has no tunnel now" icon="topology">
          Last seen <Time at={wolf.last_heartbeat} />. Its agent dials again by itself; on the host,{" "}
          <code>wolf-revdial-client doctor</code> says what is wrong.
        </Empty>
      </div>
    );
  if (tunnel.data === undefined)
    return tunnel.error ? (
      <Failure error={tunnel.error} retry={() => void tunnel.refetch()} />
    ) : (
      <div className="card">
        <Skeleton lines={8} />
      </div>
    );
  return <Shown wolf={wolf} tunnel={tunnel.data} />;
}

function Shown({ wolf, tunnel }: { wolf: WolfInstance; tunnel: Tunnel }) {
  const history = tunnel.rtt_history;
  return (
    <div className="stack">
      <section className="card" aria-label="Tunnel">
        <div className="card-head">
          <h2>Tunnel</h2>
          {tunnel.protocol === "helix" && <Badge tone="info">Agent of Helix</Badge>}
          {wolf.legacy_credential && (
            <Badge tone="warning" title="Opened with the RUNNER_TOKEN, which all hosts share">
              Legacy credential
            </Badge>
          )}
        </div>
        <dl className="wolf-figures">
          <Figure name="RTT" value={millis(tunnel.rtt_ms)} />
          <Figure name="Clock" value={clockOf(wolf)?.words ?? "–"} />
          <Figure name="Up for" value={<Lasting since={tunnel.since} />} />
          <Figure name="Epoch" value={count(tunnel.epoch)} />
          <Figure name="Channels now" value={count(tunnel.channels)} />
          <Figure name="Requests" value={count(tunnel.requests_total)} />
          <Figure name="Received" value={bytes(tunnel.bytes_in)} />
          <Figure name="Sent" value={bytes(tunnel.bytes_out)} />
          <Figure name="Reconnects" value={count(tunnel.reconnects)} />
          <Figure name="Carried by" value={carriers[tunnel.transport] ?? sentence(tunnel.transport)} />
          <Figure
            name="Replica"
            value={<code title={plain(tunnel.replica)}>{shortId(tunnel.replica)}</code>}
          />
        </dl>
      </section>
      <section className="card" aria-label="Round trips">
        <div className="card-head">
          <h2>Round trips</h2>
          <span className="muted small">of the last hour, one for every 10 s</span>
        </div>
        {history.length < 2 ? (
          <Empty title="The chart begins with the second measurement" icon="events" />
        ) : (
          <Chart
            label="Round trip time"
            times={history.map(({ at }) => Date.parse(at))}
            series={[{ label: "RTT", values: history.map(({ ms }) => ms) }]}
            format={millis}
            height={CHART_PX}
          />
        )}
      </section>
    </div>
  );
}

function Figure({ name, value }: { name: string; value: React.ReactNode }) {
  return (
    <div>
      <dt className="muted small">{name}</dt>
      <dd className="wolf-figure figures">{value}</dd>
    </div>
  );
}
