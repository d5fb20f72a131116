/** The queue: who is next, why each waits, until when; and leaving it. */

import { actionUsers } from "virtual:contract";
import { Link } from "@tanstack/react-router";
import type { QueueEntry } from "@wolfpack/api-contract";
import { useMemo, useState } from "react";
import { usePages } from "../../api/pages.ts";
import { mayDo, useMay, useMe } from "../../api/queries.ts";
import { ownerOf } from "../../fleet/session-words.ts";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { count, many, plain } from "../../ui/text.ts";
import { Lasting, Time } from "../../ui/time.tsx";
import { AskToEnd } from "../session/ending.tsx";
import { type Row, rowsOf } from "./rows.ts";
import "./queue.css";

/** As many as may wait, unless the fleet is set to more. */
const PAGE = 1000;
/** Places change as others come and go, also those of whom the reader hears nothing. */
const AGAIN_MS = 10_000;

const rowKey = ({ session_id }: Row) => session_id;

export default function QueuePage() {
  const me = useMe();
  const seesAll = me !== undefined && actionUsers["session.read"][me.role] === "any";
  const mayCreate = useMay("session.create");
  const [asking, setAsking] = useState<Row>();
  const queue = usePages<QueueEntry>("listQueue", {}, { page: PAGE, refetchMs: AGAIN_MS });
  const rows = useMemo(() => rowsOf(queue.rows ?? []), [queue.rows]);
  const columns = useMemo(() => {
    const mayStop = (ownerId: string) =>
      me !== undefined &&
      mayDo(me, "session.stop") &&
      (actionUsers["session.stop"][me.role] === "any" || me.id === ownerId);
    return columnsOf({ seesAll, mayStop, ask: setAsking });
  }, [seesAll, me]);

  return (
    <div className="page">
      <div className="page-head">
        <h1>Queue</h1>
        <span className="muted figures" aria-live="polite">
          {queue.rows && (queue.complete ? many(rows.length, "session") : `the first ${count(rows.length)}`)}
        </span>
        {mayCreate && (
          <div className="page-actions">
            <Link to="/sessions/new" className="button">
              <Icon name="create" />
              New session
            </Link>
          </div>
        )}
      </div>
      {queue.error && <Failure error={queue.error} retry={() => void queue.refetch()} />}
      <section className="card card-flush queue" aria-label="Queue">
        <Table
          label="Sessions that wait for a wolf, the next first"
          rows={rows}
          columns={columns}
          rowKey={rowKey}
          rowHeight={72}
          loading={queue.rows === undefined && !queue.error}
          onEnd={queue.more}
          empty={
            <Empty title={seesAll ? "Nobody waits" : "None of your sessions waits"} icon="queue">
              Sessions wait here while no wolf has room for them.
            </Empty>
          }
        />
      </section>
      {asking && (
        <AskToEnd
          session={{ id: asking.session_id, name: asking.name }}
          way="cancel"
          onClose={() => setAsking(undefined)}
        />
      )}
    </div>
  );
}

interface ColumnOptions {
  seesAll: boolean;
  mayStop: (ownerId: string) => boolean;
  ask: (row: Row) => void;
}

function columnsOf({ seesAll, mayStop, ask }: ColumnOptions): readonly Column<Row>[] {
  const owner: Column<Row> = {
    id: "owner",
    header: "Owner",
    width: "8rem",
    keepFrom: 2,
    value: ownerOf,
    cell: (row) => <span title={plain(row.owner_id)}>{ownerOf(row)}</span>,
  };
  return [
    {
      id: "position",
      header: "Place",
      width: "4.5rem",
      value: ({ position }) => position,
      cell: ({ position }) => <strong className="queue-place figures">{position}</strong>,
    },
    {
      id: "name",
      header: "Session",
      value: ({ name }) => name,
      cell: ({ session_id: id, name, text }) => (
        <span className="two-lines queue-name">
          <Link to="/sessions/$id" params={{ id }} className="row-link" title={name}>
            {name}
          </Link>
          <span className="queue-why" title={plain(text)}>
            {plain(text)}
          </span>
        </span>
      ),
    },
    ...(seesAll ? [owner] : []),
    {
      id: "priority",
      header: "Priority",
      width: "5.5rem",
      align: "end",
      keepFrom: 3,
      value: ({ priority }) => priority,
      cell: ({ priority }) => priority,
    },
    {
      id: "waits",
      header: "Waits for",
      width: "6rem",
      align: "end",
      keepFrom: 4,
      value: ({ queued_at }) => -Date.parse(queued_at),
      cell: ({ queued_at }) => <Lasting since={queued_at} />,
    },
    {
      id: "deadline",
      header: "Ends",
      width: "7rem",
      align: "end",
      value: ({ deadline }) => Date.parse(deadline),
      cell: ({ deadline }) => <Time at={deadline} />,
    },
    {
      id: "cancel",
      header: "Cancel",
      width: "7.5rem",
      align: "end",
      cell: (row) =>
        mayStop(row.owner_id) && (
          <button
            type="button"
            className="button button-danger queue-cancel"
            aria-label={`Cancel ${row.name}`}
            onClick={() => ask(row)}
          >
            <Icon name="close" size={14} />
            <span>Cancel</span>
          </button>
        ),
    },
  ];
}
