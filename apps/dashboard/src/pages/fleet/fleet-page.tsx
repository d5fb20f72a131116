/** The fleet: counts and capacity at a glance, and a table of its wolves. */
import { Link } from "@tanstack/react-router";
import { useDeferredValue, useMemo } from "react";
import { useMay } from "../../api/queries.ts";
import { useWolves } from "../../api/wolves.ts";
import { useSearchField } from "../../app/search.ts";
import { useSort } from "../../app/sort.ts";
import { filterWolves, regionsOf, summaryOf } from "../../fleet/summary.ts";
import { Choice, SearchField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { Table } from "../../ui/table.tsx";
import { count, many, plain } from "../../ui/text.ts";
import { columns } from "./columns.tsx";
import { FleetSummary, FrozenNotice } from "./fleet-summary.tsx";
import "./fleet.css";

const statuses = [
  ["", "Status"],
  ["online", "Online"],
  ["degraded", "Degraded"],
  ["offline", "Offline"],
  ["suspect", "Suspect"],
  ["cordoned", "Cordoned"],
  ["draining", "Draining"],
  ["maintenance", "Maintenance"],
  ["quarantined", "Quarantined"],
  ["full", "Full"],
  ["pending", "Pending"],
  ["retired", "Retired"],
] as const;
const gpus = [
  ["", "GPU"],
  ["nvidia", "NVIDIA"],
  ["amd", "AMD"],
  ["intel", "Intel"],
  ["none", "No GPU"],
] as const;

const rowKey = ({ id }: { id: string }) => id;

export default function FleetPage() {
  const wolves = useWolves();
  const rows = wolves.data?.rows ?? none;
  const [text, setText] = useSearchField("q");
  const [status, setStatus] = useSearchField("status");
  const [gpu, setGpu] = useSearchField("gpu");
  const [region, setRegion] = useSearchField("region");
  const [sort, setSort] = useSort("name");
  const mayCreate = useMay("session.create");
  const summary = useMemo(() => summaryOf(rows), [rows]);
  const regions = useMemo(() => regionsOf(rows), [rows]);
  // What is typed appears at once, the rows as soon as they are found.
  const wanted = useDeferredValue(text);
  const found = useMemo(
    () => filterWolves(rows, { text: wanted, status, gpu, region }),
    [rows, wanted, status, gpu, region],
  );
  const isFiltered = Boolean(text || status || gpu || region);
  const reset = () => {
    setText("");
    setStatus("");
    setGpu("");
    setRegion("");
  };

  return (
    <div className="page">
      <div className="page-head">
        <h1>Fleet</h1>
        <span className="muted figures" aria-live="polite">
          {wolves.data
            ? wolves.data.complete
              ? many(rows.length, "wolf", "wolves")
              : `${count(rows.length)} wolves so far …`
            : ""}
        </span>
        {mayCreate && (
          <div className="page-actions">
            <Link to="/sessions/new" className="button button-primary">
              <Icon name="create" />
              New session
            </Link>
          </div>
        )}
      </div>
      <FrozenNotice />
      <FleetSummary summary={summary} loading={wolves.data === undefined} />
      {wolves.error && <Failure error={wolves.error} retry={() => void wolves.refetch()} />}
      <section className="card card-flush fleet-wolves" aria-label="Wolves">
        <div className="card-head fleet-tools">
          <SearchField
            label="Search wolves"
            placeholder="Name, GPU, label=value …"
            value={text}
            onChange={setText}
          />
          <Choice label="Status" value={status} onChange={setStatus} options={statuses} />
          <Choice label="GPU" value={gpu} onChange={setGpu} options={gpus} />
          {(regions.length > 1 || region !== "") && (
            <Choice
              label="Region"
              value={region}
              onChange={setRegion}
              options={[
                ["", "Region"],
                ...regions.map((one) => [one, one === "-" ? "No region" : plain(one)] as const),
              ]}
            />
          )}
          <span className="push row muted small figures" role="status">
            {isFiltered && (
              <>
                {count(found.length)} of {count(rows.length)}
                <button type="button" className="button button-plain" onClick={reset}>
                  Show all
                </button>
              </>
            )}
          </span>
        </div>
        <Table
          label="Wolves of the fleet"
          rows={found}
          columns={columns}
          rowKey={rowKey}
          rowHeight={56}
          sort={sort}
          onSort={setSort}
          loading={wolves.data === undefined && !wolves.error}
          empty={
            isFiltered ? (
              <Empty title="No wolf fits">
                <button type="button" className="button" onClick={reset}>
                  Show all
                </button>
              </Empty>
            ) : (
              <Empty title="No wolf has joined yet" icon="fleet">
                Make a join token under <Link to="/access">Access</Link> and start an agent with it on a GPU
                host.
              </Empty>
            )
          }
        />
      </section>
    </div>
  );
}

const none: never[] = [];
