/** Sessions: those that live, or also those that have ended; operators see all of them, users their own. */

import { actionUsers } from "virtual:contract";
import { Link } from "@tanstack/react-router";
import type { SessionStatus } from "@wolfpack/api-contract";
import { useDeferredValue, useMemo } from "react";
import { useMay, useMe } from "../../api/queries.ts";
import { useSessions } from "../../api/sessions.ts";
import { useWolves } from "../../api/wolves.ts";
import { useSearchField } from "../../app/search.ts";
import { useSort } from "../../app/sort.ts";
import { useUserName } from "../../fleet/names.tsx";
import type { View } from "../../fleet/session-list.ts";
import { endedStatuses, filterSessions, liveStatuses } from "../../fleet/session-words.ts";
import { Choice, SearchField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { Table } from "../../ui/table.tsx";
import { count, many, plain, sentence, shortId } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { columnsOf } from "./columns.tsx";
import "./sessions.css";

const statuses = [
  ["live", "Live"],
  ...liveStatuses.map((status) => [status, sentence(status)] as const),
  ...endedStatuses.map((status) => [status, sentence(status)] as const),
  ["any", "Live and ended"],
] as const;
const owners = [
  ["", "Of anybody"],
  ["me", "Mine"],
] as const;

const rowKey = ({ id }: { id: string }) => id;

/** A name for a wolf's id; the id while names are not there. */
function useWolfOf(): (id: string | null) => string {
  const rows = useWolves().data?.rows;
  return useMemo(() => {
    const names = new Map(rows?.map(({ id, name }) => [id, name]));
    return (id) => (id === null ? "" : plain(names.get(id)) || shortId(id));
  }, [rows]);
}

export default function SessionsPage() {
  const me = useMe();
  const seesAll = me !== undefined && actionUsers["session.read"][me.role] === "any";
  const mayCreate = useMay("session.create");
  const toasts = useToasts();
  const [text, setText] = useSearchField("q");
  const [status, setStatus] = useSearchField("status", "live");
  const [owner, setOwner] = useSearchField("owner");
  const [wolf, setWolf] = useSearchField("wolf");
  const [sort, setSort] = useSort("age");
  const shownStatus = statuses.some(([one]) => one === status) ? (status as View["status"]) : "live";
  const sessions = useSessions({
    status: shownStatus,
    owner: seesAll ? (owner === "me" ? me.id : owner) : undefined,
    wolf,
  });
  const rows = sessions.data?.rows ?? none;
  const wolfOf = useWolfOf();
  const columns = useMemo(() => columnsOf(wolfOf, seesAll), [wolfOf, seesAll]);
  const wanted = useDeferredValue(text);
  const found = useMemo(() => filterSessions(rows, wanted, wolfOf), [rows, wanted, wolfOf]);
  const ownerName = useUserName(owner, rows.find(({ owner_id }) => owner_id === owner)?.owner_name);
  const isFiltered = Boolean(text || owner || wolf || shownStatus !== "live");
  const reset = () => {
    setText("");
    setStatus("live");
    setOwner("");
    setWolf("");
  };
  const ownerChoices =
    owner === "" || owner === "me"
      ? owners
      : [...owners, [owner, `Of ${plain(ownerName) || shortId(owner)}`] as const];

  return (
    <div className="page">
      <div className="page-head">
        <h1>Sessions</h1>
        <span className="muted figures" aria-live="polite">
          {sessions.data && countWords(rows.length, shownStatus, sessions.data.next !== undefined)}
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
      {sessions.error && <Failure error={sessions.error} retry={() => void sessions.refetch()} />}
      <section className="card card-flush" aria-label="Sessions">
        <div className="card-head sessions-tools">
          <SearchField
            label="Search sessions"
            placeholder="Name, image, wolf …"
            value={text}
            onChange={setText}
          />
          <Choice label="Status" value={shownStatus} onChange={setStatus} options={statuses} />
          {seesAll && <Choice label="Owner" value={owner} onChange={setOwner} options={ownerChoices} />}
          {wolf && (
            <button type="button" className="button" onClick={() => setWolf("")} title="Of any wolf">
              On {wolfOf(wolf)}
              <Icon name="close" />
            </button>
          )}
          <span className="push row muted small figures" role="status">
            {isFiltered && (
              <>
                {text && `${count(found.length)} of ${count(rows.length)}`}
                <button type="button" className="button button-plain" onClick={reset}>
                  Reset
                </button>
              </>
            )}
          </span>
        </div>
        <Table
          label="Table of sessions"
          rows={found}
          columns={columns}
          rowKey={rowKey}
          rowHeight={56}
          sort={sort}
          onSort={setSort}
          loading={sessions.data === undefined && !sessions.error}
          empty={
            text || owner || wolf ? (
              <Empty title="No session fits" icon="sessions">
                <button type="button" className="button" onClick={reset}>
                  Show all that live
                </button>
              </Empty>
            ) : (
              <Empty title={nothingWords(shownStatus)} icon="sessions">
                {mayCreate && (
                  <Link to="/sessions/new" className="button button-primary">
                    Make the first
                  </Link>
                )}
              </Empty>
            )
          }
        />
        {sessions.data?.next !== undefined && (
          <div className="sessions-foot">
            <span className="muted small">The newest {count(rows.length)} are shown.</span>
            <button
              type="button"
              className="button"
              disabled={sessions.readingOlder}
              onClick={() =>
                sessions
                  .older()
                  .catch((error: unknown) => toasts.failed("Older sessions were not read", error))
              }
            >
              Read older
            </button>
          </div>
        )}
      </section>
    </div>
  );
}

function countWords(rows: number, status: View["status"], isMore: boolean): string {
  const word = status === "any" ? "" : `${status} `;
  return isMore ? `the newest ${count(rows)}` : many(rows, `${word}session`);
}

function nothingWords(status: SessionStatus | "live" | "any"): string {
  if (status === "any") return "There has been no session yet";
  return status === "live" ? "No session lives now" : `No session is ${status}`;
}

const none: never[] = [];
