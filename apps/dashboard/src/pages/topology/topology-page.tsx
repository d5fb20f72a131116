/** Replicas, the tunnels that lead to them, and wolves by region with their load as a colour; live. */

import { Link } from "@tanstack/react-router";
import type { CallReply } from "@wolfpack/api-contract";
import { useMemo, useRef } from "react";
import { useRead } from "../../api/queries.ts";
import { useWolves, type Wolves } from "../../api/wolves.ts";
import { loadWords, type Region, regionsWith } from "../../fleet/regions.ts";
import { Badge } from "../../ui/badge.tsx";
import { LoadBar } from "../../ui/load-bar.tsx";
import { Empty, Failure, Skeleton } from "../../ui/states.tsx";
import { count, many, plain, shortId } from "../../ui/text.ts";
import { Lasting } from "../../ui/time.tsx";
import { Links } from "./links.tsx";
import { Tiles, tileSize } from "./tiles.tsx";
import "./topology.css";

type Replica = CallReply<"listReplicas">["body"][number];
/** No event tells of a replica that comes, drains or goes, or of how many tunnels it holds. */
const REPLICAS_MS = 10_000;
const none: never[] = [];

export default function TopologyPage() {
  const wolves = useWolves();
  const replicas = useRead("listReplicas", undefined, { refetchInterval: REPLICAS_MS });
  const rows = wolves.data?.rows ?? none;
  const regions = useMemo(() => regionsWith(rows), [rows]);
  const map = useRef<HTMLDivElement>(null);
  const shown = replicas.data ?? none;
  const size = tileSize(rows.length);
  return (
    <div className="page">
      <div className="page-head">
        <h1>Topology</h1>
        <span className="muted figures">
          {wolves.data && headline(wolves.data, shown.length, regions.length)}
        </span>
        <Legend />
      </div>
      {wolves.error && <Failure error={wolves.error} retry={() => void wolves.refetch()} />}
      {replicas.error && <Failure error={replicas.error} retry={() => void replicas.refetch()} />}
      {wolves.data === undefined && !wolves.error && (
        <div className="card">
          <Skeleton lines={8} height="2rem" />
        </div>
      )}
      {wolves.data && rows.length === 0 && (
        <div className="card">
          <Empty title="No wolf has joined yet" icon="topology">
            Make a join token under <Link to="/access">Access</Link>.
          </Empty>
        </div>
      )}
      {rows.length > 0 && (
        <div className="topology" ref={map}>
          <Links within={map} regions={regions} replicas={shown} />
          <section className="topology-replicas" aria-label="Control plane">
            {shown.map((replica) => (
              <ReplicaCard key={replica.id} replica={replica} />
            ))}
          </section>
          <section className="topology-regions" aria-label="Regions">
            {regions.map((region) => (
              <RegionCard key={region.name ?? ""} region={region} size={size} />
            ))}
          </section>
        </div>
      )}
    </div>
  );
}

/** What is not whole yet says so: a number that is only the first page's would be taken for the fleet's. */
function headline({ rows, complete }: Wolves, replicas: number, regions: number): string {
  if (!complete) return `${count(rows.length)} wolves so far …`;
  return `${many(replicas, "replica")}, ${many(rows.length, "wolf", "wolves")} in ${many(regions, "region")}`;
}

function ReplicaCard({ replica }: { replica: Replica }) {
  return (
    <article className="card topology-replica" data-replica={replica.id}>
      <div className="row">
        <h2 className="clip" title={plain(replica.id)}>
          Replica
        </h2>
        <span className="push">
          {replica.draining ? <Badge tone="warning">Draining</Badge> : <Badge tone="ok">Serving</Badge>}
        </span>
      </div>
      <p className="topology-tunnels">
        <span className="figures">{count(replica.tunnels)}</span>{" "}
        <span className="muted">{replica.tunnels === 1 ? "tunnel" : "tunnels"}</span>
      </p>
      <p className="muted small">
        Version {plain(replica.version)}, up for <Lasting since={replica.started_at} />
      </p>
      <p className="muted small topology-id">
        <code title={plain(replica.id)}>{shortId(replica.id)}</code>
        {replica.is_self && " answers you"}
      </p>
    </article>
  );
}

function RegionCard({ region, size }: { region: Region; size: ReturnType<typeof tileSize> }) {
  const { name, wolves, connected, suspect, lost, used, max } = region;
  const words = plain(name) || "No region";
  return (
    <article className="card topology-region" data-region={name ?? ""}>
      <div className="topology-region-head">
        <h2>
          <Link to="/" search={{ region: name ?? "-" } as never}>
            {words}
          </Link>
        </h2>
        <span className="muted small figures">{many(wolves.length, "wolf", "wolves")}</span>
        {suspect > 0 && <Badge tone="warning">{`${count(suspect)} suspect`}</Badge>}
        {lost > 0 && <Badge tone="danger">{`${count(lost)} lost`}</Badge>}
        <span className="topology-load">
          <LoadBar
            label={`Slots in ${words}`}
            used={used}
            max={max}
            text={`${count(used)} / ${count(max)}`}
          />
        </span>
      </div>
      <Tiles
        wolves={wolves}
        size={size}
        label={`Wolves in ${words}: ${count(connected)} of ${count(wolves.length)} connected`}
      />
    </article>
  );
}

function Legend() {
  return (
    <ul className="topology-legend small muted push" aria-label="Load as a colour">
      {loadWords.map((word, step) => (
        <li key={word} className="row">
          <span className={`topology-key topology-load-${step}`} />
          {word}
        </li>
      ))}
      <li className="row">
        <span className="topology-key topology-load-0 topology-ill" />
        unwell
      </li>
      <li className="row">
        <span className="topology-key topology-load-0 topology-held" />
        held back
      </li>
      <li className="row">
        <span className="topology-key topology-lost" />
        lost
      </li>
    </ul>
  );
}
