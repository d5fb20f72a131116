/** The entries of the audit log that fit one filter, the newest first. */
import type { AuditEvent } from "@wolfpack/api-contract";
import { useCallback, useMemo, useState } from "react";
import { readPage } from "../../api/client.ts";
import { useFeed } from "../../api/feed.ts";
import { useSearchField } from "../../app/search.ts";
import { LogList } from "../../ui/log.tsx";
import { columnsFor } from "./audit-columns.tsx";
import { AuditDetails } from "./audit-details.tsx";
import { type AuditFilter, auditQuery } from "./audit-filter.ts";

const PAGE = 100;
const ROW_PX = 56;
/** No event tells of a denied call: the newest page is read so often. */
const REFETCH_MS = 5000;

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
    (cursor: string | undefined, signal?: AbortSignal) =>
      readPage<AuditEvent>("listAuditEvents", { ...query, limit: PAGE, cursor }, signal),
    [query],
  );
  const log = useFeed<AuditEvent>({ key: ["audit", query], read, hold: away, refetchMs: REFETCH_MS });
  const columns = useMemo(() => columnsFor((entry) => setOpenId(entry.id)), [setOpenId]);
  const opened = openId ? log.feed.rows.find(({ id }) => id === openId) : undefined;
  const close = () => setOpenId("");
  return (
    <LogList
      label="Audit log"
      log={log}
      columns={columns}
      rowHeight={ROW_PX}
      onAway={setAway}
      empty={{
        isFiltered,
        onReset,
        filtered: "Nothing fits",
        none: "Nothing has been changed or denied yet",
        icon: "audit",
      }}
      missing={openId && !opened ? { word: "entry", onClose: close } : undefined}
    >
      {opened && <AuditDetails entry={opened} onClose={close} onOnly={onFilter} />}
    </LogList>
  );
}
