/** The entries of the audit log that fit one filter, the newest first. */
import type { AuditEvent } from "@wolfpack/api-contract";
import { useCallback, useMemo, useState } from "react";
import { call, nextCursor } from "../../api/client.ts";
import { useFeed } from "../../api/feed.ts";
import { useSearchField } from "../../app/search.ts";
import { LogFoot } from "../../ui/log.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { Table } from "../../ui/table.tsx";
import { columnsFor } from "./audit-columns.tsx";
import { AuditDetails } from "./audit-details.tsx";
import { type AuditFilter, auditQuery } from "./audit-filter.ts";

const PAGE = 100;
const ROW_PX = 48;
/** No event tells of a denied call: the newest page is read so often. */
const REFETCH_MS = 5000;
const rowKey = ({ id }: AuditEvent) => id;

interface AuditListProps {
  /** Stays the same: another filter is another list. */
  filter: AuditFilter;
  isFiltered: boolean;
  onFilter: (filter: Partial<AuditFilter>) => void;
  onReset: () => void;
}

export function AuditList({ filter, isFiltered, onFilter, onReset }: AuditListProps) {
  const [away, setAway] = useState(false);
  const [openId, setOpenId] = useSearchField("entry");
  const query = useMemo(() => auditQuery(filter), [filter]);
  const read = useCallback(
    async (cursor: string | undefined, signal?: AbortSignal) => {
      const input = { query: { ...query, limit: PAGE, cursor } as never };
      const { body, headers } = await call("listAuditEvents", input, { signal });
      return { rows: body, next: nextCursor(headers) };
    },
    [query],
  );
  const log = useFeed<AuditEvent>({ key: ["audit", query], read, hold: away, refetchMs: REFETCH_MS });
  const { rows, cursor, loaded } = log.feed;
  const columns = useMemo(() => columnsFor((entry) => setOpenId(entry.id)), [setOpenId]);
  const opened = openId ? rows.find(({ id }) => id === openId) : undefined;
  return (
    <div
      className="log-list"
      onScrollCapture={(event) => setAway((event.target as HTMLElement).scrollTop > ROW_PX)}
    >
      {log.head.error && (
        <div className="log-failure">
          <Failure error={log.head.error} retry={() => void log.head.refetch()} />
        </div>
      )}
      <Table
        label="Audit log"
        rows={rows}
        columns={columns}
        rowKey={rowKey}
        rowHeight={ROW_PX}
        maxHeight="max(24rem, calc(100dvh - 16rem))"
        onEnd={() => void log.older()}
        loading={!loaded && !log.head.error}
        empty={
          !loaded ? null : isFiltered ? (
            <Empty title="Nothing fits">
              <button type="button" className="button" onClick={onReset}>
                Show all
              </button>
            </Empty>
          ) : (
            <Empty title="Nothing has been changed or denied yet" icon="audit" />
          )
        }
      />
      <LogFoot shown={rows.length} loaded={loaded} more={cursor !== undefined} log={log} />
      {opened && <AuditDetails entry={opened} onClose={() => setOpenId("")} onOnly={onFilter} />}
      {openId && !opened && loaded && (
        <p className="log-gone muted small" role="status">
          The entry of this link is not among those shown; it may be an older one.{" "}
          <button type="button" className="button button-plain" onClick={() => setOpenId("")}>
            Never mind
          </button>
        </p>
      )}
    </div>
  );
}
