/** A list of the access page: what to find and what to make above it, its rows, and how it failed. */
import type { ReactNode } from "react";
import { Failure } from "../../ui/states.tsx";
import { type Column, type Sort, Table } from "../../ui/table.tsx";
import { count } from "../../ui/text.ts";

interface AccessTableProps<Row> {
  label: string;
  /** Says what is in its last column, for where there is little room. */
  className?: string;
  pages: { error: Error | null; refetch: () => unknown; complete: boolean; more: () => void };
  /** Undefined while they are read. */
  rows: readonly Row[] | undefined;
  columns: readonly Column<Row>[];
  rowKey: (row: Row) => string;
  sort: Sort;
  empty: ReactNode;
  tools: ReactNode;
}

export function AccessTable<Row extends object>(props: AccessTableProps<Row>) {
  const { label, className = "", pages, rows, columns, rowKey, sort, empty, tools } = props;
  return (
    <div className={`card card-flush access-list ${className}`}>
      <div className="card-head access-tools">{tools}</div>
      {pages.error && (
        <div className="access-failure">
          <Failure error={pages.error} retry={() => void pages.refetch()} />
        </div>
      )}
      <Table
        label={label}
        rows={rows ?? none}
        columns={columns}
        rowKey={rowKey}
        rowHeight={56}
        sort={sort}
        maxHeight="max(24rem, calc(100dvh - 22rem))"
        onEnd={pages.more}
        loading={rows === undefined && !pages.error}
        empty={rows && empty}
      />
      {/* Below rows only: what stood below the room for them would jump when they come. */}
      {rows && rows.length > 0 && (
        <p className="access-foot small muted figures" role="status">
          {`${count(rows.length)} shown${pages.complete ? "" : ", more below"}`}
        </p>
      )}
    </div>
  );
}

const none: never[] = [];
