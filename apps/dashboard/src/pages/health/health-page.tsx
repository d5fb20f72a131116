/** Health: the numbered checks of the control plane itself, and its replicas. */

import { Link, useRouterState } from "@tanstack/react-router";
import type { HealthCheck, HealthReport, Replica } from "@wolfpack/api-contract";
import { useEffect, useRef } from "react";
import { useRead } from "../../api/queries.ts";
import { MaySee } from "../../app/may-see.tsx";
import { Badge, Mark } from "../../ui/badge.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure, Loaded, Skeleton } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { count, millis, plain, shortId } from "../../ui/text.ts";
import { Lasting, Time } from "../../ui/time.tsx";
import { summaryOf, toneOfCheck, wordOfCheck } from "./health-words.ts";
import "./health.css";

/** An answer may be five seconds old; nothing is gained by asking more often. */
const REFETCH_MS = 10_000;

export default function Page() {
  return (
    <MaySee title="Health" actions={["health.read"]}>
      <HealthPage />
    </MaySee>
  );
}

function HealthPage() {
  const health = useRead("getHealth", undefined, { refetchInterval: REFETCH_MS });
  return (
    <div className="page">
      <div className="page-head">
        <h1>Health</h1>
        <span className="muted health-sub">Of the control plane itself</span>
        <div className="page-actions">
          <button type="button" className="button" onClick={() => void health.refetch()}>
            <Icon name="refresh" />
            Check again
          </button>
        </div>
      </div>
      <Loaded query={health} skeleton={<HealthSkeleton />}>
        {(report) => (
          <>
            <Verdict report={report} />
            <section className="card card-flush" aria-label="Checks">
              <ol className="health-checks">
                {report.checks.map((check) => (
                  <Check key={check.id} check={check} />
                ))}
              </ol>
            </section>
          </>
        )}
      </Loaded>
      <Replicas />
    </div>
  );
}

function Verdict({ report }: { report: HealthReport }) {
  const { status, at, replica, version } = report;
  return (
    <section className={`card health-verdict health-${toneOfCheck(status)}`} aria-label="Result">
      <span className="health-mark">
        <Icon name={status === "ok" ? "check" : "warning"} size={22} />
      </span>
      <div className="two-lines" role="status">
        <strong className="health-word">{verdicts[status] ?? wordOfCheck(status)}</strong>
        <span>{summaryOf(report)}</span>
      </div>
      <p className="small muted push health-by">
        Checked <Time at={at} /> by <code title={plain(replica)}>{shortId(replica)}</code>, version{" "}
        {plain(version, 40)}
      </p>
    </section>
  );
}

const verdicts: Record<string, string> = {
  ok: "Everything is fine",
  warning: "Worth a look",
  failed: "Something is broken",
};

function Check({ check }: { check: HealthCheck }) {
  const { id, title, status, detail, advice, ms } = check;
  // The checks come later than the page: the browser has looked for the one of a link in vain.
  const meant = useRouterState({ select: ({ location }) => location.hash === id });
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (meant) item.current?.scrollIntoView({ block: "nearest" });
  }, [meant]);
  const bad = status === "failed" || status === "warning";
  return (
    <li ref={item} className={meant ? "health-check health-meant" : "health-check"}>
      <Link to="." hash={id} className="mono small muted" title="A link to this check">
        {plain(id, 8)}
      </Link>
      <div className="health-text">
        <h2 className="health-title">{plain(title)}</h2>
        <p className="wrap muted">{plain(detail, 1000)}</p>
        {advice && (
          <p className={bad ? "wrap health-advice" : "wrap small muted"}>
            {bad && <Mark tone={toneOfCheck(status)} />}
            <span>{plain(advice, 1000)}</span>
          </p>
        )}
      </div>
      <span className="small muted figures health-ms">{millis(ms)}</span>
      <span className="health-status">
        <Badge tone={toneOfCheck(status)}>{wordOfCheck(status)}</Badge>
      </span>
    </li>
  );
}

const CHECKS = 13;
function HealthSkeleton() {
  return (
    <>
      <div className="card health-verdict">
        <Skeleton lines={2} />
      </div>
      <section className="card card-flush" aria-label="Checks">
        <ol className="health-checks" aria-hidden="true">
          {Array.from({ length: CHECKS }, (_unused, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
            <li key={index} className="health-check">
              <div className="health-text">
                <Skeleton lines={2} height="1.05rem" />
              </div>
            </li>
          ))}
        </ol>
      </section>
    </>
  );
}

const rowKey = ({ id }: Replica) => id;
const none: never[] = [];
const replicaColumns: readonly Column<Replica>[] = [
  {
    id: "id",
    header: "Replica",
    cell: ({ id, is_self }) => (
      <span className="row">
        <code className="clip" title={plain(id)}>
          {shortId(id)}
        </code>
        {is_self && <Badge tone="info">Answers you</Badge>}
      </span>
    ),
  },
  {
    id: "state",
    header: "State",
    width: "8rem",
    cell: ({ draining }) =>
      draining ? <Badge tone="warning">Draining</Badge> : <Badge tone="ok">Serving</Badge>,
  },
  {
    id: "version",
    header: "Version",
    width: "8rem",
    keepFrom: 4,
    cell: ({ version }) => <span className="figures">{plain(version, 40)}</span>,
  },
  {
    id: "tunnels",
    header: "Tunnels",
    width: "7rem",
    align: "end",
    cell: ({ tunnels }) => count(tunnels),
  },
  {
    id: "started",
    header: "Up for",
    width: "8rem",
    align: "end",
    keepFrom: 4,
    cell: ({ started_at }) => <Lasting since={started_at} />,
  },
];

function Replicas() {
  const replicas = useRead("listReplicas", undefined, { refetchInterval: REFETCH_MS });
  return (
    <div className="card card-flush">
      <div className="card-head">
        <h2>Replicas</h2>
        <span className="muted small">The processes of this control plane</span>
      </div>
      {replicas.error && (
        <div className="health-failure">
          <Failure error={replicas.error} retry={() => void replicas.refetch()} />
        </div>
      )}
      <div className="health-replicas">
        <Table
          label="Replicas"
          rows={replicas.data ?? none}
          columns={replicaColumns}
          rowKey={rowKey}
          loading={replicas.data === undefined && !replicas.error}
          empty={replicas.data && <Empty title="None is known" icon="fleet" />}
        />
      </div>
    </div>
  );
}
